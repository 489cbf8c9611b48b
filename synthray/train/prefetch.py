"""Work ahead: the next items are made while the last one is in use."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT_S = 0.1


def prefetch(make: Callable[[Item], Result], items: Iterable[Item], ahead: int = 2) -> Iterator[Result]:
    """``map(make, items)``, with up to ``ahead`` results made in a thread before they are asked for.

    What ``make`` or ``items`` raises is raised here, in its place. Closing the generator ends the thread.
    """
    ready: queue.Queue[tuple[Result | None, BaseException | None]] = queue.Queue(ahead)
    closed = threading.Event()

    def put(entry: tuple[Result | None, BaseException | None]) -> None:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(entry, timeout=_WAIT_S)
                return

    def work() -> None:
        try:
            for item in items:
                put((make(item), None))
                if closed.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True, name="prefetch").start()
    try:
        while True:
            result, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        closed.set()
