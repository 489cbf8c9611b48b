"""The connection of a job to a Ray cluster.

Ray itself waits minutes for a cluster that has ended. Clusters are started by ``infra`` and by Ray's own tools.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path

import ray
import ray.data

from synthray.cluster import resend
from synthray.cluster.local_ray import python_of_workers, writable_places
from synthray.errors import ConfigError

LOCAL_RAY = {"RAY_idle_worker_killing_time_threshold_ms": "60000", **resend.SETTING}
"""Environment variables for a Ray that is started on this machine; infra/docker/Dockerfile has the same.

By default Ray kills surplus workers after 1 s without work. The tasks that read for a training pause longer than that,
and a new worker costs 2 s of CPU time.
"""

_CONNECT_TIMEOUT_S = 10.0


def connect(*, verbose: bool = False, quiet: str = "ray.data") -> None:
    """Join the cluster that this process was started for, or start a local one.

    Args:
        verbose: show the output of workers, Ray's log and Ray Data's progress bars.
        quiet: name of the logger to silence unless ``verbose``.

    Raises:
        ConfigError: no cluster answers at ``RAY_ADDRESS``, or a local Ray has no folder that it can write.
    """
    level = logging.INFO if verbose else logging.ERROR
    if not ray.is_initialized():
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        address = cluster_address()
        is_new = _is_new(address)
        with writable_places() if is_new else contextlib.nullcontext():
            # The dashboard takes 2 s to start, and no message gives its address.
            ray.init(
                address,
                log_to_driver=verbose,
                logging_level=level,
                include_dashboard=False,
                runtime_env=python_of_workers() if is_new else None,
            )
    logging.getLogger(quiet).setLevel(logging.INFO if verbose else logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    # Our jobs show their own progress.
    context.enable_progress_bars = verbose
    # Ray Data reserves CPUs per operator. With one operator that idles half of a two-core machine.
    context.op_resource_reservation_enabled = False


def cluster_address() -> str | None:
    """Return the address to give to ``ray.init``.

    Returns:
        None to let Ray decide: the cluster at ``RAY_ADDRESS``, else the one started on this machine, else a new one.
        ``"local"`` for a new one, if the cluster of this machine has ended without removing its address file.

    Raises:
        ConfigError: no cluster answers at ``RAY_ADDRESS``.
    """
    if address := os.environ.get("RAY_ADDRESS", ""):
        if not _answers(address):
            raise ConfigError(f"RAY_ADDRESS: no cluster answers at {address!r}. Start it or unset RAY_ADDRESS.")
        return None
    left_behind = _address_on_this_machine()
    return "local" if left_behind and not _answers(left_behind) else None


def _is_new(address: str | None) -> bool:
    """Return whether ``ray.init`` starts a Ray at the address that ``cluster_address`` gives."""
    named = os.environ.get("RAY_ADDRESS", "")
    return address == "local" or named == "local" or not (named or _address_on_this_machine())


def _address_on_this_machine() -> str:
    """Return the address of the cluster started on this machine, or '' if there is none or Ray does not tell."""
    # ray._common is private, so a later Ray may lack it. Ray then decides alone, at worst after minutes.
    with contextlib.suppress(ImportError, OSError):
        from ray._common.utils import get_ray_address_file

        return Path(get_ray_address_file(None)).read_text().strip()
    return ""


def _answers(address: str) -> bool:
    """Return whether a process listens at ``host:port``; True for addresses of any other form, such as ``auto``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
