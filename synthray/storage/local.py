"""A local directory as a store.

An object is written to a file beside it, which then takes its name in one step. The writer holds a lock on that file,
which the kernel takes back from a process that was killed: so what was left behind is told from what is being written,
and the next writer, or whoever lists the folder, removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from synthray.errors import Conflict, NotFound, StorageError
from synthray.storage.base import Entry, Store

# What is being written, or was when its writer was killed, begins with this; no reader ever sees it.
_UNFINISHED = ".unfinished-"
# The ways in which a kernel says that there is no more room: of the disk, of a quota, of a limit on the size of a file.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How often the folder is made anew where others, which remove it when it is empty, are quicker.
_ATTEMPTS = 8


class LocalStore(Store):
    """Files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, str(root)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return LocalStore, (self.root,)

    def read(self, path: str) -> bytes:
        target = self.root / path
        with _translate_read_errors(target):
            return target.read_bytes()

    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True) -> None:
        target = self.root / path
        with _translate_write_errors(target), _unfinished_file(target.parent) as (file, unfinished):
            file.write(data)
            _commit(file, unfinished, target, replace=replace)

    def exists(self, path: str) -> bool:
        target = self.root / path
        try:
            return target.is_file()
        except OSError as error:
            raise StorageError(f"{target} cannot be looked at: {error.strerror}") from error

    def list(self, prefix: str = "") -> list[Entry]:
        entries = []
        for folder, _, names in os.walk(self.root / prefix, onerror=_cannot_be_listed):
            for name in names:
                file = Path(folder, name)
                if name.startswith(_UNFINISHED):
                    _remove_if_left_behind(file)
                    continue
                with contextlib.suppress(FileNotFoundError):  # a writer finished meanwhile
                    status = file.stat()
                    relative = file.relative_to(self.root).as_posix()
                    entries.append(Entry(relative, status.st_size, status.st_mtime))
        return sorted(entries, key=lambda entry: entry.path)

    def folders(self) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            _cannot_be_listed(error)

    def entry(self, path: str) -> Entry:
        try:
            status = (self.root / path).stat()
            return Entry(path, status.st_size, status.st_mtime)
        except FileNotFoundError:
            raise NotFound(f"{self.root / path} does not exist") from None
        except OSError as error:
            raise StorageError(f"{self.root / path} cannot be looked at: {error.strerror}") from error

    def delete(self, path: str) -> None:
        target = self.root / path
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{target} cannot be removed: {error.strerror}") from error
        with contextlib.suppress(OSError):  # the folder goes with its last object, as in S3
            target.parent.rmdir()


def _cannot_be_listed(error: OSError) -> None:
    """A folder that is not there, or not any more, is empty; one that may not be read is not."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise StorageError(f"{error.filename} cannot be listed: {error.strerror}") from error


@contextlib.contextmanager
def _translate_read_errors(target: Path) -> Iterator[None]:
    """What the kernel refuses while ``target`` is read, as an error of ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{target} does not exist") from None
    except OSError as error:
        raise StorageError(f"{target} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _translate_write_errors(target: Path) -> Iterator[None]:
    """What the kernel refuses while ``target`` is written, as an error of ours."""
    try:
        yield
    except FileExistsError:
        raise Conflict(f"{target} exists already") from None
    except OSError as error:
        advice = "; make room there, then run the same command again" if error.errno in _FULL else ""
        raise StorageError(f"{target} cannot be written: {error.strerror}{advice}") from error


def _commit(file: BinaryIO, unfinished: Path, target: Path, *, replace: bool = True) -> None:
    file.close()  # where the last of it is refused, it is here
    if replace:
        unfinished.replace(target)
    else:
        # A hard link, unlike a rename, fails where the name is taken.
        target.hardlink_to(unfinished)


@contextlib.contextmanager
def _unfinished_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in a folder, open for writing, and its path; locked, and gone with the block unless it was renamed."""
    handle, name = _make_unfinished_file(folder)
    locked = os.dup(handle)  # so that the lock outlives the closing of the file
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, name
    finally:
        name.unlink(missing_ok=True)
        os.close(locked)


def _make_unfinished_file(folder: Path) -> tuple[int, Path]:
    attempts = 0
    while True:
        with contextlib.suppress(FileExistsError):  # a file in the folder's place: told when it is written to
            folder.mkdir(parents=True, exist_ok=True)
        try:
            _clear_away(folder, os.getpid())
            name = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
            # not tempfile's: its files are for their owner alone, whatever the umask says
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:  # another writer has removed the folder, empty for a moment, in between
            attempts += 1
            if attempts < _ATTEMPTS:
                continue
            raise
        with contextlib.suppress(OSError):  # no locks in this file system: then nothing is cleared away either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # taken for left behind, in the moment before it was locked


@lru_cache(maxsize=1024)
def _clear_away(folder: Path, process_id: int) -> None:  # noqa: ARG001 - once a process: a killed one has a successor
    """Remove what killed writers left in a folder."""
    for file in folder.glob(f"{_UNFINISHED}*"):
        _remove_if_left_behind(file)


def _remove_if_left_behind(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("rb") as left:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
        file.unlink()
