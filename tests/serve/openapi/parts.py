"""Services with a document, and access to the parts of a document, for the tests of the document and of its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
from starlette.testclient import TestClient

from synthray.model.predictor import Predictor
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service

Json = dict[str, Any]


def service_of(predictor: Predictor, **options: Any) -> Service:
    """Return a service with metrics, whose model has a number other than 1."""
    metrics = PrometheusMetrics()
    config = AppConfig(max_refine_s=0.2)
    return Service(FixedModels((Served(predictor, version=7),)), config, metrics, scraped=metrics.encode, **options)


def document_of(predictor: Predictor, **options: Any) -> Json:
    """Return the document of such a service."""
    document: Json = TestClient(build_app(service_of(predictor, **options))).get("/openapi.json").json()
    return document


def operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield the path, method and content of each operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def resolved(document: Json, value: Json) -> Json:
    """Return what a reference names, or any other value itself."""
    while "$ref" in value:
        where = value["$ref"].removeprefix("#/").split("/")
        value = document
        for key in where:
            value = value[key]
    return value


def examples_of(document: Json, media: Json) -> Json:
    """Return the examples of a media type by name."""
    return {name: resolved(document, example) for name, example in media.get("examples", {}).items()}


def check(document: Json, schema: Json, value: Any) -> None:
    """Raise ValidationError unless a value is as a schema of the document says."""
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)
