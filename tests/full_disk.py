"""A disk that is full at one write of a job: the kernel takes half of the data, then refuses."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from synthray.errors import StorageError
from synthray.storage import local
from tests.faults import all_objects

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


class _FullAtWrite(io.FileIO):
    error = errno.ENOSPC

    def write(self, data: bytes) -> int:
        super().write(memoryview(data)[: len(data) // 2])
        raise OSError(self.error, os.strerror(self.error))


class _FullAtClose(io.FileIO):
    """A file system that reports a full disk when the file is closed, as NFS does."""

    def close(self) -> None:
        if not self.closed:
            super().close()
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


class FullDisk:
    """Replaces the files that local stores write; the write with the number ``full_at`` fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full_at, self.writes, self._open = 0, 0, os.fdopen
        self.kind: type[io.FileIO] = _FullAtWrite
        monkeypatch.setattr(local.os, "fdopen", self._fdopen)

    def _fdopen(self, handle: int, mode: str) -> object:
        if mode != "wb":
            return self._open(handle, mode)
        self.writes += 1
        return self.kind(handle, "w") if self.writes == self.full_at else self._open(handle, mode)


def assert_full_disk_is_survived(
    job: Callable[[Path], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Run a job once for each of its writes, which fails, and then again to the end.

    The first run names the file and says what to do. The second one ends with the same objects as an undisturbed job.

    Returns:
        the paths of the files that could not be written.
    """
    disk = FullDisk(monkeypatch)
    job(folder / "undisturbed")
    expected, count = all_objects(folder / "undisturbed"), disk.writes
    assert count
    failed: list[str] = []
    for number in range(1, count + 1):
        out = folder / str(number)
        disk.full_at, disk.writes = number, 0
        disk.kind = _FullAtClose if number % 2 else _FullAtWrite
        with pytest.raises(StorageError) as caught:
            job(out)
        path, separator, advice = str(caught.value).partition(" cannot be written: ")
        assert separator
        assert "\n" not in advice
        assert advice.endswith(". Free space there, then run the same command again.")
        failed.append(str(Path(path).relative_to(out)))
        disk.full_at = 0
        job(out)
        assert all_objects(out) == expected, f"after a full disk at {failed[-1]}"
        assert not [file for file in out.rglob("*") if file.name.startswith(local.UNFINISHED)]
    return failed
