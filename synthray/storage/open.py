"""From a URI to its store: a local path, ``file://…`` or ``s3://bucket/prefix``."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

from synthray.errors import ConfigError, NotFound
from synthray.storage.base import Store
from synthray.storage.local import LocalStore
from synthray.storage.s3 import S3Store

HOME_VARIABLE = "SYNTHRAY_HOME"
_FORMS = "give a local path, file://… or s3://bucket/prefix"
# Without this, ``s3:/bucket`` would be a local folder called ``s3:``.
_MISSPELT = re.compile(r"(s3|file):(?!//)|(s3|file)//", re.IGNORECASE)


def open_store(uri: str | os.PathLike[str]) -> Store:
    """Return the store for a URI. Nothing is read or created.

    Raises:
        ConfigError: the URI is empty, misspelt, or has an unknown scheme.
    """
    text = os.fspath(uri)
    if not text.strip():
        raise ConfigError(f"the URI is empty; {_FORMS}")
    if "\0" in text:
        raise ConfigError(f"{text!r}: a URI cannot contain the character 0")
    if match := _MISSPELT.match(text):
        scheme = (match[1] or match[2]).lower()
        raise ConfigError(f"{text!r}: a URI begins with {scheme}:// and a local path with / or ./; {_FORMS}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    if scheme in ("", "file"):
        return LocalStore(_file_path(text, rest) if scheme else _expand(text).absolute())
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise ConfigError(f"{text!r} names no bucket; write s3://bucket/prefix")
        return S3Store(bucket, prefix.strip("/"))
    raise ConfigError(f"{text!r}: unknown scheme {scheme}://; {_FORMS}")


def open_parent(uri: str | os.PathLike[str]) -> tuple[Store, str]:
    """Return the store one level above a URI, and the URI's last part as a path in it.

    Raises:
        ConfigError: the URI is a bucket without a prefix.
    """
    store = open_store(uri)
    if store.parent_uri is None:
        raise ConfigError(f"{store.uri!r} names no object in the bucket")
    return open_store(store.parent_uri), store.uri.rpartition("/")[2]


def locate(store: Store, path: str) -> tuple[Store, str]:
    """Return the store and path that a manifest's path refers to.

    Args:
        store: the manifest's folder.
        path: a path below it, ``../sibling/…``, or a URI.
    """
    if path.startswith("../"):
        return open_parent(store.uri)[0], path[3:]
    if "://" in path or path.startswith("/"):
        return open_parent(path)
    return store, path


def home() -> str:
    """Return the URI under which the commands find each other's outputs, without a slash at its end.

    It is ``SYNTHRAY_HOME``, or ``~/.synthray`` if that is unset.

    Raises:
        ConfigError: ``SYNTHRAY_HOME`` is not a URI, or is unset and ``~`` cannot be expanded.
    """
    uri = os.environ.get(HOME_VARIABLE, "")
    try:
        return open_store(uri or "~/.synthray").uri.rstrip("/")
    except ConfigError as error:
        if uri:
            raise ConfigError(f"{HOME_VARIABLE}: {error}") from None
        raise ConfigError(
            f"{HOME_VARIABLE} is not set, and this user has no home folder. Set it to a folder, or s3://bucket/prefix."
        ) from None


def newest(uri: str, marker: str) -> str | None:
    """Return the folder below ``uri`` whose object ``marker`` was written last.

    None if no folder has that object.
    """
    store = open_store(uri)
    found = []
    for folder in store.folders():
        with suppress(NotFound):  # another folder, or one that was deleted meanwhile
            found.append((store.entry(f"{folder}/{marker}").modified_s, folder))
    return f"{store.uri}/{max(found)[1]}" if found else None


def _file_path(uri: str, rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise ConfigError(f"{uri!r}: after file://, give an absolute path, as in file:///data/first")
    if "%00" in path:
        raise ConfigError(f"{uri!r}: a URI cannot contain the character 0")
    return Path(os.fsdecode(unquote_to_bytes(f"/{path}")))


def _expand(path: str) -> Path:
    expanded = os.path.expanduser(path)  # noqa: PTH111 - Path("./~") is "~", which would be expanded
    if path.startswith("~") and expanded == path:
        raise ConfigError(f"{path!r}: the home folder of ~ is unknown; write an absolute path")
    return Path(expanded)
