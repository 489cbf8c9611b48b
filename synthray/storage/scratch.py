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
        StorageError: the disk of temporary files is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"synthray-{use}-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise scratch_full(os.strerror(error.errno)) from error


def scratch_full(reason: str) -> StorageError:
    """Return the error of a folder for temporary files that has no room."""
    return StorageError(
        f"{tempfile.gettempdir()}: temporary files cannot be written: {reason}. Free space there, or set TMPDIR to "
        "another folder. Then run the same command again."
    )
