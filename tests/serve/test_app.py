"""The HTTP application over Starlette's test client: requests, answers and errors."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthray.errors import RequestError
from synthray.model.predictor import Predictor
from synthray.serve import page_files
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.protocols.encode import encode_predictions
from synthray.serve.service import Service
from synthray.synth.files.sound_file import write_wav
from synthray.synth.instrument import SAMPLE_RATE_HZ
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model

BASE = "/v1/models/synthray"
PREDICT, MATCH = f"{BASE}:predict", f"{BASE}:match"
RAW = {"content-type": "application/octet-stream"}
GZIP = {"content-encoding": "gzip"}


def app_of(*predictors, config=None, last_error=None):
    served = tuple(Served(predictor, version) for version, predictor in enumerate(predictors, start=1))
    return build_app(Service(FixedModels(served, last_error), config or AppConfig()))


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(app_of(predictor)) as client:
        yield client


@pytest.fixture(scope="module")
def foreign(foreign_predictor):
    """A client of the small model, whose requests are short."""
    with TestClient(app_of(foreign_predictor, config=AppConfig(max_body_bytes=10_000))) as client:
        yield client


def features_of(sounds, shape=FOREIGN_SHAPE, seed=0):
    return np.random.default_rng(seed).random((sounds, *shape), np.float32)


def test_health_and_status_name_the_model(foreign):
    assert foreign.get("/healthz").json() == {"status": "ok", "model": "model_3_1"}
    (version,) = foreign.get(BASE).json()["model_version_status"]
    assert version["state"] == "AVAILABLE"
    assert version["status"] == {"error_code": "OK", "error_message": ""}
    assert int(version["version"]) > 0
    assert foreign.get(f"{BASE}/versions/{version['version']}").json()["model_version_status"] == [version]


def test_metadata_states_shapes_of_inputs_and_outputs(foreign):
    body = foreign.get(f"{BASE}/metadata").json()
    assert body["model_spec"]["name"] == "synthray"
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    sizes = {
        name: [dim["size"] for dim in tensor["tensor_shape"]["dim"]]
        for side in ("inputs", "outputs")
        for name, tensor in signature[side].items()
    }
    assert sizes == {
        "in_fft": ["-1", "5", "7"],
        "out_osc_shape": ["-1", "3"],
        "out_cutoff": ["-1", "1"],
        "out_on": ["-1", "2"],
        "out_decay": ["-1", "1"],
        "out_lfo_shape": ["-1", "3"],
    }
    assert {tensor["dtype"] for side in ("inputs", "outputs") for tensor in signature[side].values()} == {"DT_FLOAT"}
    assert body["metadata"]["synthray"]["parameters"] == json.loads(json.dumps(FOREIGN.to_json()))
    assert body["metadata"]["synthray"]["max_refine_s"] == AppConfig.max_refine_s
    assert body["metadata"]["synthray"]["max_body_bytes"] == 10_000


def test_predict_instances_return_predictions_and_inputs_return_outputs(foreign, foreign_predictor):
    features = features_of(3)
    expected = foreign_predictor.predict(features)
    answer = foreign.post(PREDICT, json={"instances": features.tolist()})
    assert answer.status_code == 200
    assert answer.headers["x-synthray-model"] == "model_3_1"
    rows = answer.json()["predictions"]
    columns = foreign.post(PREDICT, json={"inputs": {"in_fft": features.tolist()}}).json()["outputs"]
    assert len(rows) == 3
    for name, values in expected.items():
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=1e-6)
        np.testing.assert_allclose(columns[name], values, rtol=1e-6)
    assert set(rows[0]) == set(columns) == set(expected)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain"])
def test_predict_accepts_content_types_of_curl(foreign, kind):
    body = json.dumps({"instances": features_of(1).tolist()})
    assert foreign.post(PREDICT, content=body, headers={"content-type": kind}).status_code == 200


def test_predict_accepts_served_version_only(foreign):
    (version,) = foreign.get(BASE).json()["model_version_status"]
    body = {"instances": features_of(1).tolist()}
    assert foreign.post(f"{BASE}/versions/{version['version']}:predict", json=body).status_code == 200
    refused = foreign.post(f"{BASE}/versions/2:predict", json=body)
    assert refused.status_code == 404
    assert "no version '2'" in refused.json()["error"]


def test_predict_raw_float32_equals_json(client):
    features = features_of(2, (20, 551))
    from_json = client.post(PREDICT, json={"instances": features.tolist()}).json()
    from_raw = client.post(PREDICT, content=features.astype("<f4").tobytes(), headers=RAW).json()
    assert from_raw == from_json
    assert len(from_raw["predictions"]) == 2
    assert len(from_raw["predictions"][0]) == 38


def test_encode_predictions_single_output_has_no_name():
    outputs = {"out_a": np.array([[0.5], [0.25]], np.float32)}
    assert encode_predictions(outputs, in_rows=True) == b'{"predictions":[[0.5],[0.25]]}'
    assert encode_predictions(outputs, in_rows=False) == b'{"outputs":[[0.5],[0.25]]}'


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "message"),
    [
        ("POST", PREDICT, {"content": b"{"}, 400, "the body is not JSON"),
        ("POST", PREDICT, {"json": {"instances": [[[1] * 8] * 5]}}, 400, "instance 0, row 0: has 8 columns"),
        ("POST", PREDICT, {"content": b"\0" * 141, "headers": RAW}, 400, "141 bytes, expected a multiple of 140"),
        ("POST", PREDICT, {"content": b"\xff" * 140, "headers": RAW}, 400, "instance 0, row 0, column 0: nan"),
        ("POST", PREDICT, {"content": b"x", "headers": {"content-type": "audio/wav"}}, 415, "'audio/wav', expected"),
        ("POST", PREDICT, {"content": b"x", "headers": {"content-encoding": "br"}}, 415, "content-encoding 'br'"),
        ("POST", PREDICT, {"content": b"not gzip", "headers": GZIP}, 400, "the compressed body is corrupt"),
        ("POST", PREDICT, {"content": gzip.compress(b"x" * 99)[:-9], "headers": GZIP}, 400, "ends too early"),
        (
            "POST",
            PREDICT,
            {"content": gzip.compress(b"x") * 2, "headers": GZIP},
            400,
            "bytes follow the compressed body",
        ),
        ("POST", PREDICT, {"content": gzip.compress(b"x" * 10**6), "headers": GZIP}, 413, "the decompressed body"),
        ("POST", PREDICT, {"content": b"x" * 10_001}, 413, "the body has 10001 bytes, the limit is 10000"),
        ("POST", PREDICT, {"headers": {"content-length": "ten"}}, 400, "content-length is 'ten'"),
        ("POST", PREDICT, {"content": (b"x" * 6000 for _ in range(2))}, 413, "longer than the limit of 10000"),
        ("POST", MATCH, {"content": b"RIFF"}, 409, "model_3_1"),
        ("GET", PREDICT, {}, 405, "/v1/models/synthray:predict does not support GET"),
        ("POST", BASE, {}, 405, "/v1/models/synthray does not support POST"),
        ("GET", "/v1/models/other", {}, 404, "/v1/models/other does not exist; the model is at /v1/models/synthray"),
        ("POST", "/v1/models/other:predict", {}, 404, "/v1/models/other:predict does not exist"),
        ("GET", f"{BASE}/versions/77", {}, 404, "no version '77'"),
        ("GET", f"{BASE}/versions/1:match", {}, 405, "versions/1:match does not support GET"),
        ("GET", f"{BASE}/labels/stable:predict", {}, 405, "labels/stable:predict does not support GET"),
        ("POST", f"{BASE}/versions/1:other", {}, 404, "versions/1:other does not exist"),
    ],
)
def test_invalid_request_returns_json_error(foreign, method, path, options, status, message):
    answer = foreign.request(method, path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"content": b"x" * (32 * 2**20 + 1)}, 413, "the limit is 33554432"),
        ({"content": b"x", "headers": {"content-type": "text/html"}}, 415, "'text/html', expected an audio file"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form cannot be read"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "cannot be read"),
        ({"content": b"--b--", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "holds no file"),
        ({"content": b"x", "headers": {"accept": "image/png"}}, 406, "accept is 'image/png'"),
        ({"content": b""}, 400, "the body is empty"),
        ({"content": b"RIFF"}, 400, "sound"),
        ({"content": b"\0" * 1000}, 400, "sound"),
    ],
)
def test_match_invalid_sound_returns_error(client, options, status, message):
    answer = client.post(MATCH, **options)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_encode_predictions_not_finite_names_instance():
    outputs = {"out_a": np.zeros((3, 2), np.float32), "out_b": np.array([[0], [0], [np.nan]], np.float32)}
    with pytest.raises(RequestError, match="instance 2: output 'out_b' is not finite"):
        encode_predictions(outputs, in_rows=True)


def test_read_body_stops_at_limit(foreign_predictor):
    """A body without a content length is read up to the limit only."""
    sent = []

    def endless():
        for number in range(1000):
            sent.append(number)
            yield b"x" * 1000

    app, blocks = app_of(foreign_predictor, config=AppConfig(max_body_bytes=5000)), endless()

    async def receive():
        return {"type": "http.request", "body": next(blocks), "more_body": True}

    async def send(message):
        answers.append(message)

    import asyncio

    answers = []
    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 413
    assert len(sent) == 6


def test_match_sound_returns_preset(client, predictor, sound, wav):
    for kind in ({}, {"content-type": "audio/wav"}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = client.post(MATCH, content=wav, headers=kind)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
    from synthray.match.match import match
    from synthray.synth.presets import preset_from_json

    settings = preset_from_json(predictor.card.table, answer.json()["preset"])
    assert settings.shape == (46,)
    expected = match(predictor, sound).settings
    table = predictor.card.table
    labels, wanted = (table.settings_to_labels(row[None])[0] for row in (settings, expected))
    np.testing.assert_allclose(labels, wanted, atol=0.02)  # 16-bit samples, rounded preset values


@pytest.mark.parametrize(
    ("lead_in_s", "seconds", "header"),
    [
        (0.0, 2.0, "skipped_s=0.0, used_s=2.0, length_s=2.0"),
        (0.0, 3.5, "skipped_s=0.0, used_s=2.0, length_s=3.5"),
        (0.0, 90.0, "skipped_s=0.0, used_s=2.0"),
        (0.5, 2.5, "skipped_s=0.499, used_s=2.0, length_s=2.5"),
    ],
)
def test_match_states_the_part_of_the_sound(client, sound, lead_in_s, seconds, header):
    recording = np.resize(sound, round(seconds * SAMPLE_RATE_HZ))
    silence = round(lead_in_s * SAMPLE_RATE_HZ)
    if silence:
        recording = np.concatenate([np.zeros(silence, np.float32), recording])[: len(recording)]
    buffer = io.BytesIO()
    write_wav(buffer, recording)
    answer = client.post(MATCH, content=buffer.getvalue())
    stated = answer.json()["sound"]
    expected = {name: float(value) for name, value in (part.split("=") for part in header.split(", "))}
    assert stated == pytest.approx({"length_s": None, **expected}, abs=0.002)
    for other in (answer, client.post(MATCH, content=buffer.getvalue(), headers={"accept": "audio/wav"})):
        known = {name: value for name, value in stated.items() if value is not None}
        assert other.headers["x-synthray-sound"] == ", ".join(f"{name}={value}" for name, value in known.items())


def test_match_of_a_corrupt_mp3_does_not_fill_the_log(client, capfd):
    answer = client.post(MATCH, content=b"\xff\xfb\x90\x64" * 20_000)
    assert answer.status_code == 400
    assert capfd.readouterr().err == ""


def test_match_silent_sound_is_refused(client):
    buffer = io.BytesIO()
    write_wav(buffer, np.zeros(SAMPLE_RATE_HZ))
    answer = client.post(MATCH, content=buffer.getvalue())
    assert answer.status_code == 400
    assert answer.json() == {"error": "the sound is silent throughout, for 1.00 s: there is nothing to match"}


@pytest.mark.parametrize(
    "accept", ["audio/wav", "audio/*;q=0.9, application/json;q=0.1", "audio/x-wav, */*", "application/json;q=0, */*"]
)
def test_match_accept_wav_returns_sound(client, wav, accept):
    from synthray.synth.files.sound_file import read_sound

    answer = client.post(MATCH, content=wav, headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    audio = read_sound(answer.content).audio
    assert audio.shape == (22050,)
    assert np.abs(audio).max() > 0


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, application/json;q=0.9, */*;q=0.8"])
def test_match_returns_json_by_default(client, wav, accept):
    answer = client.post(MATCH, content=wav, headers={"accept": accept})
    assert answer.headers["content-type"] == "application/json"


def test_app_without_model_returns_503():
    with TestClient(app_of()) as client:
        for answer in (client.get("/healthz"), client.get(BASE), client.post(PREDICT, json={})):
            assert answer.status_code == 503
            assert "no model is ready" in answer.json()["error"]


def test_status_includes_model_that_failed_to_load(foreign_predictor):
    with TestClient(app_of(foreign_predictor, last_error="no such file")) as client:
        states = client.get(BASE).json()["model_version_status"]
    assert [state["state"] for state in states] == ["AVAILABLE", "END"]
    assert states[1]["status"]["error_message"] == "no such file"


def test_predict_finishes_on_model_it_started_with(foreign_predictor):
    other = Predictor(build_model(FOREIGN, FOREIGN_SHAPE, seed=5), build_card(FOREIGN, FOREIGN_SHAPE, "model_4_1"))

    class Swapping(Predictor):
        def predict(self, features):
            models[:] = [Served(other, 2)]
            return foreign_predictor.predict(features)

    class Models:
        last_error = None

        @property
        def served(self):
            return tuple(models)

        def choose(self):
            return models[0]

    models = [Served(Swapping(build_model(FOREIGN, FOREIGN_SHAPE), build_card(FOREIGN, FOREIGN_SHAPE, "model_3_1")))]
    features = features_of(2)
    with TestClient(build_app(Service(Models()))) as client:
        before = client.get(BASE).json()["model_version_status"]
        answers = [client.post(PREDICT, json={"inputs": features.tolist()}) for _ in range(2)]
        after = client.get(BASE).json()["model_version_status"]
    assert [answer.headers["x-synthray-model"] for answer in answers] == ["model_3_1", "model_4_1"]
    for answer, predictor in zip(answers, (foreign_predictor, other), strict=True):
        expected = predictor.predict(features)["out_cutoff"]
        np.testing.assert_allclose(answer.json()["outputs"]["out_cutoff"], expected, atol=1e-6)
    assert [versions[0]["name"] for versions in (before, after)] == ["model_3_1", "model_4_1"]


def test_unexpected_error_is_logged_and_hidden(foreign_predictor, caplog):
    class Broken(Predictor):
        def predict(self, features):
            raise ZeroDivisionError("inside")

    broken = Broken(build_model(FOREIGN, FOREIGN_SHAPE), foreign_predictor.card)
    with TestClient(app_of(broken), raise_server_exceptions=False) as client:
        answer = client.post(PREDICT, json={"instances": features_of(1).tolist()})
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; see the server's log"}
    assert "inside" in caplog.text


def test_page_files_are_all_served(foreign):
    folder = Path(page_files.__file__).with_name("page")
    for file in filter(Path.is_file, folder.rglob("*")):
        answer = foreign.get(f"/page/{file.relative_to(folder).as_posix()}")
        assert (answer.status_code, answer.content) == (200, file.read_bytes()), file


def test_page_loads_nothing_from_other_hosts(foreign):
    answer = foreign.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert 'src="page/app.js"' in answer.text


@pytest.mark.parametrize("verb", ["match", "render", "analyse"])
def test_sounds_are_answered_by_the_named_version_or_label(predictor, wav, verb):
    served, metrics = (Served(predictor, 3), Served(predictor, 4, "canary")), PrometheusMetrics()
    with TestClient(build_app(Service(FixedModels(served), metrics=metrics))) as client:
        body = json.dumps(client.post(MATCH, content=wav).json()) if verb == "render" else wav
        for named in ("versions/4", "labels/canary"):
            answer = client.post(f"{BASE}/{named}:{verb}", content=body)
            assert (answer.status_code, len(answer.content) > 1000) == (200, True)
        for named, message in (("versions/5", "no version '5'"), ("labels/next", "no label 'next'")):
            refused = client.post(f"{BASE}/{named}:{verb}", content=body)
            assert (refused.status_code, message in refused.json()["error"]) == (404, True)
    route = {"match": "match_sounds", "render": "render_preset", "analyse": "analyse_sound"}[verb]
    counted = f'synthray_requests_total{{label="canary",route="{route}",status="200",version="4"}} 2.0'
    assert counted in metrics.encode().decode()
