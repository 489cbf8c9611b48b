"""The one policy for Ctrl-C and SIGTERM of every long command. The commands decide what a stop means for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set.

    The second signal raises KeyboardInterrupt. The first sets an event, because an exception raised at an arbitrary
    point of the main thread can be lost inside a library. In another thread the event is never set, because signals are
    delivered to the main thread only.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(*_: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt("interrupted")
        requested.set()

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
