"""The one policy for Ctrl-C and SIGTERM of every long command. The commands decide what a stop means for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from synthray.errors import Terminated


class StopRequest(threading.Event):
    """An event that SIGINT and SIGTERM set."""

    def __init__(self) -> None:
        super().__init__()
        self._number = signal.SIGINT

    def set_by(self, number: int) -> None:
        """Set the event, and remember the first signal."""
        if not self.is_set():
            self._number = signal.Signals(number)
        self.set()

    def interruption(self, text: str = "interrupted") -> KeyboardInterrupt:
        """Return the exception that ends the command with the exit code of the signal."""
        return Terminated(text) if self._number == signal.SIGTERM else KeyboardInterrupt(text)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yield an event that SIGINT and SIGTERM set.

    The second signal raises its ``interruption``. The first sets an event, because an exception raised at an arbitrary
    point of the main thread can be lost inside a library. In another thread the event is never set, because signals are
    delivered to the main thread only.
    """
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(number: int, _: object) -> None:
        if requested.is_set():
            raise requested.interruption()
        requested.set_by(number)

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_ignored() -> Iterator[None]:
    """Ignore SIGTERM during clean-up; Ctrl-C still interrupts.

    Some supervisors send SIGTERM twice.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
