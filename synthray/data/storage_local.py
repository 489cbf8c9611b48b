"""A local directory as a store."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from synthray.data.storage import Entry, Store
from synthray.errors import Conflict, NotFound, StorageError

# What a killed writer leaves behind begins with this; no reader ever sees it.
_UNFINISHED = ".unfinished-"


class LocalStore(Store):
    """Files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, str(root)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return LocalStore, (self.root,)

    def read(self, path: str) -> bytes:
        target = self.root / path
        try:
            return target.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{target} does not exist") from None
        except OSError as error:
            raise StorageError(f"{target} cannot be read: {error.strerror}") from error

    def write(self, path: str, data: bytes, *, replace: bool = True) -> None:
        target = self.root / path
        unfinished = None
        try:
            handle, unfinished = self._unfinished_file(target.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(unfinished).chmod(0o644)
            if replace:
                Path(unfinished).replace(target)
            else:
                # A hard link, unlike a rename, fails where the name is taken.
                Path(target).hardlink_to(unfinished)
        except FileExistsError:
            raise Conflict(f"{target} exists already") from None
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error
        finally:
            if unfinished:
                with contextlib.suppress(FileNotFoundError):
                    Path(unfinished).unlink()

    def _unfinished_file(self, folder: Path) -> tuple[int, str]:
        for _ in range(8):  # another writer may remove the folder, empty for a moment, in between
            with contextlib.suppress(FileExistsError):  # a file in the folder's place: told when it is written to
                folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                return tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
        return tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)

    def exists(self, path: str) -> bool:
        return (self.root / path).is_file()

    def list(self, prefix: str = "") -> list[Entry]:
        entries = []
        for folder, _, names in os.walk(self.root / prefix):
            for name in names:
                if name.startswith(_UNFINISHED):
                    continue
                file = Path(folder, name)
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
            raise StorageError(f"{self.root} cannot be listed: {error.strerror}") from error

    def modified_s(self, path: str) -> float:
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError:
            raise NotFound(f"{self.root / path} does not exist") from None

    def delete(self, path: str) -> None:
        target = self.root / path
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{target} cannot be removed: {error.strerror}") from error
        with contextlib.suppress(OSError):  # the folder goes with its last object, as in S3
            target.parent.rmdir()
