"""Threads for work on sounds, each pool with a bounded queue of its own.

The work itself is in ``serve/sounds``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from synthray.errors import Busy
from synthray.serve.metrics import Metrics, NoMetrics
from synthray.serve.queues.waits import RecentMean, retry_after_s

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")


@dataclass(eq=False)
class _Task:
    """A function in the queue or in a thread."""

    budget_s: float | None
    """Time that the function may take; None to expect the mean of recent times."""
    started_s: float = 0.0
    ended_s: float = 0.0
    """Times by ``time.perf_counter``; 0 if it has not started or ended."""

    def left_s(self, recent_s: float) -> float:
        """Return the expected time until the function ends, in seconds."""
        expected_s = recent_s if self.budget_s is None else self.budget_s
        return max(0.0, expected_s - (time.perf_counter() - self.started_s)) if self.started_s else expected_s


class SoundWork:
    """Threads for one kind of work on sounds, with a bounded queue.

    Args:
        name: name of the work, in the plural, for messages and for the threads.
        threads: number of functions that run at the same time.
        max_waiting: number of functions that may wait for a thread.
        metrics: receives the length of the queue.
    """

    def __init__(self, name: str, threads: int, max_waiting: int, metrics: Metrics | None = None) -> None:
        self._name, self._metrics = name, metrics or NoMetrics()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self.places = threads + max_waiting
        """Functions that may wait or run."""
        self._tasks: set[_Task] = set()
        self._recent = RecentMean()

    def submit(
        self, function: Callable[[*Arguments], T], *args: *Arguments, budget_s: float | None = None
    ) -> asyncio.Future[T]:
        """Take a place in the queue and return the future result of the function.

        Cancelling the future frees the place if the function still waits.

        Args:
            function: function to call in a thread.
            args: its arguments.
            budget_s: time that the function may take; None if it is not known.

        Raises:
            Busy: all places in the queue are taken. The error has a retry time, from budgets or recent times.
        """
        if len(self._tasks) >= self.places:
            raise self.full()
        task = _Task(budget_s)
        self._tasks.add(task)
        self._record_length()

        def run() -> T:
            task.started_s = time.perf_counter()
            try:
                return function(*args)
            finally:
                task.ended_s = time.perf_counter()

        loop = asyncio.get_running_loop()
        future = self._pool.submit(run)
        # The place is free when the thread is, which may be after the client has left.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release, task))
        return asyncio.wrap_future(future)

    def full(self) -> Busy:
        """Return the error of a full queue. Its retry time is the expected time until the queued functions end."""
        left_s = sum(task.left_s(self._recent.seconds) for task in self._tasks)
        wait_s = retry_after_s(left_s / self._threads)
        return Busy(f"{self.places} {self._name} are waiting or running already.", wait_s)

    async def close(self) -> None:
        """Wait for the running functions, because they need the event loop to free their places."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _release(self, task: _Task) -> None:
        self._tasks.remove(task)
        self._record_length()
        if task.ended_s:
            self._recent.add(task.ended_s - task.started_s)

    def _record_length(self) -> None:
        self._metrics.set("queue_length", max(0, len(self._tasks) - self._threads), queue=self._name)
