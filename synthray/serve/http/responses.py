"""Responses in JSON, and the responses for errors."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from synthray.errors import Busy, ModelError, RequestError, SoundError
from synthray.serve.models.served import MODEL_NAME, Served

logger = logging.getLogger(__name__)

KINDS = {
    400: "invalid",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    413: "too_large",
    415: "unsupported_type",
    429: "busy",
    503: "not_ready",
}
"""Kinds of rejected requests, by the status of the answer."""
INTERNAL_ERROR = "internal error; see the server's log"
MODEL_HEADER = "x-synthray-model"
SOUND_HEADER = "x-synthray-sound"
SHAPE_HEADER = "x-synthray-shape"


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with ``value`` as JSON, without spaces."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # A client may send halves of surrogate pairs, which UTF-8 cannot express.
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="application/json")


def model_header(served: Served) -> dict[str, str]:
    """Return the header that names the model, in ASCII."""
    return {MODEL_HEADER: served.predictor.card.name.encode("ascii", "replace").decode()}


def status_of(error: BaseException) -> int:
    """Return the HTTP status for an error that synthray raised."""
    if isinstance(error, RequestError):
        return error.status
    return 409 if isinstance(error, ModelError) else 400


def error_kind(error: BaseException) -> str:
    """Return the kind of an error for metrics: one of ``KINDS``, or sound, model, disconnected or internal."""
    if isinstance(error, RequestError | HTTPException):
        return KINDS.get(error.status if isinstance(error, RequestError) else error.status_code, "invalid")
    kinds = {SoundError: "sound", ModelError: "model", ClientDisconnect: "disconnected"}
    return next((kind for cls, kind in kinds.items() if isinstance(error, cls)), "internal")


async def _on_error(request: Request, error: Exception) -> Response:
    _count(request, error)
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else None
    return json_response({"error": str(error)}, status_of(error), headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    _count(request, error)
    status = getattr(error, "status_code", 500)
    messages = {
        404: f"{request.scope['path']} does not exist; the model is at /v1/models/{MODEL_NAME}",
        405: f"{request.scope['path']} does not support {request.method}",
    }
    message = messages.get(status) or str(getattr(error, "detail", "")) or HTTPStatus(status).phrase
    return json_response({"error": message}, status, getattr(error, "headers", None))


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    _count(request, error)
    logger.error("unexpected error in a request", exc_info=error)
    return json_response({"error": INTERNAL_ERROR}, 500)


def _count(request: Request, error: Exception) -> None:
    request.app.state.service.metrics.add("errors_total", kind=error_kind(error))


EXCEPTION_HANDLERS = {
    **dict.fromkeys((RequestError, SoundError, ModelError, ClientDisconnect), _on_error),
    HTTPException: _on_http_error,
    Exception: _on_unexpected_error,
}
