"""The application on a real Ray Serve, over real HTTP. Ray is imported by the fixture that starts it."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model

BASE = "/v1/models/synthray"


def features_of(sounds, seed=0):
    return np.random.default_rng(seed).random((sounds, *FOREIGN_SHAPE), np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of one instrument, and the URI of none."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("swap")
    first, second = (
        save_model(
            build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), str(folder), build_card(FOREIGN, FOREIGN_SHAPE, name)
        )
        for seed, name in ((0, "model_3_1"), (5, "model_4_1"))
    )
    return first, second, f"{folder}/nothing.keras"


@pytest.fixture(scope="module")
def served(ray_cluster, models):
    """URL of the first model on the suite's Ray."""
    from ray import serve

    from synthray.cluster.deployment import build

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": "ERROR"})
    serve.run(build({"model": models[0], "max_body_bytes": 100_000, "num_cpus": 0.5, "follow_s": 0.2}), name="synthray")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def ask(url, body=None, kind="application/json"):
    """``(status, name of the model, JSON)``."""
    request = urllib.request.Request(url, body, {"content-type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["x-synthray-model"], json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None, json.load(error)


@pytest.mark.ray
def test_over_http_concurrent_requests_get_their_own_answers(served, models):
    from synthray.model.predictor import Predictor

    predictor = Predictor.load(models[0])
    requests = [features_of(1 + seed % 5, seed) for seed in range(60)] + [features_of(100)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(
                lambda features: ask(f"{served}{BASE}:predict", features.tobytes(), "application/octet-stream"),
                requests,
            )
        )
    for features, (status, name, body) in zip(requests, answers, strict=True):
        assert (status, name) == (200, "model_3_1")
        expected = predictor.predict(features)
        for output, values in expected.items():
            np.testing.assert_allclose([row[output] for row in body["predictions"]], values, atol=1e-6)


@pytest.mark.ray
def test_over_http_refusals_are_json(served):
    assert ask(f"{served}/healthz") == (200, None, {"status": "ok", "model": "model_3_1"})
    status, _, body = ask(f"{served}{BASE}:predict", b'{"instances": [[[1]]]}')
    assert (status, body) == (400, {"error": "instance 0: has shape (1, 1), expected (5, 7)"})
    status, _, body = ask(f"{served}{BASE}:predict", b"x" * 100_001)
    assert (status, body) == (413, {"error": "the body has 100001 bytes, the limit is 100000"})
    assert ask(f"{served}{BASE}:match", b"RIFF")[0] == 409
    assert ask(f"{served}/nothing")[0] == 404


@pytest.mark.ray
def test_a_model_is_swapped_under_load_and_a_bad_one_is_not_taken(served, models):
    from ray import serve

    replica, body, done = serve.get_app_handle("synthray"), features_of(2).tobytes(), threading.Event()
    with ThreadPoolExecutor(4) as threads:

        def keep_asking():
            answers, last = [], False
            while not last:
                last = done.is_set()  # once more after the swap
                answers.append(ask(f"{served}{BASE}:predict", body, "application/octet-stream"))
            return answers

        asking = [threads.submit(keep_asking) for _ in range(4)]
        try:
            time.sleep(0.5)
            replica.reconfigure.remote({"model": models[1]}).result(timeout_s=60)
        finally:
            done.set()
        answers = [answer for future in asking for answer in future.result()]
    assert {status for status, _, _ in answers} == {200}
    # Each answer is the whole of one model's, and both have answered.
    assert len({(name, json.dumps(body)) for _, name, body in answers}) == 2
    assert {name for _, name, _ in answers} == {"model_3_1", "model_4_1"}

    replica.reconfigure.remote({"model": models[2]}).result(timeout_s=60)
    available, failed = ask(f"{served}{BASE}")[2]["model_version_status"]
    assert (available["name"], available["state"]) == ("model_4_1", "AVAILABLE")
    assert "nothing.keras" in failed["status"]["error_message"]
    assert ask(f"{served}{BASE}:predict", body, "application/octet-stream")[:2] == (200, "model_4_1")
    replica.reconfigure.remote({"model": models[0]}).result(timeout_s=60)
    assert len(ask(f"{served}{BASE}")[2]["model_version_status"]) == 1


@pytest.mark.ray
def test_what_is_promoted_is_followed_under_load_and_a_rollback_too(served, models):
    from ray import serve

    from synthray.model.registry import promote, rollback

    place, body, done = models[0].rpartition("/")[0], features_of(2).tobytes(), threading.Event()
    alias, aliases = Path(place, "promoted.json"), []
    promote(models[0], place)
    serve.get_app_handle("synthray").reconfigure.remote({"model": place}).result(timeout_s=60)

    def keep_asking():
        answers = []
        while not done.is_set():
            answers.append(ask(f"{served}{BASE}:predict", body, "application/octet-stream"))
        return answers

    def wait_for(name):
        deadline = time.monotonic() + 60
        while ask(f"{served}/healthz")[2]["model"] != name:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(keep_asking) for _ in range(4)]
        try:
            for act, name in ((lambda: promote(models[1], place), "model_4_1"), (lambda: rollback(place), "model_3_1")):
                time.sleep(0.3)
                act()
                aliases.append(alias.read_bytes())
                wait_for(name)
                assert ask(f"{served}{BASE}:predict", body, "application/octet-stream")[:2] == (200, name)
        finally:
            done.set()
        answers = [answer for future in asking for answer in future.result()]
    assert {status for status, _, _ in answers} == {200}
    assert {name for _, name, _ in answers} == {"model_3_1", "model_4_1"}
    # Each answer is the whole of one model's.
    assert len({(name, json.dumps(body)) for _, name, body in answers}) == 2

    whole = Path(models[1]).read_bytes()
    Path(models[1]).write_bytes(b"damaged")
    beside = alias.with_suffix(".new")
    beside.write_bytes(aliases[0])
    beside.replace(alias)  # whole at any moment: it is looked at meanwhile
    deadline = time.monotonic() + 60
    while len(versions := ask(f"{served}{BASE}")[2]["model_version_status"]) == 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert versions[0]["name"] == "model_3_1"
    assert "does not match its card" in versions[1]["status"]["error_message"]
    assert ask(f"{served}{BASE}:predict", body, "application/octet-stream")[:2] == (200, "model_3_1")
    Path(models[1]).write_bytes(whole)
    wait_for("model_4_1")
    assert len(ask(f"{served}{BASE}")[2]["model_version_status"]) == 1
