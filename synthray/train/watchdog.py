"""End a worker that is alive but makes no step.

Only the worker's own process can notice this, because all other workers just wait for it. ``cluster/training`` restarts
the worker.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

START_LIMIT_S = 300.0
"""Seconds that a worker has at least until its first heartbeat, to import TensorFlow and wait for the others."""
_CHECKS_PER_LIMIT = 10
_EXIT_CODE = 75
_LOG_TIMEOUT_S = 1.0


class Watchdog:
    """A thread that ends this process if its training stops making steps.

    The training calls ``beat`` after each step, which costs nothing. The limit applies from the first heartbeat on.
    Before it, a worker has ``max(limit_s, start_limit_s)`` seconds.

    At the limit, the stack of every thread is written to stderr, ``log`` gets a line, and the process exits. If another
    thread holds the interpreter lock, ``faulthandler``'s alarm writes the stacks and exits, because it needs no Python.

    >>> with Watchdog(300, print) as watchdog:
    ...     watchdog.beat()
    """

    def __init__(self, limit_s: float, log: Callable[[str], None], start_limit_s: float = START_LIMIT_S) -> None:
        self._limit_s, self._log = limit_s, log
        self._start_limit_s = max(limit_s, start_limit_s)
        self._pause_s = limit_s / _CHECKS_PER_LIMIT
        self._last_s = time.monotonic()
        self.started = False
        """True once there was a heartbeat."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def beat(self) -> None:
        """Record a heartbeat."""
        self._last_s = time.monotonic()
        if not self.started and not self._done.is_set():
            self.started = True
            # The alarm still has the start limit, and this thread may hold the interpreter lock from here on.
            self._set_alarm()

    def beat_again(self) -> None:
        """Record a heartbeat, unless it would be the first one."""
        if self.started:
            self.beat()

    @property
    def _current_limit_s(self) -> float:
        return self._limit_s if self.started else self._start_limit_s

    def _set_alarm(self) -> None:
        faulthandler.dump_traceback_later(self._current_limit_s + self._pause_s, exit=True)

    def _watch(self) -> None:
        while not self._done.is_set():
            self._set_alarm()
            if self._done.wait(self._pause_s):
                break
            if time.monotonic() - self._last_s > self._current_limit_s:
                self._end()
        faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        what = "no step" if self.started else "no first step"
        reason = f"{what} in {self._current_limit_s:g} s; its log shows the stack of each thread"
        # In a thread, because the receiver may be unreachable and must not keep the process alive.
        logger = threading.Thread(target=self._log, args=(reason,), daemon=True)
        logger.start()
        logger.join(_LOG_TIMEOUT_S)
        os._exit(_EXIT_CODE)
