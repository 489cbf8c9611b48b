"""Waiting for conditions and ports. One home for the whole suite."""

from __future__ import annotations

import time
from collections.abc import Callable

from infra.ray_head import HOST, free_ports

__all__ = ["HOST", "free_port", "wait_for"]


def wait_for(condition: Callable[[], object], timeout_s: float = 60, pause_s: float = 0.02) -> None:
    """Return once ``condition()`` is true; fail the test after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout_s:g} s"
        time.sleep(pause_s)


def free_port() -> int:
    """Return a TCP port of this machine's loopback interface on which nothing listens."""
    return free_ports(1)[0]
