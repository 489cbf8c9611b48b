"""Batches of predictions: requests that arrive while the network is busy are computed together.

The batcher never delays a request to fill a batch. The queue is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from synthray.errors import Busy
from synthray.serve.metrics import Metrics, NoMetrics, timed
from synthray.serve.models.served import Served
from synthray.serve.queues.waits import RecentMean, retry_after_s

Outputs = dict[str, np.ndarray]

MAX_BATCH_SOUNDS = 256
"""Sounds of one batch; a larger request is a batch of its own."""


@dataclass(frozen=True)
class _Waiting:
    served: Served
    features: np.ndarray
    outputs: asyncio.Future[Outputs]


class Batcher:
    """Computes predictions in a thread of its own, for one event loop.

    Args:
        max_waiting: requests that may wait; further ones are rejected.
        metrics: receives sizes of batches, the length of the queue and the time of the network.
    """

    def __init__(self, max_waiting: int, metrics: Metrics | None = None) -> None:
        self._max_waiting, self._metrics = max_waiting, metrics or NoMetrics()
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._running: asyncio.Task[None] | None = None
        self._recent = RecentMean()

    async def predict(self, served: Served, features: np.ndarray) -> Outputs:
        """Return ``served.predictor.predict(features)``, computed together with other requests.

        Args:
            served: one of the served models.
            features: float32 ``(sounds, frames, bins)``.

        Raises:
            Busy: too many requests wait.
        """
        if len(self._waiting) >= self._max_waiting:
            wait_s = retry_after_s(len(self._waiting) * self._recent.seconds)
            raise Busy(f"{len(self._waiting)} predictions wait already.", wait_s)
        waiting = _Waiting(served, features, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.outputs

    async def _run(self) -> None:
        """Compute batches until no request waits."""
        try:
            while batch := self._next_batch():
                try:
                    answers = await self._answers(batch)
                except Exception as error:
                    answers = [error] * len(batch)
                for waiting, answer in zip(batch, answers, strict=True):
                    if waiting.outputs.cancelled():
                        continue
                    if isinstance(answer, Exception):
                        waiting.outputs.set_exception(answer)
                    else:
                        waiting.outputs.set_result(answer)
        finally:
            self._running = None

    async def _answers(self, batch: list[_Waiting]) -> list[Outputs | Exception]:
        self._metrics.set("queue_length", len(self._waiting), queue="predictions")
        started_s = time.perf_counter()
        answers = await asyncio.get_running_loop().run_in_executor(self._thread, _predict, batch, self._metrics)
        self._recent.add((time.perf_counter() - started_s) / len(batch))
        self._metrics.observe("batch_sounds", sum(len(waiting.features) for waiting in batch))
        return answers

    def _next_batch(self) -> list[_Waiting]:
        """Return the requests of the next batch, without those whose clients have left."""
        batch: list[_Waiting] = []
        sounds = 0
        while self._waiting and (not batch or sounds + len(self._waiting[0].features) <= MAX_BATCH_SOUNDS):
            waiting = self._waiting.popleft()
            if not waiting.outputs.cancelled():
                batch.append(waiting)
                sounds += len(waiting.features)
        return batch


def _predict(batch: list[_Waiting], metrics: Metrics) -> list[Outputs | Exception]:
    """Return the outputs of each request, computed with one call per model."""
    answers: dict[int, Outputs | Exception] = {}
    for served in {id(waiting.served.predictor): waiting.served for waiting in batch}.values():
        predictor = served.predictor
        numbers = [number for number, waiting in enumerate(batch) if waiting.served.predictor is predictor]
        features = [batch[number].features for number in numbers]
        try:
            with timed(metrics, "network", served):
                outputs = predictor.predict(features[0] if len(features) == 1 else np.concatenate(features))
        except Exception as error:  # the requests for another model are still answered
            answers |= dict.fromkeys(numbers, error)
            continue
        ends = np.cumsum([len(rows) for rows in features]).tolist()
        for number, rows, end in zip(numbers, features, ends, strict=True):
            answers[number] = {name: values[end - len(rows) : end] for name, values in outputs.items()}
    return [answers[number] for number in range(len(batch))]
