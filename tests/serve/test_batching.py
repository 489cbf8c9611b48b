"""Batches of predictions: order, isolation of errors, and the bounded queue."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from synthray.errors import Busy
from synthray.serve.metrics import NoMetrics
from synthray.serve.models.served import Served
from synthray.serve.queues.batching import MAX_BATCH_SOUNDS, Batcher


class Doubling:
    """A predictor that doubles one number a sound, and waits until it may."""

    def __init__(self, fails_at: float = np.nan) -> None:
        self.sizes: list[int] = []
        self.may_go = threading.Event()
        self._fails_at = fails_at

    def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(features))
        self.may_go.wait(20)
        if (features == self._fails_at).any():
            raise ZeroDivisionError("inside")
        return {"out_a": 2 * features[:, :, 0]}


def served_by(model: Doubling) -> Served:
    return Served(model)


def features_of(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1, 1)


async def predict_all(batcher: Batcher, requests: list, go: Doubling) -> list:
    """Send all requests; let the first one finish when the others wait."""
    running = [asyncio.ensure_future(batcher.predict(served_by(model), features)) for model, features in requests]
    while not go.sizes:
        await asyncio.sleep(0.001)
    go.may_go.set()
    return await asyncio.gather(*running, return_exceptions=True)


def test_predict_answers_each_request_with_its_rows() -> None:
    model, batcher = Doubling(), Batcher(100)
    requests = [(model, features_of(*range(n, n + n % 3 + 1))) for n in range(20)]
    answers = asyncio.run(predict_all(batcher, requests, model))
    for (_, features), answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["out_a"], 2 * features[:, :, 0])
    assert len(model.sizes) <= 2
    assert sum(model.sizes) == sum(len(features) for _, features in requests)


def test_predict_batch_is_bounded() -> None:
    model, batcher = Doubling(), Batcher(1000)
    requests = [(model, features_of(*range(100))) for _ in range(7)]
    asyncio.run(predict_all(batcher, requests, model))
    assert max(model.sizes) <= MAX_BATCH_SOUNDS
    assert sum(model.sizes) == 700


def test_predict_error_of_one_model_leaves_requests_of_another() -> None:
    good, broken, batcher = Doubling(), Doubling(fails_at=7), Batcher(100)
    broken.may_go.set()
    requests = [(good, features_of(1)), (good, features_of(2)), (broken, features_of(7)), (good, features_of(3))]
    answers = asyncio.run(predict_all(batcher, requests, good))
    assert [type(answer) for answer in answers] == [dict, dict, ZeroDivisionError, dict]


def test_predict_beyond_the_queue_is_busy() -> None:
    model, batcher = Doubling(), Batcher(3)
    answers = asyncio.run(predict_all(batcher, [(model, features_of(n)) for n in range(10)], model))
    busy = [answer for answer in answers if isinstance(answer, Busy)]
    assert 6 <= len(busy) <= 7
    assert busy[0].status == 429
    assert "3 predictions wait already" in str(busy[0])


def test_predict_beyond_the_queue_says_when_recent_durations_end() -> None:
    model, batcher = Doubling(), Batcher(3)

    async def fill() -> list:
        asyncio.get_running_loop().call_later(0.6, model.may_go.set)
        await batcher.predict(served_by(model), features_of(0))
        model.may_go.clear()
        model.sizes.clear()
        return await predict_all(batcher, [(model, features_of(n)) for n in range(10)], model)

    busy = [answer for answer in asyncio.run(fill()) if isinstance(answer, Busy)]
    assert busy[0].retry_after_s in (2, 3)
    assert f"Retry in {busy[0].retry_after_s} s." in str(busy[0])


def test_predict_after_a_failure_outside_the_network_works_again() -> None:
    class Failing(NoMetrics):
        def observe(self, name: str, value: float, **labels: str) -> None:
            raise ZeroDivisionError("metrics")

    model, batcher = Doubling(), Batcher(100, Failing())
    model.may_go.set()

    async def twice() -> list:
        return [
            await asyncio.gather(batcher.predict(served_by(model), features_of(1)), return_exceptions=True)
            for _ in range(2)
        ]

    assert [type(answer) for [answer] in asyncio.run(asyncio.wait_for(twice(), 20))] == [ZeroDivisionError] * 2


def test_predict_of_a_client_that_left_is_not_computed() -> None:
    model, batcher = Doubling(), Batcher(100)

    async def leave() -> None:
        first = asyncio.ensure_future(batcher.predict(served_by(model), features_of(1)))
        while not model.sizes:
            await asyncio.sleep(0.001)
        gone = asyncio.ensure_future(batcher.predict(served_by(model), features_of(2, 3)))
        await asyncio.sleep(0.01)
        gone.cancel()
        last = asyncio.ensure_future(batcher.predict(served_by(model), features_of(4)))
        await asyncio.sleep(0.01)
        model.may_go.set()
        await asyncio.gather(first, last)
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(leave())
    assert model.sizes == [1, 1]
