"""The parts that every request handler needs, and access to them from a request."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.types import Scope

from synthray.errors import Busy
from synthray.serve.batching import Batcher
from synthray.serve.config import AppConfig
from synthray.serve.metrics import Metrics, NoMetrics
from synthray.serve.models import Models, Served, choose

P = ParamSpec("P")
T = TypeVar("T")

_TAKEN = "synthray.body_bytes"


@dataclass(frozen=True)
class Service:
    """The application's models, limits and metrics; of one event loop."""

    models: Models
    config: AppConfig = field(default_factory=AppConfig)
    metrics: Metrics = field(default_factory=NoMetrics)
    tokens: tuple[str, ...] = ()
    """Accepted bearer tokens; none if the service is open."""
    scraped: Callable[[], bytes] | None = None
    """Returns the metrics for ``/metrics``; None if the application does not offer them."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the service is to end. Running searches then answer with the best preset so far."""

    @cached_property
    def batcher(self) -> Batcher:
        """Return the queue of predictions."""
        return Batcher(self.config.max_waiting, self.metrics)

    @cached_property
    def sound_work(self) -> SoundWork:
        """Return the queue of work on sounds."""
        threads = self.config.sound_threads or max(1, (os.cpu_count() or 1) - 1)
        return SoundWork(threads, self.config.max_sounds)

    @cached_property
    def body_memory(self) -> BodyMemory:
        """Return the memory for the bodies of running requests."""
        return BodyMemory(self.config.max_bodies_bytes)


class BodyMemory:
    """Counts the bytes of the bodies of running requests.

    Args:
        limit: bytes of all bodies together.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0

    def take(self, request: Request, count: int) -> None:
        """Reserve ``count`` bytes until the request ends; raise Busy if there are not as many."""
        if self._taken + count > self._limit:
            raise Busy(f"the bodies of running requests hold {self._taken} bytes already. Retry in a second.")
        self._taken += count
        request.scope[_TAKEN] = request.scope.get(_TAKEN, 0) + count

    def release(self, scope: Scope) -> None:
        """Free what a request has reserved."""
        self._taken -= scope.pop(_TAKEN, 0)


class SoundWork:
    """Threads for matching, rendering and analysing sounds, with a bounded queue.

    Args:
        threads: how many run at the same time.
        max_waiting: how many may wait for a thread.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sound")
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
            raise Busy(f"{self._taken} sounds are waiting or being matched already. Retry in a second.")
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


def service_of(request: Request) -> Service:
    """Return the service of the application that received ``request``."""
    service: Service = request.app.state.service
    return service


def model_for(request: Request) -> Served:
    """Return the model that a request's path names, or the one that the service chooses.

    It is noted in the request's state, for metrics.

    Raises:
        RequestError: 404, the version or label is not served; 503, no model is ready.
    """
    path, predicts = request.path_params, request.method == "POST"
    models = service_of(request).models
    served = choose(models, version=path.get("version"), label=path.get("label"), predicts=predicts)
    request.state.served = served
    return served
