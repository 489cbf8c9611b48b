"""Ends a worker that is alive but stuck: nothing else would, and all the others wait for it."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

_LOOKS_PER_LIMIT = 10
_EXIT_CODE = 75


class Watchdog:
    """Ends this process when its training makes no step for ``limit_s`` seconds.

    The work calls ``beat`` after each step; that costs nothing. When the beats stay out, where every thread stands is
    written to standard error, ``tell`` gets a line, and the process ends. If not even this thread gets to run, because
    something holds the interpreter's lock, the alarm of ``faulthandler``, which needs no Python, does the same.

    >>> with Watchdog(300, print) as watchdog:
    ...     watchdog.beat()
    """

    def __init__(self, limit_s: float, tell: Callable[[str], None]) -> None:
        self._limit_s, self._tell = limit_s, tell
        self._last_s = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def beat(self) -> None:
        """A sign of life."""
        self._last_s = time.monotonic()

    def _watch(self) -> None:
        pause_s = self._limit_s / _LOOKS_PER_LIMIT
        while not self._done.is_set():
            if not self._last_s:  # the timer starts at the first heartbeat
                self._done.wait(pause_s)
                continue
            faulthandler.dump_traceback_later(self._limit_s + pause_s, exit=True)
            if self._done.wait(pause_s):
                break
            if time.monotonic() - self._last_s > self._limit_s:
                self._end()
        faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        # in a thread: who is told may be out of reach, and must not keep the process alive
        why = f"no step in {self._limit_s:g} s; its log shows where it stood"
        teller = threading.Thread(target=self._tell, args=(why,), daemon=True)
        teller.start()
        teller.join(1.0)
        os._exit(_EXIT_CODE)
