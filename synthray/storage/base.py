"""Where things are: a local directory or an S3 bucket behind one small interface.

A location is a URI: a local path, ``file://…`` or ``s3://bucket/prefix``. Writing is atomic: an object is there
as a whole or not at all, so a writer may be killed at any moment. S3 is reached as boto3's standard variables say
(``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT_URL``, ``AWS_REGION``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One object below a store's root: its path from there, size in bytes, and time of writing in Unix seconds."""

    path: str
    size: int
    modified_s: float


class Store(ABC):
    """Objects below one root URI, by their path from there (``a/b.npy``). Stores pickle as their URI."""

    uri: str

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole object. Raises NotFound, StorageError."""

    @abstractmethod
    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True) -> None:
        """Put the whole object in one step.

        Raises:
            Conflict: it exists already and ``replace`` is False.
            StorageError: the store refuses or cannot be reached.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether the object is there. Raises StorageError."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[Entry]:
        """All objects below a folder, however deep, sorted by path; an absent folder is empty."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Names of the folders directly below the root, sorted."""

    @abstractmethod
    def entry(self, path: str) -> Entry:
        """One object's size and time of writing. Raises NotFound, StorageError."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove the object; it may be absent. Raises StorageError."""

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"
