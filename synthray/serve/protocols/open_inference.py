"""The Open Inference Protocol, version 2, over HTTP.

GET  /v2                               name and extensions of the server
GET  /v2/health/live, /v2/health/ready
GET  /v2/models/synthray               inputs and outputs
GET  /v2/models/synthray/ready
POST /v2/models/synthray/infer         outputs of features, in JSON or as binary tensors

The paths of a model also exist below ``/v2/models/synthray/versions/<number>``. ``grpc_inference.py``
has the protocol over gRPC.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from synthray import __version__
from synthray.serve.http.body import JSON, RAW, read_body, require_json_type
from synthray.serve.http.responses import json_response, model_header
from synthray.serve.metrics import timed
from synthray.serve.models.served import MODEL_NAME, Served, require_name
from synthray.serve.protocols.infer_codec import LENGTH_HEADER, decode_infer, encode_infer
from synthray.serve.protocols.tensors import EXTENSIONS, SERVER_NAME, model_metadata
from synthray.serve.service import model_for, service_of


def routes() -> list[Route]:
    """Return the routes."""
    models = "/v2/models/{model}"
    return [
        Route("/v2", server_metadata),
        Route("/v2/health/live", server_live),
        Route("/v2/health/ready", server_ready),
        *(
            route
            for base in (models, f"{models}/versions/{{version}}")
            for route in (
                Route(f"{base}/infer", infer, methods=["POST"]),
                Route(f"{base}/ready", model_ready),
                Route(base, metadata),
            )
        ),
    ]


async def server_metadata(request: Request) -> Response:  # noqa: ARG001
    """Return the name and version of the server, and the extensions that it supports."""
    return json_response({"name": SERVER_NAME, "version": __version__, "extensions": list(EXTENSIONS)})


async def server_live(request: Request) -> Response:  # noqa: ARG001
    """Return ``{"live": true}``."""
    return json_response({"live": True})


async def server_ready(request: Request) -> Response:
    """Return ``{"ready": true}``; raise RequestError 503 if no model is ready."""
    model_for(request)
    return json_response({"ready": True})


async def model_ready(request: Request) -> Response:
    """Return the model's name and ``"ready": true``; raise RequestError 503 if it is not ready."""
    _named_model(request)
    return json_response({"name": MODEL_NAME, "ready": True})


async def metadata(request: Request) -> Response:
    """Return the inputs and outputs of the model."""
    return json_response(model_metadata(service_of(request).models, _named_model(request)))


async def infer(request: Request) -> Response:
    """Return the outputs of features."""
    service, served = service_of(request), _named_model(request)
    require_json_type(request, f", or {RAW} with {LENGTH_HEADER}")
    body = await read_body(request, service.config)
    with timed(service.metrics, "decode", served):
        card = served.predictor.card
        decoded = await run_in_threadpool(decode_infer, body, request.headers.get(LENGTH_HEADER), card)
    outputs = await service.batcher.predict(served, decoded.features)
    answer, json_length = await run_in_threadpool(encode_infer, decoded, outputs, served)
    headers = model_header(served)
    if json_length is None:
        return Response(answer, media_type=JSON, headers=headers)
    return Response(answer, media_type=RAW, headers=headers | {LENGTH_HEADER: str(json_length)})


def _named_model(request: Request) -> Served:
    require_name(request.path_params["model"])
    return model_for(request)
