"""The OpenAPI document: it is valid, complete, and what a running service does."""

import io
import re
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.control import SkipTest
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models import FixedModels, Served
from synthray.serve.service import Service
from synthray.synth.sound_file import write_wav
from tests.serve.serving import running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LARGE = ("predict", "modelInfer")
"""Operations whose features are too many numbers to generate for a model of the instrument."""


def service_of(predictor):
    metrics = PrometheusMetrics()
    config = AppConfig(max_refine_s=0.2)
    return Service(FixedModels((Served(predictor),)), config, metrics, scraped=metrics.encode)


@pytest.fixture(scope="module")
def app(foreign_predictor):
    return build_app(service_of(foreign_predictor))


@pytest.fixture(scope="module")
def document(app):
    return TestClient(app).get("/openapi.json").json()


def document_of(predictor):
    return TestClient(build_app(service_of(predictor))).get("/openapi.json").json()


def test_document_is_valid(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_document_has_every_route(app, document):
    routes = {
        (re.sub(r":path}", "}", route.path), method.lower())
        for route in app.routes
        for method in route.methods - {"HEAD"}
    }
    assert {(path, method) for path, item in document["paths"].items() for method in item} == routes


def test_document_names_the_models_tensors(document):
    schemas = document["components"]["schemas"]
    assert schemas["Features"]["minItems"] == 5
    rows = schemas["PredictAnswer"]["oneOf"][0]["properties"]["predictions"]["items"]["properties"]
    assert rows["out_osc_shape"]["maxItems"] == 3


def test_docs_page_is_complete_and_needs_no_other_host(app, document):
    answer = TestClient(app).get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "://" not in answer.text
    for path, item in document["paths"].items():
        for method in item:
            assert f"<h2>{method.upper()} {path}</h2>" in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("model", ["foreign_predictor", "predictor"])
def test_running_service_conforms_to_its_document(request, model):
    with running(service_of(request.getfixturevalue(model))) as url:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            config = SchemathesisConfig.from_dict({"generation": {"mode": mode.value}})
            schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
            for result in schema.get_all_operations():
                operation = result.ok()
                name = operation.definition.raw["operationId"]
                if model == "predictor" and name.startswith(LARGE):
                    continue
                _call(operation, mode)


@pytest.mark.slow
def test_examples_and_sounds_get_answers_that_conform(predictor, foreign_predictor, sound):
    wav = io.BytesIO()
    write_wav(wav, sound)
    sounds = {"match": wav.getvalue(), "analyse": wav.getvalue()}
    answered = set()
    for model in (predictor, foreign_predictor):
        with running(service_of(model)) as url:
            for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
                operation = result.ok()
                raw = operation.definition.raw
                name, parameters = raw["operationId"], raw.get("parameters", [])
                verb = name.removesuffix("Version").removesuffix("Label")
                content = raw.get("requestBody", {}).get("content", {})
                values = {"path_parameters": {p["name"]: p["example"] for p in parameters if p["in"] == "path"}}
                if verb == "match" and model is foreign_predictor:
                    continue
                if verb in sounds:
                    values |= {"body": sounds[verb], "media_type": "application/octet-stream"}
                    queries = [p for p in parameters if p["in"] == "query" and verb == "match"]
                    values["query"] = {p["name"]: p["example"] for p in queries}
                    values["query"].pop("refine", None)
                elif "example" in content.get("application/json", {}):
                    values |= {"body": content["application/json"]["example"], "media_type": "application/json"}
                elif content:
                    continue
                answer = operation.Case(**values).call_and_validate(checks=CHECKS, timeout=200)  # Numba may compile
                assert answer.status_code == 200, (name, answer.text)
                answered.add(name)
    paths = document_of(foreign_predictor)["paths"]
    names = {operation["operationId"] for item in paths.values() for operation in item.values()}
    assert answered == names - {"openapi"}  # schemathesis leaves the document's own path out


def _call(operation, mode):
    """Send generated requests to an operation, and check the answers."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case):
        case.call_and_validate(checks=CHECKS, timeout=30)

    with suppress(SkipTest):  # nothing about the operation can be wrong
        call()
