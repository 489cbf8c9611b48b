"""A local directory: full disks, killed and concurrent writers, durability."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synthray.errors import StorageError
from synthray.storage import local, open_store
from synthray.storage.local import LocalStore

pytestmark = pytest.mark.faults

BODY = bytes(range(256)) * 1000
TWO_DAYS_S = 2 * 24 * 3600


def test_failed_write_keeps_the_old_object_and_leaves_no_file(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write("x", b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match="x cannot be written: File too large"):
            store.write("x", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.read("x") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


KILLED_BEFORE_THE_NAME = """
import os, signal, sys
from pathlib import Path
from synthray.storage import open_store

setattr(Path, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
open_store(sys.argv[1]).write("shards/x", b"half", replace=sys.argv[2] == "replace")
"""


@pytest.mark.parametrize("step", ["replace", "hardlink_to"])
def test_killed_writer_leaves_a_hidden_file_that_a_writer_deletes_after_a_day(step: str, tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_NAME, str(tmp_path), step])
    assert run.returncode == -signal.SIGKILL
    [left] = (tmp_path / "shards").iterdir()
    store = open_store(tmp_path)

    assert not store.exists("shards/x")
    assert store.list() == []
    store.write("shards/y", b"")
    assert left.exists()

    old_s = time.time() - TWO_DAYS_S
    os.utime(left, (old_s, old_s))
    local._delete_abandoned.cache_clear()  # as in a new process
    assert [entry.path for entry in store.list()] == ["shards/y"]
    assert left.exists()
    store.write("shards/x", b"whole")
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["x", "y"]


ANOTHER_PROCESS = """
import sys
from synthray.storage import open_store

store = open_store(sys.argv[1])
store.write("y", b"")
assert [entry.path for entry in store.list()] == ["y"]
"""


@pytest.mark.parametrize("age_s", [0, TWO_DAYS_S])
def test_file_that_is_being_written_survives_other_writers_and_listings(
    age_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Path] = []
    fsync = os.fsync

    def run_another_process(handle: int) -> None:
        if not checked:
            [unfinished] = tmp_path.glob(".unfinished-*")
            os.utime(unfinished, (time.time() - age_s,) * 2)
            subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)], check=True)
            assert unfinished.exists()
            checked.append(unfinished)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", run_another_process)
    open_store(tmp_path).write("x", BODY, durable=True)
    assert checked
    assert (tmp_path / "x").read_bytes() == BODY


@pytest.mark.parametrize(
    ("options", "synced"), [({}, []), ({"durable": True}, ["file", "folder"]), ({"replace": False}, ["file", "folder"])]
)
def test_durable_write_syncs_the_file_before_its_name_and_the_folder_after(
    options: dict[str, bool], synced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fsync(handle: int) -> None:
        named = (tmp_path / "x").exists()
        if os.path.samestat(os.fstat(handle), tmp_path.stat()):
            assert named
            calls.append("folder")
        else:
            assert not named
            assert os.fstat(handle).st_size == len(BODY)
            calls.append("file")

    monkeypatch.setattr(os, "fsync", fsync)
    open_store(tmp_path).write("x", BODY, **options)
    assert calls == synced


def test_delete_removes_empty_folders_but_never_the_root(tmp_path: Path) -> None:
    root = tmp_path / "out"
    store = open_store(root)
    for path in ("a/x", "y"):
        store.write(path, b"1")
    store.delete("a/x")
    assert [path.name for path in root.iterdir()] == ["y"]
    store.delete("y")
    assert root.is_dir()


def test_folder_in_the_place_of_an_object_is_reported(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder cannot be read: Is a directory"):
        open_store(tmp_path).read("folder")


def test_file_in_the_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/x cannot be written: "):
        open_store(tmp_path / "file").write("x", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "use",
    [
        LocalStore.exists,
        LocalStore.entry,
        LocalStore.list,
        LocalStore.read,
        lambda store, name: store.read_range(name, 0, 1),
        LocalStore.delete,
        lambda store, name: store.write(name, b""),
        lambda store, name: store.write(name, b"", replace=False),
    ],
)
def test_name_that_the_file_system_refuses_is_reported(tmp_path: Path, use: Callable) -> None:
    with pytest.raises(StorageError, match=rf"{'x' * 300} cannot be \w+: File name too long"):
        use(open_store(tmp_path), "x" * 300)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_file_mode_follows_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        open_store(tmp_path).write("a", b"a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode
