"""The service's OpenAPI 3.1 document, at ``/openapi.json``.

Schemas are in openapi_schemas.py, and api_page.py shows the document to people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from synthray import __version__
from synthray.serve.infer_codec import LENGTH_HEADER
from synthray.serve.models import BASES, MODEL_NAME
from synthray.serve.openapi_schemas import BASE64, NUMBER, TEXT, example_preset, record, ref, schemas
from synthray.serve.page_files import media_types
from synthray.serve.request_body import JSON, RAW, WAV
from synthray.serve.responses import MODEL_HEADER, json_response
from synthray.serve.service import Service, model_for, service_of
from synthray.synth.features import ANALYSES

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

ERRORS = {
    400: "a field, index or value is invalid",
    401: "the token is missing or wrong",
    404: "no such path, version or label",
    406: "no media type that Accept names is available",
    408: "the body arrives too slowly",
    409: "the served model is not of this instrument",
    413: "the body is too long",
    415: "the content type or its encoding is not supported",
    429: "too many requests wait; retry after the seconds in Retry-After",
    503: "no model is ready",
}
_BODY = (408, 413, 415, 429)
Json = dict[str, Any]


async def openapi(request: Request) -> Response:
    """Return the document of the served model."""
    return json_response(document(service_of(request), model_for(request).predictor.card))


def document(service: Service, card: ModelCard) -> Json:
    """Return the OpenAPI document of a service that serves a model."""
    paths = _pages() | _tensorflow_serving(card) | _sounds(service) | _open_inference(card)
    if service.scraped:
        paths["/metrics"] = {"get": _operation("metrics", "Metrics for Prometheus", {"text/plain": TEXT}, (503,))}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "synthray",
            "version": __version__,
            "description": f"From a sound to the synthesizer settings that make it. Model: {card.name}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "security": [{"bearer": []}] if service.tokens else [],
        "components": {
            "schemas": schemas(card),
            "responses": {f"Error{status}": _error(status, text) for status, text in ERRORS.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _pages() -> Json:
    html = {"text/html": TEXT}
    path = {"name": "path", "in": "path", "required": True, "schema": TEXT, "example": "index.html"}
    health = record({"status": {"const": "ok"}, "model": TEXT})
    files: Json = {kind: {} for kind in media_types()}
    document = {"type": "object"}
    return {
        "/": {"get": _operation("page", "Web page that matches a sound", html, (), free=True)},
        "/page/{path}": {"get": _operation("pageFile", "File of the page", files, (404,), (path,), free=True)},
        "/healthz": {"get": _operation("health", "Name of the served model", {JSON: health}, (503,), free=True)},
        "/openapi.json": {"get": _operation("openapi", "This document", {JSON: document}, (503,), free=True)},
        "/docs": {"get": _operation("docs", "This document for people", html, (503,), free=True)},
    }


def _tensorflow_serving(card: ModelCard) -> Json:
    paths: Json = {}
    frames, bins = card.feature_shape
    body = {
        JSON: {"schema": ref("PredictRequest"), **_features_example(card, lambda zeros: {"instances": [zeros]})},
        RAW: {"schema": {"description": f"little-endian float32, {frames * bins * 4} bytes a sound"}},
    }
    for base, tag, where in _bases():
        answer = {JSON: {"type": "object"}}
        paths[base] = {"get": _operation(f"status{tag}", "Status of the models", answer, (401, 404, 503), where)}
        metadata = _operation(f"metadata{tag}", "Inputs, outputs and parameters", answer, (401, 404, 503), where)
        paths[f"{base}/metadata"] = {"get": metadata}
        predict = {JSON: ref("PredictAnswer")}
        errors = (400, 401, 404, *_BODY, 503)
        text = "Outputs of features"
        paths[f"{base}:predict"] = {"post": _operation(f"predict{tag}", text, predict, errors, where, body)}
    return paths


def _sounds(service: Service) -> Json:
    sounds: Json = {RAW: {"schema": {}}, WAV: {"schema": {}}}
    file = {"type": "string", "contentMediaType": RAW}
    files = {"type": "array", "items": file, "minItems": 1}
    start = {"start": ref("PresetRequest")}
    form = {"schema": {"type": "object", "properties": {"sound": files} | start}}
    started = {"schema": record({"target": BASE64}, **start)}
    longest_s = service.config.max_refine_s
    refine = NUMBER | {"minimum": 0, "maximum": longest_s}
    refine = _query("refine", refine, "seconds of search for a better preset", 1)
    include = _query("include", {"enum": ["sounds"]}, "add both sounds to the JSON, as WAV in base64", "sounds")
    analysis = _query("analysis", {"enum": list(ANALYSES)}, "analysis, by default the model's", next(iter(ANALYSES)))
    preset = {JSON: {"schema": ref("PresetRequest"), "example": example_preset()}}
    errors = (400, 401, 404, 406, *_BODY)
    paths: Json = {}
    for base, tag, where in _bases():
        paths[f"{base}:match"] = {
            "post": _operation(
                f"match{tag}",
                "Preset of a sound file, or of several files in a form",
                {JSON: {"anyOf": [ref("Match"), ref("Matches")]}, WAV: {}, "text/event-stream": TEXT},
                (*errors, 409, 503),
                [*where, refine, include],
                sounds | {"multipart/form-data": form, JSON: started},
            )
        }
        rendered, named = {WAV: {}, JSON: ref("Rendered")}, (*errors, 503) if tag else errors
        paths[f"{base}:render"] = {
            "post": _operation(f"render{tag}", "Sound of a preset", rendered, named, where, preset)
        }
        features, text = {JSON: ref("Analysed"), RAW: {}}, "Features of a sound file"
        analyse = _operation(f"analyse{tag}", text, features, (*errors, 503), [*where, analysis], sounds)
        paths[f"{base}:analyse"] = {"post": analyse}
    return paths


def _bases() -> list[tuple[str, str, list[Json]]]:
    """Return the paths that name the model, with the end of their operations' names and their parameters."""
    return [
        (base, name.capitalize(), [_path(name, example)] if name else [])
        for base, name, example in zip(BASES, ("", "version", "label"), ("", "1", "stable"), strict=True)
    ]


def _open_inference(card: ModelCard) -> Json:
    ready = {JSON: {"type": "object"}}
    paths: Json = {
        "/v2": {"get": _operation("serverMetadata", "Name, version and extensions", ready, (), free=True)},
        "/v2/health/live": {"get": _operation("serverLive", "Whether the server runs", ready, (), free=True)},
        "/v2/health/ready": {"get": _operation("serverReady", "Whether a model is ready", ready, (503,), free=True)},
    }

    def request(zeros: Any) -> Json:
        return {"inputs": [{"name": "in_fft", "datatype": "FP32", "shape": [1, *card.feature_shape], "data": [zeros]}]}

    length = {"name": LENGTH_HEADER, "in": "header", "schema": {"type": "integer", "minimum": 0}}
    length["description"] = "length of the JSON in front of binary tensors, bytes"
    body = {JSON: {"schema": ref("InferRequest"), **_features_example(card, request)}, RAW: {"schema": {}}}
    answer = {JSON: ref("InferAnswer"), RAW: {}}
    for base, tag in (("/v2/models/{model}", ""), ("/v2/models/{model}/versions/{version}", "Version")):
        where = [_path("model", MODEL_NAME)] + ([_path("version", "1")] if tag else [])
        errors = (401, 404, 503)
        paths[base] = {"get": _operation(f"modelMetadata{tag}", "Inputs and outputs", ready, errors, where)}
        paths[f"{base}/ready"] = {"get": _operation(f"modelReady{tag}", "Whether it is ready", ready, errors, where)}
        all_errors = (400, *errors, *_BODY)
        infer = _operation(f"modelInfer{tag}", "Outputs of features", answer, all_errors, [*where, length], body)
        paths[f"{base}/infer"] = {"post": infer}
    return paths


def _operation(
    name: str,
    summary: str,
    answers: dict[str, Json],
    errors: tuple[int, ...],
    parameters: Any = (),
    body: Json | None = None,
    *,
    free: bool = False,
) -> Json:
    """Return an operation.

    Args:
        name: its identifier.
        summary: one line.
        answers: schema of the answer by media type.
        errors: statuses of ``ERRORS``.
        parameters: of its path, query and headers.
        body: media types of the request's body.
        free: needs no token.
    """
    headers = {MODEL_HEADER: {"schema": TEXT, "description": "the model that answered"}} if "predict" in name else {}
    answer: Json = {"description": "the answer"}
    answer["content"] = {kind: {"schema": schema} for kind, schema in answers.items()}
    responses: Json = {"200": answer | ({"headers": headers} if headers else {})}
    responses |= {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in sorted(errors)}
    operation: Json = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    if free:
        operation["security"] = []
    return operation


def _error(status: int, text: str) -> Json:
    response: Json = {"description": text, "content": {JSON: {"schema": ref("Error"), "example": {"error": text}}}}
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return response


def _path(name: str, example: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": TEXT, "example": example}


def _query(name: str, schema: Json, text: str, example: Any) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": text, "example": example}


def _features_example(card: ModelCard, request: Any) -> Json:
    """Return an example with silence, unless it would be long."""
    frames, bins = card.feature_shape
    return {"example": request([[0.0] * bins] * frames)} if frames * bins <= 100 else {}
