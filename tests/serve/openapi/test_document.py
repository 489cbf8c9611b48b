"""The OpenAPI document: it is valid, complete, and what a running service does."""

import re

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from synthray.serve.app import build_app
from tests.serve.openapi.parts import service_of
from tests.serve.serving import running

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
    from tests.serve.openapi.conformance import check_conformance  # the import takes more than a second

    with running(service_of(request.getfixturevalue(model))) as url:
        check_conformance(f"{url}/openapi.json", skipped=LARGE if model == "predictor" else ())
