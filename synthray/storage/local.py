"""A local directory as a store.

An object is written to a hidden file in its folder. The file is then renamed in one step, by ``exclusive.py`` if the
name must be free. The writer holds a lock on the file. The kernel releases the lock if the writer is killed. A later
writer in the folder deletes hidden files that are unlocked and older than a day. Readers and listings never delete
anything.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from synthray.errors import Conflict, NotFound, StorageError
from synthray.storage.base import Entry, Store, is_foreign
from synthray.storage.exclusive import UNFINISHED, name_exclusively
from synthray.storage.scratch import DISK_FULL

ABANDONED_AFTER_S = 24 * 3600
"""Age at which an unlocked unfinished file is deleted. Some file systems keep locks per host, so it may be in use."""

_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
# The answers of file systems that cannot sync a file or a folder. EACCES: a folder that cannot be opened for reading.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES}
_PIECE_BYTES = 1 << 20
# How often a folder is created again if another process deletes it while it is empty.
_FOLDER_ATTEMPTS = 8


class LocalStore(Store):
    """Files below ``root``."""

    is_shared = False

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, str(root)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return LocalStore, (self.root,)

    @property
    def parent_uri(self) -> str:
        return str(self.root.parent)

    def read(self, path: str) -> bytes:
        target = self.root / path
        with _translate_read_errors(target):
            return target.read_bytes()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        target = self.root / path
        with _translate_read_errors(target), target.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True, durable: bool = False) -> None:
        target = self.root / path
        durable = durable or not replace
        with _translate_write_errors(target):
            is_special = target.exists() and not (target.is_file() or target.is_dir())
        if is_special:
            raise StorageError(f"{target} is a device or a pipe, which would be replaced by a file. Give a file name.")
        with _translate_write_errors(target), _unfinished_file(target.parent) as (file, unfinished):
            # Linux writes pieces of 1 MB several times as fast to ext4 as 11 MB at once (benchmarks/convert.py).
            for begin in range(0, len(data), _PIECE_BYTES):
                file.write(memoryview(data)[begin : begin + _PIECE_BYTES])
            if durable:
                file.flush()
                with _ignore_missing_sync():
                    os.fsync(file.fileno())
            file.close()  # some file systems report a full disk only here
            if replace:
                unfinished.replace(target)
            else:
                name_exclusively(unfinished, target)
            if durable:
                _sync_folder(target.parent)

    def exists(self, path: str) -> bool:
        target = self.root / path
        try:
            return target.is_file()
        except OSError as error:
            raise StorageError(f"{target} cannot be accessed: {error.strerror}") from error

    def list(self, prefix: str = "") -> Sequence[Entry]:
        entries = []
        for folder, folders, names in os.walk(self.root / prefix, onerror=_ignore_missing_folder):
            folders[:] = [name for name in folders if not is_foreign(name)]  # os.walk does not enter the others
            for name in names:
                path = Path(folder, name).relative_to(self.root).as_posix()
                if not is_foreign(name):
                    with contextlib.suppress(NotFound):  # deleted since the folder was read, or a broken link
                        entries.append(self.entry(path))
        return sorted(entries, key=lambda entry: entry.path)

    def folders(self) -> Sequence[str]:
        try:
            return sorted(
                entry.name for entry in os.scandir(self.root) if entry.is_dir() and not is_foreign(entry.name)
            )
        except OSError as error:
            _ignore_missing_folder(error)
            return []

    def entry(self, path: str) -> Entry:
        target = self.root / path
        with _translate_read_errors(target):
            status = target.stat()
        if stat.S_ISDIR(status.st_mode):
            raise NotFound(f"{target} is a folder")
        return Entry(path, status.st_size, status.st_mtime)

    def delete(self, path: str) -> None:
        target = self.root / path
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{target} cannot be deleted: {error.strerror}") from error
        if target.parent != self.root:
            with contextlib.suppress(OSError):  # a folder disappears with its last object, as in S3
                target.parent.rmdir()


def _ignore_missing_folder(error: OSError) -> None:
    """Return if the folder does not exist; raise StorageError if it cannot be listed."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise StorageError(f"{error.filename} cannot be listed: {error.strerror}") from error


@contextlib.contextmanager
def _translate_read_errors(target: Path) -> Iterator[None]:
    """Raise the operating system's errors as NotFound or StorageError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{target} does not exist") from None
    except OSError as error:
        raise StorageError(f"{target} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _translate_write_errors(target: Path) -> Iterator[None]:
    """Raise the operating system's errors as Conflict or StorageError."""
    try:
        yield
    except FileExistsError:
        raise Conflict(f"{target} exists already") from None
    except OSError as error:
        advice = ""
        if error.errno in DISK_FULL:
            advice = ". Free space there, then run the same command again."
        elif error.errno in _NOT_WRITABLE:
            advice = ". Give a URI that can be written. Set SYNTHRAY_HOME to move the defaults."
        raise StorageError(f"{target} cannot be written: {error.strerror}{advice}") from error


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, if the file system can do that."""
    with _ignore_missing_sync():
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _ignore_missing_sync() -> Iterator[None]:
    """Ignore the error of a file system that cannot sync; raise any other error, for example of a broken disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


@contextlib.contextmanager
def _unfinished_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new, locked file in a folder, and its path.

    On exit the file is deleted unless it was renamed.
    """
    handle, path = _create_unfinished(folder)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks, where nothing is ever deleted
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def _create_unfinished(folder: Path) -> tuple[int, Path]:
    attempts = 0
    while True:
        with contextlib.suppress(FileExistsError):  # a file has the folder's name; os.open reports it
            folder.mkdir(parents=True, exist_ok=True)
        try:
            _delete_abandoned(folder, os.getpid())
            path = folder / f"{UNFINISHED}{secrets.token_hex(8)}"
            # `tempfile` would make the file private to its owner whatever the umask is.
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), path
        except FileNotFoundError:  # another process deleted the folder, which was empty
            attempts += 1
            if attempts == _FOLDER_ATTEMPTS:
                raise


@lru_cache(maxsize=1024)
def _delete_abandoned(folder: Path, process_id: int) -> None:  # noqa: ARG001 - a forked process looks again
    """Delete the files that killed writers left in a folder; look once per process."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > ABANDONED_AFTER_S:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the writer lives
                path.unlink()
