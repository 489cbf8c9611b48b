"""The HTTP application: TensorFlow Serving's REST shape for features, and sounds to presets. No Ray.

    GET  /v1/models/synthray             which model answers
    GET  /v1/models/synthray/metadata    its inputs, outputs and parameters
    POST /v1/models/synthray:predict     features, as JSON or raw float32, to outputs
    POST /v1/models/synthray:match       a WAV, FLAC or OGG file to a preset, or to the preset's sound; of a longer
                                         one than is matched the header x-synthray-cut tells
    GET  /healthz                        whether it is ready
    GET  /                               a page to drop a sound on

Handlers decode, predict and encode; each long step runs in a thread, so that the event loop stays free.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from synthray.errors import ModelError, SoundError
from synthray.match.sound import match_settings, match_sound, require_instrument
from synthray.serve.config import AppConfig
from synthray.serve.decode import RequestError, decode_json, decode_raw
from synthray.serve.encode import encode_metadata, encode_predictions, encode_status, model_version
from synthray.serve.request_body import RAW, UNSTATED, content_type, prefers_wav, read_body
from synthray.synth.instrument import DURATION_S
from synthray.synth.voice import render

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

logger = logging.getLogger(__name__)

MODEL_NAME = "synthray"
CUT = "x-synthray-cut"
JSON_TYPES = ("application/json", "text/plain", *UNSTATED)


class Models(Protocol):
    """Where the application finds the model of the moment: it may be swapped between two requests."""

    @property
    def predictor(self) -> Predictor | None:
        """The model that answers; None until the first one is ready."""

    @property
    def failed(self) -> str | None:
        """Why the model that was asked for last is not the one that answers; None when it is."""

    async def predict(self, predictor: Predictor, features: np.ndarray) -> dict[str, np.ndarray]:
        """``predictor.predict(features)``, possibly together with other requests."""


@dataclass(frozen=True)
class OneModel:
    """Models that never change: for tests, and for any other ASGI server."""

    predictor: Predictor | None
    failed: str | None = None

    async def predict(self, predictor: Predictor, features: np.ndarray) -> dict[str, np.ndarray]:
        """Predict in a thread, each request by itself."""
        return await run_in_threadpool(predictor.predict, features)


def build_app(models: Models, config: AppConfig | None = None) -> Starlette:
    """The ASGI application that answers with what ``models`` has."""
    handlers = _Handlers(models, config or AppConfig())
    base, versioned = f"/v1/models/{MODEL_NAME}", f"/v1/models/{MODEL_NAME}/versions/{{version}}"
    routes = [
        Route("/", handlers.page),
        Route("/healthz", handlers.health),
        Route(f"{base}:match", handlers.match, methods=["POST"]),
    ]
    for path in (base, versioned):
        routes += [
            Route(path, handlers.status),
            Route(f"{path}/metadata", handlers.metadata),
            Route(f"{path}:predict", handlers.predict, methods=["POST"]),
        ]
    # The longest first: {version} would also take "7:predict" for a version.
    routes.sort(key=lambda route: -len(route.path))
    return Starlette(routes=routes, exception_handlers=_EXCEPTION_HANDLERS)


class _Handlers:
    def __init__(self, models: Models, config: AppConfig) -> None:
        self._models, self._limit = models, config.max_body_bytes

    async def health(self, request: Request) -> Response:
        predictor = self._predictor(request)
        return _json({"status": "ok", "model": predictor.card.name})

    async def status(self, request: Request) -> Response:
        return _json(encode_status(self._predictor(request).card, self._models.failed))

    async def metadata(self, request: Request) -> Response:
        return _json(encode_metadata(self._predictor(request).card, MODEL_NAME))

    async def predict(self, request: Request) -> Response:
        predictor = self._predictor(request)
        kind = content_type(request)
        if kind != RAW and kind not in JSON_TYPES:
            raise RequestError(415, f"content-type is {kind!r}, expected application/json or {RAW} (float32)")
        body = await read_body(request, self._limit)
        shape = (predictor.frames, predictor.bins)
        if kind == RAW:
            features, in_rows = decode_raw(body, shape), True
        else:
            features, in_rows = await run_in_threadpool(decode_json, body, shape)
        outputs = await self._models.predict(predictor, features)
        text = await run_in_threadpool(_encode, outputs, in_rows)
        return Response(text, media_type="application/json", headers=_model_header(predictor))

    async def match(self, request: Request) -> Response:
        predictor = self._predictor(request)
        require_instrument(predictor)
        kind = content_type(request)
        if not kind.startswith("audio/") and kind not in (RAW, "application/ogg", *UNSTATED):
            raise RequestError(415, f"content-type is {kind!r}, expected an audio file as the body (audio/wav)")
        wants_wav = prefers_wav(request)
        body = await read_body(request, self._limit)
        answer, lasts_s = await run_in_threadpool(_match_wav if wants_wav else _match_json, predictor, body)
        media_type = "audio/wav" if wants_wav else "application/json"
        return Response(answer, media_type=media_type, headers=_model_header(predictor) | _cut_header(lasts_s))

    async def page(self, _: Request) -> Response:
        html = resources.files("synthray.serve").joinpath("page/index.html").read_bytes()
        return Response(html, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)

    def _predictor(self, request: Request) -> Predictor:
        predictor = self._models.predictor
        if predictor is None:
            raise RequestError(503, "no model is ready yet; try again in a few seconds")
        version = request.path_params.get("version")
        if version not in (None, known := model_version(predictor.card)):
            raise RequestError(404, f"{MODEL_NAME} has no version {version!r}; the one that answers is {known}")
        return predictor


_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "media-src 'self' blob:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def _encode(outputs: dict[str, np.ndarray], in_rows: bool) -> bytes:
    return json.dumps(encode_predictions(outputs, in_rows=in_rows), separators=(",", ":")).encode()


def _match_json(predictor: Predictor, body: bytes) -> tuple[bytes, float]:
    """The preset as JSON, and how many seconds the sound lasts."""
    audio, lasts_s = _sound(body)
    told = {"lasts_s": round(lasts_s, 3), "matched_s": min(DURATION_S, round(lasts_s, 3))}
    return json.dumps({"preset": match_sound(predictor, audio), "sound": told}).encode(), lasts_s


def _match_wav(predictor: Predictor, body: bytes) -> tuple[bytes, float]:
    """The preset's sound as a WAV file, and how many seconds the sound that was sent lasts."""
    from synthray.synth.sound_file import write_wav

    audio, lasts_s = _sound(body)
    buffer = io.BytesIO()
    write_wav(buffer, render(match_settings(predictor, audio)[None])[0])
    return buffer.getvalue(), lasts_s


def _sound(body: bytes) -> tuple[np.ndarray, float]:
    from synthray.synth.sound_file import duration_s, read_sound

    if not body:
        raise SoundError("the body is empty, expected an audio file (curl --data-binary @sound.wav)")
    return read_sound(body), duration_s(body)


def _model_header(predictor: Predictor) -> dict[str, str]:
    return {"x-synthray-model": predictor.card.name.encode("ascii", "replace").decode()}


def _cut_header(lasts_s: float) -> dict[str, str]:
    from synthray.synth.sound_file import CUT_FROM_S

    return {CUT: f"{DURATION_S:.1f} of {lasts_s:.1f} s"} if lasts_s >= CUT_FROM_S else {}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type="application/json")


def _refusal(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(_: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, status)

    return handle


async def _on_request_error(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, getattr(error, "status", 400))


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    messages = {
        404: f"there is nothing at {request.url.path}; the model is at /v1/models/{MODEL_NAME}",
        405: f"{request.method} is not for {request.url.path}",
    }
    message = messages.get(status) or str(getattr(error, "detail", "")) or HTTPStatus(status).phrase
    return _json({"error": message}, status, getattr(error, "headers", None))


async def _on_unforeseen(_: Request, error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    return _json({"error": "the server failed; its log says how"}, 500)


_EXCEPTION_HANDLERS = {
    RequestError: _on_request_error,
    SoundError: _refusal(400),
    ModelError: _refusal(409),
    ClientDisconnect: _refusal(400),
    HTTPException: _on_http_error,
    Exception: _on_unforeseen,
}
