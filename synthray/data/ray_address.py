"""Which cluster a job joins: Ray would wait for one that has ended for many minutes, and without a word."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from ray._common.utils import get_ray_address_file

from synthray.errors import ConfigError

_TIMEOUT_S = 10.0


def cluster_address() -> str | None:
    """What ``ray.init`` is to be given.

    None for what it finds by itself: the cluster that ``RAY_ADDRESS`` names, the one that was started on this machine,
    or a new one. ``"local"``, a new one, where that of this machine has ended without putting its address away.

    Raises:
        ConfigError: nothing answers where ``RAY_ADDRESS`` says.
    """
    if told := os.environ.get("RAY_ADDRESS", ""):
        if not _answers(told):
            raise ConfigError(f"RAY_ADDRESS is {told!r}, and nothing answers there: start that cluster, or unset it")
        return None
    with contextlib.suppress(OSError):
        if not _answers(Path(get_ray_address_file(None)).read_text().strip()):
            return "local"
    return None


def _answers(address: str) -> bool:
    """Whether something listens at ``host:port``; what is no such address is for Ray to judge."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
    except OSError:
        return False
    return True
