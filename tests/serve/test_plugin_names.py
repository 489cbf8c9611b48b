"""Outputs with the names of a plug-in: each protocol gives and takes the true names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from synthray.model.predictor import Predictor
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service
from synthray.synth.parameters import Choice, ParameterTable, Range
from tests.models import build_card, build_model
from tests.names import NAMES
from tests.serve.serving import running_with_grpc

SHAPE = (5, 7)
TABLE = ParameterTable(
    tuple(Choice(name, ("a", "b")) if number % 3 == 0 else Range(name) for number, name in enumerate(NAMES))
)
OUTPUTS = [f"out_{name}" for name in NAMES]
FEATURES = np.random.default_rng(0).random((2, *SHAPE), np.float32)
Infer = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def named_predictor() -> Predictor:
    return Predictor(build_model(TABLE, SHAPE), build_card(TABLE, SHAPE))


@pytest.fixture(scope="module")
def service(named_predictor: Predictor) -> Service:
    metrics = PrometheusMetrics()
    return Service(FixedModels((Served(named_predictor),)), AppConfig(), metrics, scraped=metrics.encode)


@pytest.fixture(scope="module")
def expected(named_predictor: Predictor) -> dict[str, np.ndarray]:
    return named_predictor.predict(FEATURES)


@pytest.fixture(scope="module", params=["http", "json", "grpc"])
def infer(request: pytest.FixtureRequest, service: Service) -> Iterator[Infer]:
    """A function from names of outputs to their values, over tritonclient with binary or JSON tensors, or gRPC."""
    module = tritonclient.grpc if request.param == "grpc" else tritonclient.http
    options = {"binary_data": False} if request.param == "json" else {}

    def outputs(*names: str) -> dict[str, np.ndarray]:
        tensor = module.InferInput("in_fft", list(FEATURES.shape), "FP32")
        tensor.set_data_from_numpy(FEATURES, **options)
        wanted = [module.InferRequestedOutput(name, **options) for name in names] or None
        answer = client.infer("synthray", [tensor], outputs=wanted)
        response = answer.get_response()
        found = response.outputs if module is tritonclient.grpc else response["outputs"]
        order = [each.name if module is tritonclient.grpc else each["name"] for each in found]
        return {name: answer.as_numpy(name) for name in order}

    with (
        running_with_grpc(service) as addresses,
        module.InferenceServerClient(addresses[request.param == "grpc"]) as client,
    ):
        yield outputs


def assert_equal(found: dict[str, Any], expected: dict[str, np.ndarray], order: list[str]) -> None:
    assert list(found) == order
    for name in order:
        np.testing.assert_allclose(np.reshape(found[name], expected[name].shape), expected[name], rtol=1e-5, atol=1e-6)


def test_open_inference_answers_with_all_outputs(infer: Infer, expected: dict[str, np.ndarray]) -> None:
    assert_equal(infer(), expected, OUTPUTS)


@pytest.mark.parametrize("names", [*([name] for name in OUTPUTS), OUTPUTS[1::-1]])
def test_open_inference_answers_with_the_requested_outputs_in_their_order(
    names: list[str], infer: Infer, expected: dict[str, np.ndarray]
) -> None:
    assert_equal(infer(*names), expected, names)


def test_open_inference_shows_an_unknown_name_in_one_line(infer: Infer) -> None:
    with pytest.raises(InferenceServerException, match="outputs") as raised:
        infer("out_\x1b[31m unknown\n<b>")
    assert "\x1b" not in raised.value.message()
    assert "\n" not in raised.value.message()


@pytest.mark.parametrize(("field", "key"), [("instances", "predictions"), ("inputs", "outputs")])
def test_predict_answers_with_the_true_names(
    field: str, key: str, service: Service, expected: dict[str, np.ndarray]
) -> None:
    with TestClient(build_app(service)) as client:
        answer = client.post("/v1/models/synthray:predict", json={field: FEATURES.tolist()}).json()[key]
    columns = answer if key == "outputs" else {name: [row[name] for row in answer] for name in answer[0]}
    assert_equal(columns, expected, OUTPUTS)


def test_metadata_has_the_true_names(service: Service) -> None:
    with TestClient(build_app(service)) as client:
        metadata = client.get("/v1/models/synthray/metadata").json()["metadata"]
        tensors = client.get("/v2/models/synthray").json()["outputs"]
    assert list(metadata["signature_def"]["signature_def"]["serving_default"]["outputs"]) == OUTPUTS
    assert [tensor["name"] for tensor in tensors] == OUTPUTS


def test_openapi_document_is_valid_and_its_page_shows_no_markup_of_a_name(service: Service) -> None:
    with TestClient(build_app(service)) as client:
        document = client.get("/openapi.json").json()
        page = client.get("/docs").text
    validate(document)
    rows = document["components"]["schemas"]["PredictAnswer"]["oneOf"][0]["properties"]["predictions"]["items"]
    assert list(rows["properties"]) == OUTPUTS
    assert "<script" not in page
    assert "<img" not in page


def test_metrics_can_be_parsed_and_name_no_parameter(service: Service) -> None:
    with TestClient(build_app(service)) as client:
        client.post("/v1/models/synthray:predict", json={"instances": FEATURES.tolist()})
        text = client.get("/metrics").text
    assert "synthray_requests" in [family.name for family in text_string_to_metric_families(text)]
    assert "out_" not in text
