"""The operations of the Open Inference Protocol and of the service itself, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import replace

from synthray import __version__
from synthray.serve.http.body import JSON, RAW
from synthray.serve.models.served import MODEL_NAME
from synthray.serve.openapi.api import Api, Json
from synthray.serve.openapi.examples import example, shared
from synthray.serve.openapi.operation import (
    BODY_ERRORS,
    MODEL,
    Operation,
    media,
    path_parameter,
    version_variant,
)
from synthray.serve.openapi.schemas import INTEGER, TEXT, described, record, ref
from synthray.serve.page_files import media_types
from synthray.serve.protocols.infer_codec import LENGTH_HEADER
from synthray.serve.protocols.tensors import EXTENSIONS, SERVER_NAME

PROTOCOL = "Open Inference Protocol"
TRUE = {"const": True}


def open_inference_operations(api: Api) -> dict[str, Operation]:
    """Return the operations of the Open Inference Protocol by path."""
    models = {"/infer": _infer(), "": _model_metadata(), "/ready": _model_ready()}
    operations = {}
    for path, operation in models.items():
        operations[f"/v2/models/{{model}}{path}"] = operation
        operations[f"/v2/models/{{model}}/versions/{{version}}{path}"] = version_variant(api, operation, position=1)
    return operations | _server_operations()


def service_operations(api: Api) -> dict[str, Operation]:
    """Return the operations of the service itself by path."""
    health = {"status": "ok", "model": api.served.predictor.card.name}
    operations = {
        "/healthz": Operation(
            tag="Service",
            name="health",
            summary="Return the name of the served model",
            answer="A model is ready.",
            content={
                JSON: media(
                    record({"status": {"const": "ok"}, "model": described(TEXT, "name of the served model")}),
                    ok=example("A model is ready", health),
                )
            },
            errors=(503,),
        )
    }
    if api.service.scraped:
        operations["/metrics"] = _metrics(api)
    return operations | _pages()


def _infer() -> Operation:
    length = {"name": LENGTH_HEADER, "in": "header", "schema": INTEGER | {"minimum": 0}}
    length["description"] = "length of the JSON in front of binary tensors, in bytes; none if the body is only JSON"
    answer_length = {"schema": INTEGER, "description": "length of the JSON in front of binary outputs, in bytes"}
    binary = {"description": "JSON, followed by the binary tensors as little-endian float32"}
    return Operation(
        tag=PROTOCOL,
        name="modelInfer",
        summary="Return the network's outputs for features",
        description=f"The input is one tensor of features, and `:analyse` returns them. The outputs are those of "
        f"`:predict`. To send float32 in place of numbers in JSON, put the bytes behind the JSON, its length into the "
        f"header `{LENGTH_HEADER}`, and theirs into `binary_data_size`.",
        answer="The outputs as tensors [sounds, numbers].",
        content={
            JSON: media(ref("InferAnswer"), outputs=shared("inferred")),
            RAW: media(binary),
        },
        errors=(400, 401, 404, *BODY_ERRORS, 503),
        parameters=(_model(), length),
        body={JSON: media(ref("InferRequest"), zeros=shared("infer")), RAW: media(binary)},
        headers=MODEL | {LENGTH_HEADER: answer_length},
    )


def _model_metadata() -> Operation:
    return Operation(
        tag=PROTOCOL,
        name="modelMetadata",
        summary="Return the inputs and outputs of the model",
        answer="Names and shapes of the tensors.",
        content={JSON: media(ref("ModelMetadata"), metadata=shared("modelMetadata"))},
        errors=(401, 404, 503),
        parameters=(_model(),),
    )


def _model_ready() -> Operation:
    schema = record({"name": {"const": MODEL_NAME}, "ready": TRUE})
    return Operation(
        tag=PROTOCOL,
        name="modelReady",
        summary="Return 200 if the model is ready",
        answer="The model is ready.",
        content={JSON: media(schema, ready=shared("modelReady"))},
        errors=(401, 404, 503),
        parameters=(_model(),),
    )


def _server_operations() -> dict[str, Operation]:
    server = {"name": SERVER_NAME, "version": __version__, "extensions": list(EXTENSIONS)}
    metadata = Operation(
        tag=PROTOCOL,
        name="serverMetadata",
        summary="Return the name, version and extensions of the server",
        answer="Name, version and extensions.",
        content={JSON: media(ref("ServerMetadata"), server=example("This server", server))},
    )
    live = replace(
        metadata,
        name="serverLive",
        summary="Return 200 if the server runs",
        answer="The server runs.",
        content={JSON: media(record({"live": TRUE}), live=example("Live", {"live": True}))},
    )
    ready = replace(
        metadata,
        name="serverReady",
        summary="Return 200 if a model is ready",
        answer="A model is ready.",
        content={JSON: media(record({"ready": TRUE}), ready=example("Ready", {"ready": True}))},
        errors=(503,),
    )
    return {"/v2": metadata, "/v2/health/live": live, "/v2/health/ready": ready}


def _metrics(api: Api) -> Operation:
    labels = f'label="{api.served.label}",route="health",status="200",version="{api.served.version}"'
    metric = (
        "# HELP synthray_requests_total Requests by route, status and model\n"
        "# TYPE synthray_requests_total counter\n"
        f"synthray_requests_total{{{labels}}} 1.0\n"
    )
    return Operation(
        tag="Service",
        name="metrics",
        summary="Return the metrics for Prometheus",
        answer="Requests, errors, times and queues in Prometheus' text format.",
        content={"text/plain": media(TEXT, metric=example("One of the metrics", metric))},
        errors=(401,),
    )


def _pages() -> dict[str, Operation]:
    html = {"text/html": media(TEXT)}
    path = path_parameter("path", "path of the file below the page's folder", "index.html")
    parts = {"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}
    begun = {"openapi": "3.1.0", "info": {"title": "synthray", "version": __version__}, "paths": {}}
    document = Operation(
        tag="Service",
        name="openapi",
        summary="Return this document for tools",
        answer="The OpenAPI 3.1 document of the served model.",
        content={JSON: media(record(parts), document=example("Without its paths", begun))},
        errors=(503,),
    )
    docs = replace(
        document,
        name="docs",
        summary="Return this document for people",
        answer="This document as a web page.",
        content=html,
    )
    page = replace(docs, name="page", summary="Return the page that matches a sound", answer="The web page.", errors=())
    files: Json = {kind: media({}) for kind in media_types()}
    file = replace(
        page,
        name="pageFile",
        summary="Return a file of the page",
        answer="The file.",
        content=files,
        errors=(404,),
        parameters=(path,),
    )
    return {"/openapi.json": document, "/docs": docs, "/": page, "/page/{path}": file}


def _model() -> Json:
    return path_parameter("model", f"name of the model, always `{MODEL_NAME}`", MODEL_NAME)
