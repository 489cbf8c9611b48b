"""The interface of a store: objects below one root, read whole or in part, and written whole.

The back ends are not here: ``local.py`` is a directory, ``s3.py`` a bucket.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synthray.errors import NotFound

_FOREIGN = {
    "lost+found", "System Volume Information", "$RECYCLE.BIN", "__MACOSX",
    "@eaDir", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot",
}  # fmt: skip
"""Folders that operating systems and network storage devices add to any folder."""


def is_foreign(name: str) -> bool:
    """Return whether a name is hidden, or of a folder that an operating system or a storage device adds.

    Such folders hold thumbnails, deleted files or old copies of other files. Some cannot be read.
    """
    return name.startswith(".") or name in _FOREIGN


@dataclass(frozen=True)
class Entry:
    """One object in a store."""

    path: str
    """Path from the store's root."""
    size: int
    """Size in bytes."""
    modified_s: float
    """Time of the last write, in Unix seconds."""


class Store(ABC):
    """Objects below one root URI, named by their path from it (``a/b.npy``).

    A store pickles as its URI.
    """

    uri: str
    """Absolute URI of the root."""
    is_shared: ClassVar[bool]
    """True if the URI names the same objects on every machine."""

    @property
    @abstractmethod
    def parent_uri(self) -> str | None:
        """URI one level above the root; None if there is none."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the whole object.

        Raises:
            NotFound: the object does not exist.
            StorageError: the store refuses or cannot be reached.
        """

    @abstractmethod
    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return a part of the object. It is shorter at the object's end, and empty beyond it.

        Args:
            path: the object's path from the root.
            start: bytes before the part.
            length: bytes of the part, at least 1.

        Raises:
            NotFound: the object does not exist.
            StorageError: the store refuses or cannot be reached.
        """

    @abstractmethod
    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True, durable: bool = False) -> None:
        """Write the whole object atomically.

        A reader sees all of it or nothing, even if the writer is killed.

        Args:
            path: the object's path from the root.
            data: its content.
            replace: replace an object of that name; otherwise raise Conflict.
            durable: return only when the object survives a power failure. ``replace=False`` implies it.

        Raises:
            Conflict: the object exists and ``replace`` is False.
            StorageError: the store refuses or cannot be reached.
        """

    def read_if_present(self, path: str) -> bytes | None:
        """Return the object, or None if it does not exist; raise StorageError if the store cannot say."""
        try:
            return self.read(path)
        except NotFound:
            return None

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Return whether the object exists; raise StorageError if the store cannot say."""

    @abstractmethod
    def list(self, prefix: str = "") -> Sequence[Entry]:
        """Return all objects below a folder, at any depth, sorted by path.

        A folder that does not exist has none. Objects with a foreign name (``is_foreign``) in their path are left out.
        """

    @abstractmethod
    def folders(self) -> Sequence[str]:
        """Return the names of the folders directly below the root, sorted, without foreign ones."""

    @abstractmethod
    def entry(self, path: str) -> Entry:
        """Return the size and time of one object; raise NotFound or StorageError."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete the object if it exists; raise StorageError if that fails."""

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"
