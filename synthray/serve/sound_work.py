"""Threads for work on sounds, each pool with a bounded queue of its own.

The work itself is in matching.py, progress_stream.py and sounds.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from synthray.errors import Busy

P = ParamSpec("P")
T = TypeVar("T")


class SoundWork:
    """Threads for one kind of work on sounds, with a bounded queue.

    Args:
        name: of the work, in the plural, for messages and for the threads.
        threads: how many run at the same time.
        max_waiting: how many may wait for a thread.
    """

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threads + max_waiting
        self._taken = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the function's result, computed in a thread.

        Raises:
            Busy: all places in the queue are taken.
        """
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Take a place in the queue; return the future result of the function. Cancelling it frees a waiting place.

        Raises:
            Busy: all places in the queue are taken.
        """
        if self._taken >= self._places:
            raise Busy(f"{self._taken} {self._name} are waiting or running already. Retry in a second.")
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function, *args, **kwargs)
        # The place is free when the thread is, which may be after the client has left.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        return asyncio.wrap_future(future)

    async def close(self) -> None:
        """Wait for the running functions. One that ends after the event loop could not free its place."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _release(self) -> None:
        self._taken -= 1
