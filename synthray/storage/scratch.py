"""Folders for temporary files, which libraries need that read or write files by name."""

from __future__ import annotations

import tempfile

from synthray.errors import StorageError


def temporary_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder, whose name begins with ``synthray-`` and the purpose.

    As a context manager it yields its path, and deletes the folder at the end.

    Raises:
        StorageError: no folder for temporary files can be written.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=f"synthray-{purpose}-")
    except OSError as error:
        raise StorageError(
            f"no folder for temporary files can be made ({error.strerror}). Set TMPDIR to a folder that can be written."
        ) from error
