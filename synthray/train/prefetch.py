"""Compute items ahead in a thread.

The items and the function come from the caller.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# How soon the thread notices that the generator was closed.
_POLL_S = 0.1


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 2
) -> Generator[Result, None, None]:
    """Yield ``map(function, items)``, with up to ``ahead`` results computed in a thread.

    An exception in ``function`` or ``items`` is raised here, after the results before it. Closing the generator ends
    the thread.
    """
    ready: queue.Queue[tuple[Result | None, BaseException | None]] = queue.Queue(ahead)
    closed = threading.Event()

    def put(entry: tuple[Result | None, BaseException | None]) -> None:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(entry, timeout=_POLL_S)
                return

    def produce() -> None:
        try:
            for item in items:
                put((function(item), None))
                if closed.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=produce, daemon=True, name="prefetch").start()
    try:
        while True:
            result, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield result  # type: ignore[misc]  # result is None only together with an error
    finally:
        closed.set()
