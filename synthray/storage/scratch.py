"""Temporary folders for libraries that write local files only."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from synthray.errors import StorageError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of the operating system for a full disk, a used up quota, and a limit on the size of files."""


@contextlib.contextmanager
def scratch_folder(use: str) -> Iterator[Path]:
    """Yield an empty folder that is deleted at the end.

    Args:
        use: a word for its name.

    Raises:
        StorageError: no folder for temporary files can be written, or its disk is full.
    """
    try:
        with _new_folder(use) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise scratch_full(os.strerror(error.errno)) from error


def _new_folder(use: str) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=f"synthray-{use}-")
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise StorageError(
            f"no folder for temporary files can be made ({error.strerror}). Set TMPDIR to a folder that can be written."
        ) from error


def scratch_full(reason: str) -> StorageError:
    """Return the error of a folder for temporary files that has no room."""
    return StorageError(
        f"{tempfile.gettempdir()}: temporary files cannot be written: {reason}. Free space there, or set TMPDIR to "
        "another folder. Then run the same command again."
    )
