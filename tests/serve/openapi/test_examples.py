"""Examples of the OpenAPI document: requests can be sent as they are, and answers are as the service answers."""

import base64
import io
import os
import shutil
import subprocess
import threading

import httpx
import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from synthray.serve.models.served import FixedModels
from synthray.serve.service import Service
from tests.serve.openapi.parts import check, document_of, examples_of, operations_of, resolved, service_of
from tests.serve.serving import running

JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"
SHOWN = (JSON, EVENTS, TEXT)
"""Media types of answers that an example can show."""
BASE = "/v1/models/synthray"


@pytest.fixture(scope="module", params=["predictor", "foreign_predictor"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def document(model):
    return document_of(model)


def test_each_operation_with_a_body_has_a_request_example(document):
    bodies = {
        operation["operationId"]: operation["requestBody"]["content"]
        for _, _, operation in operations_of(document)
        if "requestBody" in operation
    }
    assert {"match", "render", "analyse", "predict", "predictLabel", "modelInfer"} <= set(bodies)
    without = [name for name, content in bodies.items() if not any("examples" in kind for kind in content.values())]
    assert without == []


def test_each_answer_that_is_text_has_an_example(document):
    missing = [
        (operation["operationId"], status, kind)
        for _, _, operation in operations_of(document)
        for status, response in operation["responses"].items()
        for kind, media in resolved(document, response)["content"].items()
        if kind in SHOWN and "examples" not in media
    ]
    assert missing == []


def test_answer_examples_are_as_their_schemas_say(document):
    checked = 0
    for _, _, operation in operations_of(document):
        for response in operation["responses"].values():
            for media in resolved(document, response)["content"].values():
                for example in examples_of(document, media).values():
                    check(document, media["schema"], example["value"])
                    checked += 1
    assert checked > 50


def test_answers_have_schemas_with_properties(document):
    for _, _, operation in operations_of(document):
        schema = operation["responses"]["200"]["content"].get(JSON, {"schema": {"properties": {}}})["schema"]
        for option in schema.get("anyOf", [schema]):
            found = resolved(document, option)
            assert "properties" in found or "oneOf" in found, operation["operationId"]


def test_parameters_have_a_meaning_and_an_example(document):
    for _, _, operation in operations_of(document):
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
            if parameter["in"] != "header":
                check(document, parameter["schema"], parameter["example"])


def test_document_with_long_features_stays_short(predictor):
    answer = TestClient(build_app(service_of(predictor))).get("/openapi.json")
    assert predictor.card.feature_shape == (20, 551)
    assert len(answer.content) < 300_000


@pytest.mark.slow
def test_request_examples_get_answers_that_conform(model):
    sent = 0
    with running(service_of(model)) as url, httpx.Client(base_url=url, timeout=200) as client:  # Numba may compile
        document = client.get("/openapi.json").json()
        for path, method, operation in operations_of(document):
            content = operation.get("requestBody", {}).get("content", {})
            examples = [(k, each) for k, media in content.items() for each in examples_of(document, media).values()]
            for kind, example in examples or [(None, {})]:
                if path.endswith(":match") and model.card.name == "model_3_1":
                    continue  # of another instrument
                for accept in operation["responses"]["200"]["content"]:
                    answer = _send(client, path, method, operation, kind, example, accept)
                    assert answer.status_code == 200, (path, answer.text)
                    _check_answer(document, operation, answer, accept)
                    sent += 1
    assert sent > 30


def _send(client, path, method, operation, kind, example, accept):
    """Send an example with the examples of all parameters that have one."""
    parameters = [p for p in operation.get("parameters", []) if "example" in p]
    path = path.format(**{p["name"]: p["example"] for p in parameters if p["in"] == "path"})
    query = {p["name"]: p["example"] for p in parameters if p["in"] == "query"}
    headers = {"accept": accept} | ({"content-type": kind} if kind else {})
    body = {"json": example["value"]} if "value" in example else {}
    if "externalValue" in example:
        body = {"content": client.get(example["externalValue"]).raise_for_status().content}
    return client.request(method, path, params=query, headers=headers, **body)


def _check_answer(document, operation, answer, accept):
    content = operation["responses"]["200"]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if len(content) < 5:
        assert kind == accept or set(content) == {JSON, "application/octet-stream"}
    if kind == JSON:
        check(document, content[JSON]["schema"], answer.json())


@pytest.mark.slow
def test_curl_samples_work(predictor, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = []
    with running(service_of(predictor, tokens=("open sesame",))) as url:
        document = httpx.get(f"{url}/openapi.json").json()
        for _, _, operation in operations_of(document):
            for number, sample in enumerate(operation.get("x-codeSamples", [])):
                folder = tmp_path / f"{operation['operationId']}{number}"
                folder.mkdir()
                script = 'set -e -o pipefail; curl() { command curl -sS --fail-with-body "$@"; }\n' + sample["source"]
                variables = os.environ | {"SYNTHRAY_API_TOKEN": "open sesame"}
                ended = subprocess.run(["bash", "-c", script], cwd=folder, env=variables, capture_output=True)
                assert ended.returncode == 0, (sample["source"], ended.stdout[:500], ended.stderr)
                assert b'"error"' not in ended.stdout
                done.append(operation["operationId"])
    assert {"match", "render", "analyse", "predict", "modelInfer", "status", "metadata"} <= set(done)
    assert soundfile.info(tmp_path / "render0" / "preset.wav").duration == pytest.approx(2.0)


def test_sounds_in_examples_are_wav_files(predictor):
    document = document_of(predictor)
    answers = document["paths"][f"{BASE}:render"]["post"]["responses"]["200"]["content"]
    [example] = examples_of(document, answers[JSON]).values()
    audio, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(example["value"]["sound"])))
    assert rate_hz == 11025
    assert np.abs(audio).max() > 0.1


ERRORS = {
    "query": (400, f"{BASE}:match?refine=-1", {"content": b"text"}),
    "sound-file": (400, f"{BASE}:match", {"content": b"text"}),
    "preset": (400, f"{BASE}:render", {}),
    "features": (400, f"{BASE}:predict", {"json": {"instances": [[[0]]]}}),
    "version": (404, f"{BASE}/versions/8:predict", {"json": {}}),
    "Accept": (406, f"{BASE}:render", {"headers": {"accept": "image/png"}, "json": {}}),
    "body": (413, f"{BASE}:match", {"headers": {"content-length": str(32 * 2**20 + 1)}}),
    "content-type": (415, f"{BASE}:match", {"headers": {"content-type": "text/html"}, "content": b"text"}),
    "no-token": (401, f"{BASE}:match", {}),
    "wrong-token": (401, f"{BASE}:match", {"headers": {"authorization": "Bearer wrong"}}),
    "instrument": (409, f"{BASE}:match", {"content": b"text"}),
    "no-model": (503, f"{BASE}:match", {}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_examples_are_the_services_messages(predictor, foreign_predictor, name):
    status, path, request = ERRORS[name]
    described = service_of(foreign_predictor if status == 409 else predictor)
    document = TestClient(build_app(described)).get("/openapi.json").json()
    responses = document["components"]["responses"]
    expected = responses[f"Error{status}"]["content"][JSON]["examples"][name]["value"]
    if name == "preset":
        body = document["paths"][f"{BASE}:render"]["post"]["requestBody"]["content"][JSON]
        preset = examples_of(document, body)["preset"]["value"]
        request = {"json": {**preset, "parameters": {**preset["parameters"], "filter_cutoff": 9000}}}
    asked = {401: service_of(predictor, tokens=("open sesame",)), 503: Service(FixedModels())}.get(status, described)
    answer = TestClient(build_app(asked)).post(path, **request)
    assert (answer.status_code, answer.json()) == (status, expected)


def test_error_example_of_a_full_queue_is_the_services_message(predictor):
    service, release = service_of(predictor), threading.Event()
    [expected] = document_of(predictor)["components"]["responses"]["Error429"]["content"][JSON]["examples"].values()

    async def fill():
        for _ in range(service.sound_work.places):
            service.sound_work.submit(release.wait, 20)

    with TestClient(build_app(service)) as client:
        client.portal.call(fill)
        answer = client.post(f"{BASE}:match", content=b"text")
        release.set()
    assert (answer.status_code, answer.json()) == (429, expected["value"])


def test_metric_example_is_one_of_the_metrics(predictor):
    paths = document_of(predictor)["paths"]
    [example] = paths["/metrics"]["get"]["responses"]["200"]["content"][TEXT]["examples"].values()
    client = TestClient(build_app(service_of(predictor)))
    client.get("/healthz")
    scraped = client.get("/metrics").text.splitlines()
    assert [line for line in example["value"].splitlines() if line not in scraped] == []


def test_numbers_and_arrays_of_schemas_are_described(document):
    described, bare = [], []

    def walk(schema, where):
        if isinstance(schema, list):
            for each in schema:
                walk(each, where)
        if not isinstance(schema, dict):
            return
        for name, each in schema.get("properties", {}).items():
            if isinstance(each, dict) and {"number", "integer", "array"} & set(np.atleast_1d(each.get("type", ""))):
                (described if "description" in each else bare).append(f"{where}/{name}")
        for key, each in schema.items():
            walk(each, f"{where}/{key}")

    walk(document["components"]["schemas"], "")
    assert len(described) > 40
    assert bare == []


def test_example_of_a_form_has_the_services_message(predictor):
    document = document_of(predictor)
    answers = document["paths"][f"{BASE}:match"]["post"]["responses"]["200"]["content"]
    failed = examples_of(document, answers[JSON])["form"]["value"]["matches"][1]
    client = TestClient(build_app(service_of(predictor)))
    answer = client.post(f"{BASE}:match", files={"sound": (failed["name"], b"text")})
    assert answer.json() == {"matches": [failed]}
