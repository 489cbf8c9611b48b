"""The settings and folders of a Ray that is started on this machine, and the Python of its workers.

Containers often run as any user, with a read-only file system and ``HOME=/``. Joining a cluster is not here; see
``connect.py``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from synthray.errors import ConfigError

LOCAL_RAY = {
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "synthray.cluster.resend:middleware",
}
"""Environment variables for a Ray that is started on this machine; infra/docker/Dockerfile has the same.

By default Ray kills surplus workers after 1 s without work. The tasks that read for a training pause longer than that,
and a new worker costs 2 s of CPU time. With the second variable, Serve's proxies resend the requests of a killed
replica.
"""

_FOLDER_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENOSPC, errno.ENAMETOOLONG}
_ADVICE = "Set RAY_TMPDIR to a folder that can be written. Its path must be short, because socket names contain it."


@contextlib.contextmanager
def writable_places() -> Iterator[None]:
    """Set ``RAY_TMPDIR`` and ``RAY_AUTH_TOKEN`` for a Ray that starts inside, if its default places are read-only.

    Raises:
        ConfigError: Ray cannot write its temporary files.
    """
    _choose_temporary_folder()
    _choose_token()
    try:
        yield
    except OSError as error:
        text = " ".join(str(error).split())
        if error.errno not in _FOLDER_ERRORS and "AF_UNIX path length" not in text:
            raise
        raise ConfigError(f"Ray cannot start: {text}. {_ADVICE}") from error


def _choose_temporary_folder() -> None:
    given = os.environ.get("RAY_TMPDIR")
    if _can_write(Path(given or os.environ.get("TMPDIR") or "/tmp")):  # noqa: S108 - Ray's default
        return
    if given:
        raise ConfigError(f"RAY_TMPDIR is {given!r}, which cannot be written. {_ADVICE}")
    try:
        os.environ["RAY_TMPDIR"] = tempfile.gettempdir()
    except OSError:
        raise ConfigError(f"Ray cannot start: no folder for temporary files can be written. {_ADVICE}") from None


def _choose_token() -> None:
    """Give Ray a token in the environment if it can neither read one below the home folder nor write one there."""
    token = Path(os.environ.get("HOME", "/"), ".ray", "auth_token")
    if "RAY_AUTH_TOKEN_PATH" not in os.environ and not os.access(token, os.R_OK) and not _can_write(token.parent):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def python_of_workers() -> dict[str, str] | None:
    """Return a runtime environment with the quoted path of this Python, or None if it needs no quotes.

    Ray does not quote the path in the shell command that starts a worker
    (https://github.com/ray-project/ray/issues/5288).
    """
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else {"py_executable": quoted}


def _can_write(folder: Path) -> bool:
    """Return whether this process may create files in a folder, or the folder itself."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
