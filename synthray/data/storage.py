"""Where things are: a local directory or an S3 bucket behind one small interface.

A location is a URI: a local path, ``file://…`` or ``s3://bucket/prefix``. Writing is atomic: an object is there
as a whole or not at all, so a writer may be killed at any moment. S3 is reached as boto3's standard variables say
(``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT_URL``, ``AWS_REGION``).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from synthray.data.memory import Memory
from synthray.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One object below a store's root: its path from there, size in bytes, and time of writing in Unix seconds."""

    path: str
    size: int
    modified_s: float


class Store(ABC):
    """Objects below one root URI, by their path from there (``a/b.npy``). Stores pickle as their URI."""

    uri: str

    @staticmethod
    def at(uri: str | os.PathLike[str]) -> Store:
        """The store for a URI.

        Raises:
            ConfigError: the URI is empty or of an unknown scheme.
        """
        text = os.fspath(uri)
        if not text.strip():
            raise ConfigError("the URI is empty; give a local path, file://… or s3://bucket/prefix")
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "", text
        if scheme in ("", "file"):
            from synthray.data.storage_local import LocalStore

            return LocalStore(_file_path(text) if text.startswith("file:") else _expanded(rest).absolute())
        if scheme == "s3":
            from synthray.data.storage_s3 import S3Store

            bucket, _, prefix = rest.partition("/")
            if not bucket:
                raise ConfigError(f"{text!r} names no bucket; write s3://bucket/prefix")
            return S3Store(bucket, prefix.strip("/"))
        raise ConfigError(f"{text!r}: {scheme}:// is not known; give a local path, file://… or s3://bucket/prefix")

    def parent(self) -> tuple[Store, str]:
        """The store one step up, and this one's name in it; raises ConfigError for a bucket itself."""
        head, _, name = self.uri.rpartition("/")
        if head == "s3:/":
            raise ConfigError(f"{self.uri!r} names no object in the bucket")
        return Store.at(head or "/"), name

    def locate(self, path: str) -> tuple[Store, str]:
        """Where a path of a manifest leads: below this root, into the folder beside it (``../other/…``), or a URI."""
        if path.startswith("../"):
            return self.parent()[0], path[3:]
        if "://" in path or path.startswith("/"):
            return Store.at(path).parent()
        return self, path

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole object. Raises NotFound, StorageError."""

    def read_into(self, path: str, memory: Memory) -> memoryview:  # noqa: ARG002
        """As ``read``, for large objects: in memory that is used again, where the store can do that."""
        return memoryview(self.read(path))

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


def _file_path(uri: str) -> Path:
    host, slash, path = uri.removeprefix("file://").partition("/")
    if not uri.startswith("file://") or host not in ("", "localhost") or not slash:
        raise ConfigError(f"{uri!r} is not file:// and a whole path, as in file:///data/first")
    return Path(unquote(f"/{path}"))


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path!r}: whose folder ~ is meant is not known here; write it out") from None


def home() -> str:
    """The URI under which jobs find each other's outputs: ``SYNTHRAY_HOME``, or ``~/.synthray``; raises ConfigError."""
    return os.environ.get("SYNTHRAY_HOME", "").rstrip("/") or str(_expanded("~/.synthray"))


def newest(uri: str, marker: str) -> str | None:
    """The folder directly below ``uri`` whose object ``marker`` was written last, or None where there is none."""
    store = Store.at(uri)
    found = [
        (store.entry(f"{folder}/{marker}").modified_s, folder)
        for folder in store.folders()
        if store.exists(f"{folder}/{marker}")
    ]
    return f"{store.uri}/{max(found)[1]}" if found else None
