"""Names that one writer wins, also on file systems without hard links, locks or syncing of folders."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synthray.data.manifest import Manifest
from synthray.errors import Conflict, StorageError
from synthray.storage import exclusive, local, open_store
from tests import foreign
from tests.conftest import convert_here

pytestmark = pytest.mark.faults

NO_HARD_LINKS = ["EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EXDEV", "EMLINK", "EINVAL"]
NO_LOCKS = ["ENOLCK", "ENOSYS", "EINVAL", "EOPNOTSUPP"]
NO_SYNC = ["EINVAL", "ENOTSUP", "ENOSYS"]


def refuse(monkeypatch: pytest.MonkeyPatch, module: object, call: str, code: str) -> None:
    number = getattr(errno, code)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, call, fail)


@pytest.fixture(params=NO_HARD_LINKS)
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    refuse(monkeypatch, os, "link", request.param)
    return request.param


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_second_write_without_links_raises_conflict(without_links: str, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write("x", b"first", replace=False)
    with pytest.raises(Conflict, match="x exists already"):
        store.write("x", b"second", replace=False)
    assert store.read("x") == b"first"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("locks", [None, *NO_LOCKS])
def test_concurrent_writes_without_links_have_one_winner(
    locks: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "link", "EPERM")
    if locks:
        refuse(monkeypatch, fcntl, "flock", locks)
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *paths: (time.sleep(0.05), replace(*paths))[1])
    won: list[bytes] = []

    def write(number: int) -> None:
        body = b"%d" % number * 1000
        try:
            open_store(tmp_path).write("x", body, replace=False)
            won.append(body)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / "x").read_bytes()] == won
    assert names(tmp_path) == ["x"]


def test_data_set_is_published_without_links(without_links: str, tmp_path: Path) -> None:
    source = foreign.write(tmp_path / "training_data")
    manifest = convert_here(source, tmp_path / "data")
    assert Manifest.load(open_store(tmp_path / "data")) == manifest
    assert convert_here(source, tmp_path / "data") == manifest


@pytest.mark.parametrize("code", ["EIO", "ENOSPC", "ESTALE"])
def test_failed_link_that_is_no_missing_feature_is_reported(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "link", code)
    with pytest.raises(StorageError, match="x cannot be written"):
        open_store(tmp_path).write("x", b"", replace=False)
    assert names(tmp_path) == []


KILLED = """
import errno, os, signal, sys
from pathlib import Path
from synthray.storage import open_store

def refuse(*_, **__):
    raise OSError(errno.EPERM, "")

os.link = refuse
if sys.argv[2] == "between claim and lock":
    import fcntl
    flock = fcntl.flock
    fcntl.flock = lambda file, how: os.kill(os.getpid(), signal.SIGKILL) if how & fcntl.LOCK_NB else flock(file, how)
elif sys.argv[2] == "before the rename":
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    replace = Path.replace
    Path.replace = lambda *paths: (replace(*paths), os.kill(os.getpid(), signal.SIGKILL))
open_store(sys.argv[1]).write("x", b"killed", replace=False)
"""


def kill_a_writer(folder: Path, step: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(folder), step])
    assert run.returncode == -signal.SIGKILL


def test_writer_killed_with_a_claim_does_not_stop_the_next_one(tmp_path: Path, without_links: str) -> None:
    kill_a_writer(tmp_path, "before the rename")
    store = open_store(tmp_path)
    assert store.list() == []
    store.write("x", b"whole", replace=False)
    assert store.read("x") == b"whole"


def test_writer_killed_after_the_rename_has_written_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, os, "link", "EPERM")
    kill_a_writer(tmp_path, "after the rename")
    with pytest.raises(Conflict):
        open_store(tmp_path).write("x", b"again", replace=False)
    assert open_store(tmp_path).read("x") == b"killed"


@pytest.mark.parametrize("reason", ["between claim and lock", "no locks", "another machine"])
def test_claim_of_a_writer_that_may_live_is_kept_until_it_is_deleted(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive, "CLAIM_TIMEOUT_S", 0.2)
    refuse(monkeypatch, os, "link", "EPERM")
    kill_a_writer(tmp_path, reason if reason.startswith("between") else "before the rename")
    if reason == "no locks":
        refuse(monkeypatch, fcntl, "flock", "ENOLCK")
    if reason == "another machine":
        monkeypatch.setattr(exclusive.platform, "node", lambda: "elsewhere")
    claim = tmp_path / ".unfinished-claim-x"
    store = open_store(tmp_path)
    with pytest.raises(StorageError) as caught:
        store.write("x", b"", replace=False)
    assert f"delete {claim} and run the same command again" in str(caught.value)
    assert not store.exists("x")

    claim.unlink()
    store.write("x", b"whole", replace=False)
    assert store.read("x") == b"whole"


def test_claim_is_deleted_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, os, "link", "EPERM")
    kill_a_writer(tmp_path, "between claim and lock")
    old_s = time.time() - 2 * 24 * 3600
    for path in tmp_path.iterdir():
        os.utime(path, (old_s, old_s))
    local._delete_abandoned.cache_clear()  # as in a new process
    open_store(tmp_path).write("x", b"whole", replace=False)
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("code", NO_SYNC)
def test_durable_write_does_without_a_sync_that_the_file_system_lacks(
    code: str, replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "fsync", code)
    open_store(tmp_path).write("x", b"whole", replace=replace, durable=True)
    assert names(tmp_path) == ["x"]


def test_failed_sync_of_a_broken_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, os, "fsync", "EIO")
    with pytest.raises(StorageError, match="x cannot be written: Input/output error"):
        open_store(tmp_path).write("x", b"", durable=True)


@pytest.mark.parametrize("call", ["mkdir", "open"])
@pytest.mark.parametrize("code", ["EACCES", "EPERM", "EROFS"])
def test_folder_that_may_not_be_written_names_the_variable_to_set(
    code: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "new")
    refuse(monkeypatch, os, call, code)
    with pytest.raises(StorageError, match=r"new/x cannot be written: .*Set SYNTHRAY_HOME"):
        store.write("x", b"")
