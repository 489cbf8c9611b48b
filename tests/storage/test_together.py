"""Objects that belong together, written by several jobs at once."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from synthray.errors import StorageError
from synthray.storage import open_store, together
from synthray.storage.together import write_together

ORDERS = sorted(set(itertools.permutations([0, 0, 0, 0, 1, 1, 1, 1])))
"""Turns of two jobs, each of which writes two objects and reads them."""


def objects_of(job: int, page: bool = True) -> dict[str, bytes | None]:
    return {"page": b"page %d" % job if page else None, "report": b"report %d" % job}


def found(folder: Path) -> dict[str, bytes | None]:
    paths = {name: folder / name for name in ("page", "report")}
    return {name: path.read_bytes() if path.exists() else None for name, path in paths.items()}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_PAUSE_S", 0.003)


@pytest.mark.faults
@pytest.mark.parametrize("pages", [(True, True), (False, True), (True, False)], ids=str)
def test_two_jobs_in_any_order_never_mix_their_objects(pages: tuple[bool, bool], tmp_path: Path) -> None:
    for number, order in enumerate(ORDERS):
        folder = tmp_path / str(number)
        written = [objects_of(job, page) for job, page in enumerate(pages)]
        _run_in_order(folder, written, order)
        assert found(folder) in written, order


def _run_in_order(folder: Path, written: list[dict[str, bytes | None]], order: tuple[int, ...]) -> None:
    """Run each job in a thread, one access of the store at a time; after the given turns, both at will."""
    turns = list(order)
    turn = threading.Condition()

    def job(number: int) -> None:
        store = open_store(folder)
        for name in ("read", "write", "delete"):
            setattr(store, name, in_turn(number, getattr(store, name)))
        write_together(store, written[number])
        with turn:
            turns[:] = [each for each in turns if each != number]
            turn.notify_all()

    def in_turn(number: int, access):
        def called(*arguments):
            with turn:
                turn.wait_for(lambda: number not in turns or turns[0] == number)
                try:
                    return access(*arguments)
                finally:
                    if number in turns:
                        turns.pop(0)
                    turn.notify_all()

        return called

    threads = [threading.Thread(target=job, args=(number,)) for number in range(len(written))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_job_that_never_finds_its_own_objects_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    monkeypatch.setattr(store, "read", lambda path: b"of another job")
    with pytest.raises(StorageError, match=r"other jobs write page, report at the same time\. Give another --out"):
        write_together(store, objects_of(0))
