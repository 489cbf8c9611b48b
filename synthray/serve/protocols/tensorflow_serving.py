"""TensorFlow Serving's REST API, which its clients use unchanged.

GET  /v1/models/synthray            status of the served models
GET  /v1/models/synthray/metadata   inputs, outputs and parameters
POST /v1/models/synthray:predict    outputs of features, which are JSON or raw float32

Each path also exists below ``/v1/models/synthray/versions/<number>`` and ``/v1/models/synthray/labels/<label>``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from synthray.serve.http.body import RAW, read_body, require_json_type
from synthray.serve.http.responses import json_response, model_header
from synthray.serve.metrics import timed
from synthray.serve.models.served import BASES
from synthray.serve.protocols.decode import decode_json, decode_raw
from synthray.serve.protocols.encode import encode_metadata, encode_predictions, encode_status
from synthray.serve.service import model_for, service_of

INLINE_BYTES = 2**17
"""A raw body up to this size is decoded in less time than a change of thread takes."""
INLINE_SOUNDS = 4
"""Up to this many answers, encoding is faster than a change of thread."""


class _Segment(StringConvertor):
    """A part of a path in front of ``:predict`` or another verb."""

    regex = "[^/:]+"


register_url_convertor("segment", _Segment())


def routes(verbs: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> list[Route]:
    """Return the routes, the busiest one first.

    Args:
        verbs: endpoints of further verbs, such as ``:match``, which take the same paths as ``:predict``.
    """
    return [
        route
        for base in BASES
        for route in (
            Route(f"{base}:predict", predict, methods=["POST"]),
            *(Route(f"{base}:{verb}", endpoint, methods=["POST"]) for verb, endpoint in verbs.items()),
            Route(f"{base}/metadata", metadata),
            Route(base, status),
        )
    ]


async def status(request: Request) -> Response:
    """Return the state of the served models, of which a path may name one."""
    models = service_of(request).models
    named = model_for(request)
    served = (named,) if request.path_params else models.served
    return json_response(encode_status(served, models.last_error))


async def metadata(request: Request) -> Response:
    """Return the shapes of inputs and outputs, the parameter table, and the limits that a client should know."""
    return json_response(encode_metadata(model_for(request), service_of(request).config))


async def predict(request: Request) -> Response:
    """Return the outputs of features."""
    service, served = service_of(request), model_for(request)
    kind = require_json_type(request, f" or {RAW} (float32)")
    body = await read_body(request, service.config)
    shape = (served.predictor.frames, served.predictor.bins)
    with timed(service.metrics, "decode", served):
        if kind != RAW:
            features, in_rows = await run_in_threadpool(decode_json, body, shape)
        elif len(body) > INLINE_BYTES:
            features, in_rows = await run_in_threadpool(decode_raw, body, shape), True
        else:
            features, in_rows = decode_raw(body, shape), True
    outputs = await service.batcher.predict(served, features)
    if len(features) <= INLINE_SOUNDS:
        text = encode_predictions(outputs, in_rows=in_rows)
    else:
        text = await run_in_threadpool(encode_predictions, outputs, in_rows=in_rows)
    return Response(text, media_type="application/json", headers=model_header(served))
