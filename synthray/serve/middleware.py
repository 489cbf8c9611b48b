"""Middleware of the application: metrics of each request, CORS, and bearer tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthray.serve.http.access import refusal
from synthray.serve.http.responses import KINDS, MODEL_HEADER, SHAPE_HEADER, SOUND_HEADER, json_response
from synthray.serve.models.served import model_labels
from synthray.serve.protocols.infer_codec import LENGTH_HEADER

if TYPE_CHECKING:
    from synthray.serve.service import Service


def middleware(service: Service) -> list[Middleware]:
    """Return the middleware of a service, the outermost first."""
    layers = [Middleware(RequestMetrics, service)]
    if service.config.allow_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=service.config.allow_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-encoding", "content-type", LENGTH_HEADER],
                expose_headers=["retry-after", LENGTH_HEADER, MODEL_HEADER, SOUND_HEADER, SHAPE_HEADER],
            )
        )
    if service.tokens:
        layers.append(Middleware(RequireToken, service))
    return layers


class RequestMetrics:
    """Counts requests, measures their time, and frees the memory of their bodies."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics, self._body_memory = app, service.metrics, service.body_memory
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # if the application fails before it answers

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started_s = time.perf_counter()
        self._count(1)
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            self._count(-1)
            self._body_memory.release(scope)
            route = getattr(scope.get("endpoint"), "__name__", "none")
            model = model_labels(scope.get("state", {}).get("served"))
            self._metrics.add("requests_total", route=route, status=str(status), **model)
            self._metrics.observe("request_seconds", time.perf_counter() - started_s, route=route, **model)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._metrics.set("in_flight", self._in_flight)


class RequireToken:
    """Answers requests without a valid token with 401."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._tokens, self._metrics = app, service.tokens, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "http" and (reason := refusal(Headers(scope=scope), scope["path"], self._tokens)):
            self._metrics.add("errors_total", kind=KINDS[401])
            response = json_response({"error": reason}, 401, {"www-authenticate": "Bearer"})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)
