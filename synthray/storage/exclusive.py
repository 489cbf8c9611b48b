"""Exclusive naming: a finished file gets its name only if no other file has it.

A hard link does that in one step. FAT, exFAT, some network drives and mounted buckets have no hard links. There, a
writer first creates a claim: a hidden file whose name is derived from the object's name. Other writers wait until the
claim is gone. Writing the content is not here; see ``local.py``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from synthray.errors import StorageError

UNFINISHED = ".unfinished-"
"""Prefix of files that are being written; readers and listings skip them."""

CLAIM_TIMEOUT_S = 10.0
"""Longest wait for the claim of another writer. A writer holds its claim while it renames one file."""

_CLAIM_POLL_S = 0.05
# Errors that mean that the file system has no hard links. Any other error is raised.
_NO_HARD_LINKS = {
    errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL,
}  # fmt: skip


def name_exclusively(unfinished: Path, target: Path) -> None:
    """Give a finished file its name; the file may keep its old name, too.

    Raises:
        FileExistsError: the name is taken.
        StorageError: a killed writer on another machine, or on a file system without locks, left its claim.
    """
    try:
        # A hard link, unlike a rename, fails if the name is taken.
        target.hardlink_to(unfinished)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in _NO_HARD_LINKS:
            raise
        with _claimed(target):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            unfinished.replace(target)


@contextlib.contextmanager
def _claimed(target: Path) -> Iterator[None]:
    """Hold the claim of a name. Only one writer can hold it at a time."""
    claim = target.with_name(f"{UNFINISHED}claim-{target.name}")
    handle = _create_claim(claim, target)
    try:
        with contextlib.suppress(OSError):  # if this fails, the claim of a killed writer stays for a day
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(handle, _host())
        yield
    finally:
        claim.unlink(missing_ok=True)  # before the lock is released, or another writer could lock it
        os.close(handle)


def _create_claim(claim: Path, target: Path) -> int:
    """Create the claim's file as soon as no other writer has it, and return its handle.

    Raises:
        FileExistsError: the name is taken.
        StorageError: the claim of another writer stays longer than ``CLAIM_TIMEOUT_S``.
    """
    deadline = time.monotonic() + CLAIM_TIMEOUT_S
    while True:
        try:
            return os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if os.path.lexists(target):
                raise
            if _remove_claim_of_killed_writer(claim):
                continue
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{target} cannot be written: another writer has held the name for {CLAIM_TIMEOUT_S:g} s, or was "
                    f"killed. If no other job writes here, delete {claim} and run the same command again."
                ) from None
        time.sleep(_CLAIM_POLL_S)


def _remove_claim_of_killed_writer(claim: Path) -> bool:
    """Remove the claim if its writer ran on this machine and was killed; return whether to try again at once.

    Some file systems keep locks per machine, so the lock proves nothing about other machines.
    """
    try:
        with claim.open("r+b") as file:
            if file.read() != _host():
                return False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the writer lives
            if os.path.samestat(os.fstat(file.fileno()), claim.stat()):
                claim.unlink()
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _host() -> bytes:
    return platform.node().encode(errors="replace")
