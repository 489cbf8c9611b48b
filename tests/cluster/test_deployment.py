"""A replica's health check, without Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthray.cluster.serving import deployment
from synthray.cluster.serving.deployment import ModelServer
from synthray.errors import ModelError
from synthray.serve.config import AppConfig
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service

pytestmark = pytest.mark.faults

TIMEOUT_S = 20.0


def check_health(predictor: object) -> Coroutine[Any, Any, None]:
    """Return the health check of a replica that serves a predictor; without Serve it is a plain class."""
    replica = SimpleNamespace(stable=predictor and SimpleNamespace(predictor=predictor))
    return ModelServer.func_or_class.check_health(replica)


def test_health_check_answers_while_all_threads_for_requests_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr(deployment, "require_usable", checked.append)
    release = threading.Event()

    class Predictor:
        def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
            release.wait(TIMEOUT_S)
            return {"out": np.zeros(len(features))}

    async def body() -> None:
        service, predictor = Service(FixedModels(), AppConfig(max_sounds=200)), Predictor()
        waiting = [service.sound_work.submit(release.wait, TIMEOUT_S) for _ in range(200)]
        served, features = Served(predictor), np.zeros((300, 1, 1))
        waiting += [asyncio.ensure_future(service.batcher.predict(served, features)) for _ in range(9)]
        await asyncio.sleep(0.05)
        try:
            await asyncio.wait_for(check_health(predictor), TIMEOUT_S / 2)
        finally:
            release.set()
        assert checked == [predictor]
        await asyncio.gather(*waiting)

    asyncio.run(body())


def test_health_check_of_a_replica_without_a_usable_model_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="no model is loaded"):
        asyncio.run(check_health(None))

    def refuse(_: object) -> None:
        raise ModelError("model_3: output 'out_a' is not finite")

    monkeypatch.setattr(deployment, "require_usable", refuse)
    with pytest.raises(ModelError, match="not finite"):
        asyncio.run(check_health(object()))
