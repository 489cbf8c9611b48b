"""The OpenAPI document: it is valid, complete, and what a running service does."""

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
from tests.serve.openapi.parts import service_of
from tests.serve.serving import running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LARGE = ("predict", "modelInfer")
"""Operations whose features are too many numbers to generate for a model of the instrument."""


@pytest.fixture(scope="module")
def app(foreign_predictor):
    return build_app(service_of(foreign_predictor))


@pytest.fixture(scope="module")
def document(app):
    return TestClient(app).get("/openapi.json").json()


def test_document_is_valid(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_document_has_every_route(app, document):
    routes = {
        (re.sub(r":(path|segment)}", "}", route.path), method.lower())
        for route in app.routes
        for method in route.methods - {"HEAD"}
    }
    assert {(path, method) for path, item in document["paths"].items() for method in item} == routes


def test_document_names_the_models_tensors(document):
    schemas = document["components"]["schemas"]
    assert schemas["Features"]["minItems"] == 5
    rows = schemas["PredictAnswer"]["oneOf"][0]["properties"]["predictions"]["items"]["properties"]
    assert rows["out_osc_shape"]["maxItems"] == 3


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
