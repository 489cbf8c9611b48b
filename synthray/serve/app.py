"""The HTTP application: TensorFlow Serving's REST API for features, and matching of sounds.

    GET  /v1/models/synthray             status of the served model
    GET  /v1/models/synthray/metadata    its inputs, outputs and parameters
    POST /v1/models/synthray:predict     outputs of features, which are JSON or raw float32
    POST /v1/models/synthray:match       preset of a sound file, or the preset's sound
    GET  /healthz                        readiness
    GET  /                               web page that matches a dropped sound file

Handlers decode, predict and encode. Each long step runs in a thread, because the event loop must stay free. The
response header x-synthray-sound says which part of a file was matched. Ray Serve is ``synthray.cluster.deployment``'s
concern.
"""

from __future__ import annotations

import io
import json
import logging
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

from synthray.errors import ModelError, RequestError, SoundError
from synthray.model.saved import model_version
from synthray.serve.config import MAX_BODY_BYTES
from synthray.serve.decode import decode_json, decode_raw
from synthray.serve.encode import encode_metadata, encode_predictions, encode_status
from synthray.serve.request_body import RAW, UNSTATED, content_type, prefers_wav, read_body

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

# Sound and matching modules are imported in functions: the job that deploys the service does not need them.

logger = logging.getLogger(__name__)

MODEL_NAME = "synthray"
SOUND_HEADER = "x-synthray-sound"
MODEL_HEADER = "x-synthray-model"
JSON_TYPES = ("application/json", "text/plain", *UNSTATED)


class ServedModel(Protocol):
    """The application's source of the model, which may be swapped between two requests."""

    @property
    def predictor(self) -> Predictor | None:
        """The served model; None until the first one is ready."""

    @property
    def last_error(self) -> str | None:
        """The reason why the configured or promoted model is not served; None if it is."""

    async def predict(self, predictor: Predictor, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``predictor.predict(features)``, possibly in a batch with other requests."""


@dataclass(frozen=True)
class FixedModel:
    """A model that is never swapped, for tests and for other ASGI servers."""

    predictor: Predictor | None
    last_error: str | None = None

    async def predict(self, predictor: Predictor, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``predictor.predict(features)``, computed in a thread."""
        return await run_in_threadpool(predictor.predict, features)


def build_app(model: ServedModel, max_body_bytes: int = MAX_BODY_BYTES) -> Starlette:
    """Return the ASGI application that serves ``model``."""
    handlers = _Handlers(model, max_body_bytes)
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
    # Longest path first, because {version} would also match "7:predict".
    routes.sort(key=lambda route: -len(route.path))
    return Starlette(routes=routes, exception_handlers=_EXCEPTION_HANDLERS)


class _Handlers:
    def __init__(self, model: ServedModel, max_body_bytes: int) -> None:
        self._model, self._limit = model, max_body_bytes

    async def health(self, request: Request) -> Response:
        predictor = self._predictor(request)
        return _json({"status": "ok", "model": predictor.card.name})

    async def status(self, request: Request) -> Response:
        return _json(encode_status(self._predictor(request).card, self._model.last_error))

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
        outputs = await self._model.predict(predictor, features)
        text = await run_in_threadpool(_encode, outputs, in_rows)
        return Response(text, media_type="application/json", headers=_model_header(predictor))

    async def match(self, request: Request) -> Response:
        from synthray.match.sound import require_instrument

        predictor = self._predictor(request)
        require_instrument(predictor)
        kind = content_type(request)
        if not kind.startswith("audio/") and kind not in (RAW, "application/ogg", *UNSTATED):
            raise RequestError(415, f"content-type is {kind!r}, expected an audio file as the body (audio/wav)")
        wants_wav = prefers_wav(request)
        body = await read_body(request, self._limit)
        answer, durations = await run_in_threadpool(_match, predictor, body, wants_wav)
        media_type = "audio/wav" if wants_wav else "application/json"
        return Response(answer, media_type=media_type, headers=_model_header(predictor) | _sound_header(durations))

    async def page(self, _: Request) -> Response:
        html = resources.files("synthray.serve").joinpath("page/index.html").read_bytes()
        return Response(html, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)

    def _predictor(self, request: Request) -> Predictor:
        predictor = self._model.predictor
        if predictor is None:
            raise RequestError(503, "no model is ready yet; retry in a few seconds")
        version = request.path_params.get("version")
        if version not in (None, served := model_version(predictor.card)):
            raise RequestError(404, f"{MODEL_NAME} has no version {version!r}; version {served} is served")
        return predictor


_PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "media-src 'self' blob:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def _encode(outputs: dict[str, np.ndarray], in_rows: bool) -> bytes:
    return json.dumps(encode_predictions(outputs, in_rows=in_rows), separators=(",", ":")).encode()


def _match(predictor: Predictor, body: bytes, wants_wav: bool) -> tuple[bytes, dict[str, float | None]]:
    """Return the preset of a sound file as JSON, or the preset's sound as a WAV file, and ``Sound.to_json()``."""
    from synthray.match.match import match
    from synthray.synth.sound_file import read_sound, write_wav
    from synthray.synth.voice import render

    if not body:
        raise SoundError("the body is empty, expected an audio file (curl --data-binary @sound.wav)")
    sound = read_sound(body)
    durations = sound.to_json()
    found = match(predictor, sound.audio)
    if wants_wav:
        wav = io.BytesIO()
        write_wav(wav, render(found.settings[None])[0])
        return wav.getvalue(), durations
    preset = found.to_json(model=predictor.card.name)
    return json.dumps({"preset": preset, "sound": durations}).encode(), durations


def _model_header(predictor: Predictor) -> dict[str, str]:
    return {MODEL_HEADER: predictor.card.name.encode("ascii", "replace").decode()}


def _sound_header(durations: dict[str, float | None]) -> dict[str, str]:
    """Return the known durations as a dictionary of structured fields (RFC 9651): ``skipped_s=0.52, used_s=2.0``."""
    return {SOUND_HEADER: ", ".join(f"{name}={value}" for name, value in durations.items() if value is not None)}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type="application/json")


async def _on_error(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 409 if isinstance(error, ModelError) else getattr(error, "status", 400))


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    messages = {
        404: f"{request.url.path} does not exist; the model is at /v1/models/{MODEL_NAME}",
        405: f"{request.url.path} does not support {request.method}",
    }
    message = messages.get(status) or str(getattr(error, "detail", "")) or HTTPStatus(status).phrase
    return _json({"error": message}, status, getattr(error, "headers", None))


async def _on_unexpected_error(_: Request, error: Exception) -> Response:
    logger.error("unexpected error in a request", exc_info=error)
    return _json({"error": "internal error; see the server's log"}, 500)


_EXCEPTION_HANDLERS = {
    **dict.fromkeys((RequestError, SoundError, ModelError, ClientDisconnect), _on_error),
    HTTPException: _on_http_error,
    Exception: _on_unexpected_error,
}
