"""Which cluster a job joins: Ray would wait for one that has ended for many minutes, and without a word."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path

import ray
import ray.data
from ray._common.utils import get_ray_address_file

from synthray.errors import ConfigError

_TIMEOUT_S = 10.0


LOCAL_RAY = {"RAY_idle_worker_killing_time_threshold_ms": "60000"}
"""What a Ray on this machine is started with, by the environment.

Ray ends workers after a second without work if there are more of them than free processors. Tasks that read for a
training rest for longer than that between two windows of its order, and a new worker takes two seconds of a processor.
"""


def connect(*, verbose: bool = False, quiet: str = "ray.data") -> None:
    """Join the cluster that this process was started for, or start a local one.

    verbose: show what workers print and what Ray tells of itself. quiet: the logger that is silenced otherwise. Raises
    ConfigError where there is no such cluster.
    """
    if not ray.is_initialized():
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        level = logging.INFO if verbose else logging.ERROR
        # a local one without its dashboard: nobody is told of it, and it takes two seconds to start
        ray.init(cluster_address(), log_to_driver=verbose, logging_level=level, include_dashboard=False)
    logging.getLogger(quiet).setLevel(logging.INFO if verbose else logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    context.print_on_execution_start = verbose
    # Reserved for an operator that there is none of, a part of the processors would stand idle: of two, one.
    context.op_resource_reservation_enabled = False


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
