"""A local directory that runs full, and writers that are killed in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthray.storage.memory import Memory

from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.shard import build_shard
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import NotFound, StorageError
from synthray.storage import open_store
from tests import foreign
from tests.conftest import convert_here
from tests.faults import everything

BODY = bytes(range(256)) * 1000


def test_a_full_disk_is_told_and_gone_on_with_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of a file: the refusal of the kernel, in the middle of a write, that needs no disk."""
    source = foreign.write(tmp_path / "training_data")
    convert_here(source, tmp_path / "undisturbed")
    out = tmp_path / "out"
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(out)))
    finished = out / build_shard(plan, 0).shard.path
    written = finished.stat()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written.st_size // 2, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            convert_here(source, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert message.startswith(f"{out}/shards/00001-")
    assert message.endswith("cannot be written: File too large; make room there, then run the same command again")
    assert not [path for path in out.rglob("*") if "shards/00001" in str(path) or path.name.startswith(".")]
    convert_here(source, out)
    assert everything(out) == everything(tmp_path / "undisturbed")
    assert finished.stat().st_mtime_ns == written.st_mtime_ns


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * 4096, 300_000])
@pytest.mark.parametrize("trouble", ["none", "no direct writing", "other blocks", "short writes"])
def test_what_begins_with_a_page_of_memory_is_written_whole(
    size: int, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes past the page cache, where the file system can do that, and as far as it can."""
    body = Memory().empty((size,), "uint8")
    body[:] = np.random.default_rng(size).integers(256, size=size)
    control, write, direct = fcntl.fcntl, os.write, []

    def control_or_not(handle: int, command: int, value: int = 0) -> int:
        if trouble == "no direct writing" and command == fcntl.F_SETFL and value & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return control(handle, command, value)

    def write_or_not(handle: int, data: memoryview) -> int:
        if control(handle, fcntl.F_GETFL) & os.O_DIRECT:
            direct.append(len(data))
            if trouble == "other blocks":
                raise OSError(errno.EINVAL, "Invalid argument")
        return write(handle, data[:4096] if trouble == "short writes" else data)

    monkeypatch.setattr(fcntl, "fcntl", control_or_not)
    monkeypatch.setattr(os, "write", write_or_not)
    store = open_store(str(tmp_path))
    store.write("x", body.data)
    assert store.read("x") == body.tobytes()
    assert bool(direct) == (size >= 4096 and trouble != "no direct writing" and has_direct_writing(tmp_path / "x"))
    if direct and trouble == "short writes":
        assert len(direct) == size // 4096


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * 1024 * 1024 + 5])
def test_a_file_is_read_into_memory_that_is_used_again(size: int, tmp_path: Path) -> None:
    store, memory = open_store(str(tmp_path)), Memory()
    first, second = np.random.default_rng(size).bytes(size), bytes(size)
    store.write("first", first)
    store.write("second", second)
    read = store.read_into("first", memory)
    place = np.frombuffer(read, np.uint8).ctypes.data if size else None
    held = store.read_into("second", memory)
    assert read == first
    assert held == second
    del read
    again = store.read_into("first", memory)
    assert again == first
    assert held == second
    if size:
        assert np.frombuffer(again, np.uint8).ctypes.data == place


def test_a_file_that_comes_in_parts_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel gives one of more than 2 GiB."""

    class InParts(io.FileIO):
        def readinto(self, target: memoryview) -> int:
            return super().readinto(target[:1000])

    (tmp_path / "x").write_bytes(BODY)
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: InParts(path))
    assert open_store(str(tmp_path)).read_into("x", Memory()) == BODY


def test_a_file_that_cannot_be_read_into_memory_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotFound, match="x does not exist"):
        store.read_into("x", Memory())
    with pytest.raises(StorageError, match="folder cannot be read: Is a directory"):
        store.read_into("folder", Memory())


def has_direct_writing(path: Path) -> bool:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_DIRECT))
        return True
    return False


KILLED_BEFORE_THE_NAME = """
import os, signal, sys
from pathlib import Path
from synthray.storage import open_store

setattr(Path, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
open_store(sys.argv[1]).write("shards/x", b"half", replace=sys.argv[2] == "replace")
"""


@pytest.mark.parametrize("step", ["replace", "hardlink_to"])
def test_what_a_killed_writer_left_is_cleared_away(step: str, tmp_path: Path) -> None:
    store, shards = open_store(str(tmp_path)), tmp_path / "shards"

    def kill_a_writer() -> None:
        run = subprocess.run([sys.executable, "-c", KILLED_BEFORE_THE_NAME, str(tmp_path), step])
        assert run.returncode == -signal.SIGKILL
        assert len(list(shards.iterdir())) == 1

    kill_a_writer()
    assert not store.exists("shards/x")
    assert store.list() == []
    assert list(shards.iterdir()) == []
    shards.rmdir()
    kill_a_writer()
    store.write("shards/x", b"whole")
    assert [path.name for path in shards.iterdir()] == ["x"]


def test_what_is_being_written_is_not_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def others_come_by(path: Path, mode: int) -> None:
        assert path.name.startswith(".unfinished-")
        looked = "import sys; from synthray.storage import open_store; s = open_store(sys.argv[1]); s.write('y', b''); "
        subprocess.run([sys.executable, "-c", f"{looked} print(s.list())", str(tmp_path)], check=True)
        assert path.exists()

    monkeypatch.setattr(Path, "chmod", others_come_by)
    open_store(str(tmp_path)).write("x", BODY)
    assert (tmp_path / "x").read_bytes() == BODY
