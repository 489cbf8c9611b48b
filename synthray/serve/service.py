"""The parts that every request handler needs, and access to them from a request."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, TypeVarTuple

from starlette.requests import Request
from starlette.types import Scope

from synthray.errors import Busy
from synthray.serve.config import AppConfig
from synthray.serve.metrics import Metrics, NoMetrics
from synthray.serve.models.served import Models, Served, choose
from synthray.serve.queues.batching import Batcher
from synthray.serve.queues.sound_work import SoundWork
from synthray.serve.queues.waits import RecentMean, retry_after_s
from synthray.synth.voice import usable_cores

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

_TAKEN, _SINCE_S = "synthray.body_bytes", "synthray.body_since_s"


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
        """Return the queue of short work on sounds."""
        return SoundWork("sounds", self.config.sound_threads or _threads(), self.config.max_sounds, self.metrics)

    @cached_property
    def search_work(self) -> SoundWork:
        """Return the queue of searches, which take seconds and so have threads of their own."""
        return SoundWork("searches", self.config.search_threads or _threads(), self.config.max_searches, self.metrics)

    def submit_match(self, refine_s: float, function: Callable[[*Arguments], T], *args: *Arguments) -> Future[T]:
        """Return the future result of a function that matches a sound after ``refine_s`` seconds of search.

        Raises:
            Busy: the queue of searches is full; without a search, the queue of other work is full.
        """
        if not refine_s:
            return self.sound_work.submit(function, *args)
        return self.search_work.submit(function, *args, budget_s=refine_s)

    @cached_property
    def body_memory(self) -> BodyMemory:
        """Return the memory for the bodies of running requests."""
        return BodyMemory(self.config.max_bodies_bytes)

    async def close(self) -> None:
        """Wait for the running work on sounds."""
        await asyncio.gather(self.sound_work.close(), self.search_work.close())


class BodyMemory:
    """Counts the bytes of the bodies of running requests.

    Args:
        limit: bytes of all bodies together.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0
        self._recent = RecentMean()

    def take(self, request: Request, count: int) -> None:
        """Reserve ``count`` bytes until the request ends; a negative count frees bytes.

        Raises:
            Busy: fewer bytes are free.
        """
        if self._taken + count > self._limit:
            reason = f"the bodies of running requests hold {self._taken} bytes already."
            raise Busy(reason, retry_after_s(self._recent.seconds))
        self._taken += count
        request.scope[_TAKEN] = request.scope.get(_TAKEN, 0) + count
        request.scope.setdefault(_SINCE_S, time.perf_counter())

    def release(self, scope: Scope) -> None:
        """Free what a request has reserved."""
        self._taken -= scope.pop(_TAKEN, 0)
        if since_s := scope.pop(_SINCE_S, None):
            self._recent.add(time.perf_counter() - since_s)


def _threads() -> int:
    """Return the default number of threads of a queue: one CPU is left for the event loop."""
    return max(1, usable_cores() - 1)


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
