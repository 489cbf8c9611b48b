"""The application on a real Ray Serve over real HTTP. Only its fixtures import Ray."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from infra.ray_head import RayHead
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model
from tests.waiting import HOST, free_port, wait_for

pytestmark = pytest.mark.ray

BASE = "/v1/models/synthray"
OPTIONS = {"max_body_bytes": 100_000, "num_cpus": 0.5, "follow_s": 0.2}
Answer = tuple[int, str | None, dict]


def random_features(sounds: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((sounds, *FOREIGN_SHAPE), np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Two models of one instrument, and a URI without a model."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("swap")
    first, second = (
        save_model(
            build_model(FOREIGN, FOREIGN_SHAPE, seed=seed), str(folder), build_card(FOREIGN, FOREIGN_SHAPE, name)
        )
        for seed, name in ((0, "model_3_1"), (5, "model_4_1"))
    )
    return first, second, f"{folder}/missing.keras"


@pytest.fixture(scope="module")
def grpc_port() -> int:
    """Port of the served model over gRPC."""
    return free_port()


@pytest.fixture(scope="module")
def served(ray_cluster: object, models: tuple[str, str, str], grpc_port: int) -> Iterator[str]:
    """URL of the first model on the suite's Ray."""
    from ray import serve

    from synthray.cluster.serving.deployment import build
    from synthray.cluster.serving.grpc_ingress import grpc_options
    from synthray.serve.config import Address

    port = free_port()
    serve.start(
        http_options={"host": HOST, "port": port},
        grpc_options=grpc_options(Address("0.0.0.0", port, grpc_port=grpc_port)),
        logging_config={"log_level": "ERROR"},
    )
    serve.run(build({"model": models[0], **OPTIONS}), name="synthray")
    yield f"http://{HOST}:{port}"
    serve.shutdown()


def request(url: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
    """Return ``(status, name of the model, JSON)``."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": kind}), timeout=30) as answer:
            return answer.status, answer.headers["x-synthray-model"], json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None, json.load(error)


def predict(url: str, features: np.ndarray) -> Answer:
    return request(f"{url}{BASE}:predict", features.tobytes(), "application/octet-stream")


def versions(url: str) -> list[dict]:
    return request(f"{url}{BASE}")[2]["model_version_status"]


@contextmanager
def predicting(url: str, features: np.ndarray) -> Iterator[list[Answer]]:
    """Send requests from four clients during the block, and a last one each after it.

    The list of answers is filled at the end.
    """
    done, answers = threading.Event(), []

    def send_until_done() -> list[Answer]:
        own, last = [], False
        while not last:
            last = done.is_set()
            own.append(predict(url, features))
        return own

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(send_until_done) for _ in range(4)]
        try:
            yield answers
        finally:
            done.set()
        answers += [answer for client in clients for answer in client.result()]


def assert_only_whole_answers_of(names: set[str], answers: list[Answer]) -> None:
    """Check that no request failed, all models answered, and no answer mixes two.

    The last bits of an answer depend on the requests that were computed together with it.
    """
    assert {status for status, _, _ in answers} == {200}
    assert {name for _, name, _ in answers} == names
    outputs = {name: np.array([numbers(body) for _, other, body in answers if other == name]) for name in names}
    for values in outputs.values():
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), atol=1e-5)
    first, *others = [values[0] for values in outputs.values()]
    assert all(np.abs(first - other).min() > 1e-4 for other in others)


def numbers(body: dict) -> np.ndarray:
    """Return all outputs of an answer in one array."""
    return np.concatenate([np.ravel(value) for row in body["predictions"] for value in row.values()])


def test_serving_concurrent_requests_get_own_answers(served: str, models: tuple[str, str, str]) -> None:
    from synthray.model.predictor import Predictor

    predictor = Predictor.load(models[0])
    requests = [random_features(1 + seed % 5, seed) for seed in range(60)] + [random_features(100)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda features: predict(served, features), requests))
    for features, (status, name, body) in zip(requests, answers, strict=True):
        assert (status, name) == (200, "model_3_1")
        for output, values in predictor.predict(features).items():
            np.testing.assert_allclose([row[output] for row in body["predictions"]], values, atol=1e-6)


def test_serving_errors_are_json(served: str) -> None:
    assert request(f"{served}/healthz") == (200, None, {"status": "ok", "model": "model_3_1"})
    status, _, body = request(f"{served}{BASE}:predict", b'{"instances": [[[1]]]}')
    assert (status, body) == (400, {"error": "instance 0: has shape (1, 1), expected (5, 7)"})
    status, _, body = request(f"{served}{BASE}:predict", b"x" * 100_001)
    assert (status, body) == (413, {"error": "the body has 100001 bytes, the limit is 100000"})
    assert request(f"{served}{BASE}:match", b"RIFF")[0] == 409
    assert request(f"{served}/nothing")[0] == 404


def test_serving_triton_clients_predict_over_http_and_grpc(
    served: str, models: tuple[str, str, str], grpc_port: int
) -> None:
    import tritonclient.grpc
    import tritonclient.http

    from synthray.model.predictor import Predictor

    features = random_features(3)
    expected = Predictor.load(models[0]).predict(features)
    for module, address in [(tritonclient.http, served.partition("//")[2]), (tritonclient.grpc, f"{HOST}:{grpc_port}")]:
        tensor = module.InferInput("in_fft", [3, *FOREIGN_SHAPE], "FP32")
        tensor.set_data_from_numpy(features)
        wrong = module.InferInput("in_fft", [1, 1, 1], "FP32")
        wrong.set_data_from_numpy(np.zeros((1, 1, 1), np.float32))
        with module.InferenceServerClient(address) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("synthray")
            assert client.get_server_metadata()
            assert client.get_model_metadata("synthray")
            answer = client.infer("synthray", [tensor], request_id="seven")
            with pytest.raises(InferenceServerException, match=r"shape is \[1, 1, 1\], expected") as caught:
                client.infer("synthray", [wrong])
        for name, values in expected.items():
            np.testing.assert_allclose(answer.as_numpy(name), values, atol=1e-6)
        assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_serving_reconfigured_under_load_swaps_and_keeps_model_after_error(
    served: str, models: tuple[str, str, str]
) -> None:
    from ray import serve

    replica, features = serve.get_app_handle("synthray"), random_features(2)
    first, second, missing = models

    def reconfigure(model: str) -> None:
        replica.reconfigure.remote({"model": model}).result(timeout_s=60)

    with predicting(served, features) as answers:
        time.sleep(0.5)
        reconfigure(second)
    assert_only_whole_answers_of({"model_3_1", "model_4_1"}, answers)

    reconfigure(missing)
    available, failed = versions(served)
    assert (available["name"], available["state"]) == ("model_4_1", "AVAILABLE")
    assert "missing.keras" in failed["status"]["error_message"]
    assert predict(served, features)[:2] == (200, "model_4_1")
    reconfigure(first)
    assert len(versions(served)) == 1


def test_serving_follows_promotion_rollback_and_repair_under_load(served: str, models: tuple[str, str, str]) -> None:
    from ray import serve

    from synthray.model.registry import promote, rollback

    folder, features = models[0].rpartition("/")[0], random_features(2)
    promotions_file, contents = Path(folder, "promoted.json"), []
    promote(models[0], folder)
    serve.get_app_handle("synthray").reconfigure.remote({"model": folder}).result(timeout_s=60)

    def wait_until_served(name: str) -> None:
        wait_for(lambda: request(f"{served}/healthz")[2]["model"] == name, pause_s=0.1)

    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: promote(models[1], folder), "model_4_1"),
        (lambda: rollback(folder), "model_3_1"),
    ]
    with predicting(served, features) as answers:
        for act, name in steps:
            time.sleep(0.3)
            act()
            contents.append(promotions_file.read_bytes())
            wait_until_served(name)
            assert predict(served, features)[:2] == (200, name)
    assert_only_whole_answers_of({"model_3_1", "model_4_1"}, answers)

    original = Path(models[1]).read_bytes()
    Path(models[1]).write_bytes(b"corrupt")
    replacement = promotions_file.with_suffix(".new")
    replacement.write_bytes(contents[0])
    replacement.replace(promotions_file)  # atomic: replicas poll it meanwhile
    wait_for(lambda: len(versions(served)) > 1, pause_s=0.1)
    present, failed = versions(served)
    assert present["name"] == "model_3_1"
    assert "SHA-256" in failed["status"]["error_message"]
    assert predict(served, features)[:2] == (200, "model_3_1")
    Path(models[1]).write_bytes(original)
    wait_until_served("model_4_1")
    assert len(versions(served)) == 1


def test_serving_metrics_are_exported_by_the_node(served: str) -> None:
    import ray

    from synthray.serve.metrics import METRICS

    [node] = [node for node in ray.nodes() if node["Alive"]]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    predict(served, random_features(3))
    request(f"{served}{BASE}:predict", b"{")
    exported: set[str] = set()

    def are_complete() -> bool:
        with urllib.request.urlopen(address, timeout=5) as answer:
            exported.update(re.findall(r"^ray_synthray_(\w+?)(?:_bucket)?\{", answer.read().decode(), re.MULTILINE))
        return set(METRICS) <= exported

    wait_for(are_complete, pause_s=0.5)


class Client:
    """A client that keeps its connection, and counts what it had to send again."""

    def __init__(self, url: str, body: bytes) -> None:
        self._address, self._body = urlsplit(url).netloc, body
        self.answers: list[Answer] = []
        self.failures: list[object] = []

    def run(self, done: threading.Event) -> None:
        """Send requests until ``done``. One that fails is sent again, as a prediction changes nothing."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while not done.is_set():
            try:
                connection.request("POST", f"{BASE}:predict", self._body, {"content-type": "application/octet-stream"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
                time.sleep(0.02)
                continue
            if answer.status == 200:
                self.answers.append((200, answer.headers["x-synthray-model"], json.loads(body)))
            else:
                self.failures.append((answer.status, body[:200]))


@pytest.mark.faults
def test_serving_a_killed_replica_and_a_promotion_fail_no_request(
    served: str, models: tuple[str, str, str], ray_cluster: RayHead
) -> None:
    from ray import serve
    from ray.util.state import list_actors

    from synthray.cluster.serving.deployment import build
    from synthray.model.registry import promote

    folder = models[0].rpartition("/")[0]
    promote(models[0], folder)
    serve.run(build({"model": folder, "replicas": 2, **OPTIONS}), name="synthray")

    def replicas() -> dict[int, str]:
        actors = list_actors(ray_cluster.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True)
        return {actor.pid: actor.name for actor in actors if actor.class_name.startswith("ServeReplica:synthray")}

    done, clients = threading.Event(), [Client(served, random_features(2).tobytes()) for _ in range(64)]
    with ThreadPoolExecutor(len(clients)) as threads:
        running = [threads.submit(client.run, done) for client in clients]
        try:
            wait_for(lambda: all(len(client.answers) > 1 for client in clients))
            os.kill(min(replicas()), signal.SIGKILL)
            time.sleep(2)
            promote(models[1], folder)
            wait_for(lambda: {client.answers[-1][1] for client in clients} == {"model_4_1"})
        finally:
            done.set()
        for client in running:
            client.result()
    assert [failure for client in clients for failure in client.failures] == []
    assert_only_whole_answers_of(
        {"model_3_1", "model_4_1"}, [answer for client in clients for answer in client.answers]
    )


@pytest.mark.faults
def test_serving_a_killed_controller_fails_no_request_and_a_killed_proxy_comes_back(
    served: str, models: tuple[str, str, str], ray_cluster: RayHead
) -> None:
    from ray import serve
    from ray.util.state import list_actors

    from synthray.cluster.serving.deployment import build

    serve.run(build({"model": models[0], **OPTIONS}), name="synthray")

    def pids(kind: str) -> set[int]:
        actors = list_actors(ray_cluster.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True)
        return {actor.pid for actor in actors if kind in actor.class_name}

    def kill_one(kind: str) -> None:
        [before] = pids(kind)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: pids(kind) - {before}, timeout_s=120, pause_s=0.5)
        counts = [len(client.answers) for client in clients]
        wait_for(lambda: all(len(client.answers) > count for client, count in zip(clients, counts, strict=True)), 120)

    done, clients = threading.Event(), [Client(served, random_features(2).tobytes()) for _ in range(8)]
    with ThreadPoolExecutor(len(clients)) as threads:
        running = [threads.submit(client.run, done) for client in clients]
        try:
            wait_for(lambda: all(len(client.answers) > 1 for client in clients))
            kill_one("ServeController")
            assert [failure for client in clients for failure in client.failures] == []
            kill_one("ProxyActor")
        finally:
            done.set()
        for client in running:
            client.result()
    # Connections break and new ones are refused for some seconds, but no answer is wrong or an error of the server.
    failures = [failure for client in clients for failure in client.failures]
    assert failures
    assert {failure for failure in failures if isinstance(failure, tuple)} == set()
    assert_only_whole_answers_of({"model_3_1"}, [answer for client in clients for answer in client.answers])
