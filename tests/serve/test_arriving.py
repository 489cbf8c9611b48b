"""Large raw bodies, whose first sounds are predicted while the last ones arrive."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from synthray.model.predictor import Predictor
from synthray.serve.batching import MAX_BATCH_SOUNDS
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models import FixedModels, Served
from synthray.serve.service import Service
from tests.models import FOREIGN_SHAPE
from tests.serve.serving import running
from tests.waiting import wait_for

PATH = "/v1/models/synthray:predict"
RAW = {"content-type": "application/octet-stream"}
SOUNDS = 3 * MAX_BATCH_SOUNDS + 7


def body_of(sounds: int) -> np.ndarray:
    return np.random.default_rng(0).random((sounds, *FOREIGN_SHAPE), np.float32)


@pytest.fixture
def service(foreign_predictor: Predictor) -> Service:
    metrics = PrometheusMetrics()
    config = AppConfig(body_timeout_s=5)
    return Service(FixedModels((Served(foreign_predictor, 1),)), config, metrics, scraped=metrics.encode)


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with running(service) as url:
        yield url


def sending(url: str, length: int) -> http.client.HTTPConnection:
    """Return a connection on which the head of a request has been sent."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.putrequest("POST", PATH)
    connection.putheader("content-type", RAW["content-type"])
    connection.putheader("content-length", str(length))
    connection.endheaders()
    return connection


@pytest.mark.parametrize("sounds", [MAX_BATCH_SOUNDS, MAX_BATCH_SOUNDS + 1, 2 * MAX_BATCH_SOUNDS, SOUNDS])
def test_answers_are_those_of_single_sounds_in_their_order(url: str, sounds: int) -> None:
    features = body_of(sounds)
    answer = httpx.post(f"{url}{PATH}", content=features.tobytes(), headers=RAW)
    assert answer.status_code == 200
    single = [httpx.post(f"{url}{PATH}", content=features[i].tobytes(), headers=RAW) for i in (0, 63, sounds - 1)]
    predictions = answer.json()["predictions"]
    assert len(predictions) == sounds
    for i, one in zip((0, 63, sounds - 1), single, strict=True):
        for name, values in one.json()["predictions"][0].items():
            np.testing.assert_allclose(predictions[i][name], values, rtol=1e-5, atol=1e-6)


def test_first_sounds_are_predicted_before_the_last_ones_arrive(url: str) -> None:
    raw = body_of(SOUNDS).tobytes()
    first = len(raw) * MAX_BATCH_SOUNDS // SOUNDS + 1
    connection = sending(url, len(raw))
    connection.send(raw[:first])
    wait_for(lambda: f"batch_sounds_sum {MAX_BATCH_SOUNDS}.0" in httpx.get(f"{url}/metrics").text, 4)
    connection.send(raw[first:])
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("sound", [0, MAX_BATCH_SOUNDS - 1, MAX_BATCH_SOUNDS, SOUNDS - 1])
def test_number_that_is_not_finite_is_named(url: str, sound: int) -> None:
    features = body_of(SOUNDS)
    features[sound, 2, 3] = np.nan
    answer = httpx.post(f"{url}{PATH}", content=features.tobytes(), headers=RAW)
    assert answer.status_code == 400
    assert f"instance {sound}, row 2, column 3: nan is not a finite" in answer.json()["error"]


def test_length_that_is_no_multiple_of_a_sound_is_named(url: str) -> None:
    raw = body_of(SOUNDS).tobytes() + b"\0"
    answer = httpx.post(f"{url}{PATH}", content=raw, headers=RAW)
    assert answer.status_code == 400
    assert f"the body has {len(raw)} bytes, expected a multiple of 140" in answer.json()["error"]


def test_client_that_stops_or_leaves_holds_nothing(service: Service, url: str) -> None:
    raw = body_of(SOUNDS).tobytes()
    object.__setattr__(service.config, "body_timeout_s", 0.5)
    slow, leaving = sending(url, len(raw)), sending(url, len(raw))
    for connection in (slow, leaving):
        connection.send(raw[: len(raw) // 2])
    leaving.close()
    assert slow.getresponse().status == 408
    wait_for(lambda: service.body_memory._taken == 0, 5)
    assert httpx.post(f"{url}{PATH}", content=raw, headers=RAW).status_code == 200


def test_requests_at_the_same_time_keep_their_answers_apart(url: str) -> None:
    answers: dict[int, list] = {}

    def send(seed: int) -> None:
        features = np.full((SOUNDS, *FOREIGN_SHAPE), seed / 8, np.float32)
        answers[seed] = httpx.post(f"{url}{PATH}", content=features.tobytes(), headers=RAW).json()["predictions"]

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for seed, predictions in answers.items():
        one = np.full(FOREIGN_SHAPE, seed / 8, np.float32).tobytes()
        expected = httpx.post(f"{url}{PATH}", content=one, headers=RAW).json()["predictions"][0]
        for prediction in predictions:
            for name, values in expected.items():
                np.testing.assert_allclose(prediction[name], values, rtol=1e-5, atol=1e-6)
    assert len(answers) == 4


def test_full_queue_is_429(foreign_predictor: Predictor) -> None:
    release = threading.Event()

    class Slow:
        """The predictor, which waits before each batch."""

        frames, bins, card = foreign_predictor.frames, foreign_predictor.bins, foreign_predictor.card

        def predict(self, features: np.ndarray) -> dict[str, np.ndarray]:
            release.wait(20)
            return foreign_predictor.predict(features)

    config = AppConfig(max_waiting=1, body_timeout_s=10)
    service = Service(FixedModels((Served(Slow(), 1),)), config)  # type: ignore[arg-type]
    with running(service) as url:
        one, raw = body_of(1).tobytes(), body_of(SOUNDS).tobytes()
        waiting = []
        try:
            for _ in range(2):  # one is being computed, one waits
                connection = sending(url, len(one))
                connection.send(one)
                waiting.append(connection)
            wait_for(lambda: len(service.batcher._waiting) == 1, 5)
            answer = httpx.post(f"{url}{PATH}", content=raw, headers=RAW)
            assert answer.status_code == 429
            assert answer.headers["retry-after"]
        finally:
            release.set()
        assert [connection.getresponse().status for connection in waiting] == [200, 200]
