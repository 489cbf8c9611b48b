"""Metrics of the application: kinds of errors, queues, and times of each model."""

from __future__ import annotations

import asyncio
import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.protocols.grpc_inference import Inference
from synthray.serve.service import Service

BASE = "/v1/models/synthray"
PREDICT, MATCH = f"{BASE}:predict", f"{BASE}:match"


def service_of(*served, tokens=(), **config):
    return Service(FixedModels(served), AppConfig(**config), PrometheusMetrics(), tokens)


def lines_of(service, name):
    """Return the values of a metric by its labels, such as ``{'kind="busy"': 1.0}``."""
    text = service.metrics.encode().decode()
    found = re.findall(rf"^synthray_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def errors_of(service):
    return {labels.split('"')[1]: count for labels, count in lines_of(service, "errors_total").items()}


@pytest.mark.parametrize(
    ("method", "path", "options", "kind"),
    [
        ("POST", PREDICT, {"content": b"{"}, "invalid"),
        ("GET", f"{BASE}/versions/7", {}, "not_found"),
        ("GET", "/nothing", {}, "not_found"),
        ("GET", PREDICT, {}, "method_not_allowed"),
        ("POST", MATCH, {"content": b"x", "headers": {"accept": "image/png"}}, "not_acceptable"),
        ("POST", PREDICT, {"content": b"x" * 101}, "too_large"),
        ("POST", PREDICT, {"content": b"x", "headers": {"content-type": "audio/wav"}}, "unsupported_type"),
        ("POST", MATCH, {"content": b"x"}, "sound"),
    ],
)
def test_failed_request_is_counted_by_its_kind(predictor, method, path, options, kind):
    service = service_of(Served(predictor), max_body_bytes=100)
    with TestClient(build_app(service)) as client:
        assert client.request(method, path, **options).status_code >= 400
    assert errors_of(service) == {kind: 1.0}


def test_request_without_token_is_counted(predictor):
    service = service_of(Served(predictor), tokens=("secret",))
    with TestClient(build_app(service)) as client:
        assert client.get(BASE).status_code == 401
    assert errors_of(service) == {"unauthorized": 1.0}


def test_request_without_a_model_or_with_a_foreign_one_is_counted(foreign_predictor):
    for served, kind in (((), "not_ready"), ((Served(foreign_predictor),), "model")):
        service = service_of(*served)
        with TestClient(build_app(service)) as client:
            client.post(MATCH, content=b"x")
        assert errors_of(service) == {kind: 1.0}


def test_unexpected_error_is_counted_as_internal(predictor, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("synthray.serve.protocols.tensorflow_serving.model_for", fail)
    service = service_of(Served(predictor))
    with TestClient(build_app(service), raise_server_exceptions=False) as client:
        assert client.post(PREDICT).status_code == 500
    assert errors_of(service) == {"internal": 1.0}


def test_failed_rpc_is_counted_by_its_kind(predictor):
    service, codes = service_of(Served(predictor)), []
    context = SimpleNamespace(invocation_metadata=lambda: (), set_code=codes.append, set_details=str)
    asyncio.run(Inference(service).answer("ModelReady", b"\n\x05other", context))
    assert codes[0].name == "NOT_FOUND"
    assert errors_of(service) == {"not_found": 1.0}


def test_failed_files_of_a_form_are_counted(predictor, wav):
    service = service_of(Served(predictor))
    with TestClient(build_app(service)) as client:
        files = [("a", ("a.wav", wav)), ("b", ("b.txt", b"no sound")), ("c", ("c.txt", b"none"))]
        assert client.post(MATCH, files=files).status_code == 200
    assert errors_of(service) == {"sound": 2.0}


@pytest.mark.parametrize(("name", "queue"), [("sound_work", "sounds"), ("search_work", "searches")])
def test_queue_length_counts_what_waits(name, queue):
    service, release = service_of(sound_threads=1, search_threads=1), threading.Event()
    work = getattr(service, name)

    async def fill():
        waiting = [work.submit(release.wait) for _ in range(3)]
        full = lines_of(service, "queue_length")
        release.set()
        await asyncio.gather(*waiting)
        await service.close()
        return full

    assert asyncio.run(fill()) == {f'queue="{queue}"': 2.0}
    assert lines_of(service, "queue_length") == {f'queue="{queue}"': 0.0}


def test_stage_seconds_are_those_of_the_model(predictor, wav):
    service = service_of(Served(predictor, 3), Served(predictor, 4, "canary"), max_refine_s=1)
    with TestClient(build_app(service)) as client:
        preset = client.post(f"{BASE}/labels/canary:match?refine=0.1&include=sounds", content=wav).json()
        client.post(f"{BASE}:render", json=preset)
    counts = lines_of(service, "stage_seconds_count")
    canary = [f'label="canary",stage="{stage}",version="4"' for stage in ("decode", "network", "render", "refine")]
    assert counts == dict.fromkeys(canary, 1.0) | {'label="",stage="render",version=""': 1.0}


def test_stage_seconds_of_a_batch_are_those_of_each_model(predictor, foreign_predictor):
    served = Served(predictor, 3), Served(foreign_predictor, 4, "canary")
    service = service_of(*served)

    async def predict():
        shapes = [(1, each.predictor.frames, each.predictor.bins) for each in served]
        features = [np.zeros(shape, np.float32) for shape in shapes]
        batches = zip(served * 2, features * 2, strict=True)
        await asyncio.gather(*[service.batcher.predict(each, rows) for each, rows in batches])

    asyncio.run(predict())
    counts = lines_of(service, "stage_seconds_count")
    assert counts == {f'label="{each.label}",stage="network",version="{each.version}"': 1.0 for each in served}
