"""Middleware that resends the requests of a killed replica to another one.

Once a replica has taken a request, Ray Serve does not send it to another one. If the replica is killed, the proxy's
application returns without a response. A proxy that has just started, for example in place of a killed one, knows no
application yet and answers 404. All requests of the service may be sent again, because they change nothing. Serve's
proxies load this middleware if their environment has the variables ``LOCAL_RAY`` of ``local_ray.py``. So set these
variables where Ray is started.
"""

from __future__ import annotations

import asyncio
import re
import time

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthray.memory import prepare_for_requests
from synthray.serve.models.served import BASE, MODEL_NAME

PATHS = re.compile(rf"({BASE}|/v2/models/{MODEL_NAME}|/v2/health|/healthz)([/:]|$)")
"""Paths of the service; a cluster may serve other applications too."""
ATTEMPTS = 4
PAUSE_S = 0.1
"""Time before the next attempt, in which Serve notices that a replica has died."""
ROUTES_TIMEOUT_S = 3.0
"""Time that a proxy has to learn the application's address from Serve's controller."""
MAX_RECORDED_BYTES = 2**20
"""A longer body is not kept, so a request with one is not sent again."""


def middleware() -> list[Middleware]:
    """Return the middleware for Serve's proxies; a proxy calls this once, when it starts."""
    prepare_for_requests()
    return [Middleware(Resend)]


class Resend:
    """Resends a request that ended without a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not PATHS.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        request, response = _RecordedRequest(receive), _Response(send)
        deadline, attempts = time.monotonic() + ROUTES_TIMEOUT_S, 0
        while attempts < ATTEMPTS:
            response.begin(holds_unknown=time.monotonic() < deadline)
            await self._app(scope, request.replay(), response)
            if response.has_started or not request.is_recorded:
                return  # without a response, the HTTP server answers 500
            attempts += not response.held
            await asyncio.sleep(PAUSE_S)


class _RecordedRequest:
    """Keeps the messages of a request's body, to receive them again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []
        self._bytes = 0
        self.is_recorded = True
        """True while all messages received so far are kept."""

    def replay(self) -> Receive:
        """Return a function that receives the kept messages, then new ones."""
        kept = list(self._messages)

        async def receive() -> Message:
            if kept:
                return kept.pop(0)
            message = await self._receive()
            self._bytes += len(message.get("body", b""))
            if self._bytes > MAX_RECORDED_BYTES or message["type"] != "http.request":
                self.is_recorded = False  # too long, or the client has left
                self._messages.clear()
            else:
                self._messages.append(message)
            return message

        return receive


class _Response:
    """Notes whether a response has started, and may hold back the 404 of a proxy that knows no application yet."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._holds_unknown = False
        self.has_started = False
        self.held = False
        """True if the response of this attempt was held back."""

    def begin(self, *, holds_unknown: bool) -> None:
        """Begin an attempt; ``holds_unknown`` holds back a 404 of the proxy itself."""
        self._holds_unknown, self.held = holds_unknown, False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            self.held = self._holds_unknown and _is_unknown_route(message)
        if not self.held:
            self.has_started = True
            await self._send(message)


def _is_unknown_route(start: Message) -> bool:
    """Return whether a response is the proxy's own 404: it is plain text, and the service's is JSON."""
    types = [value for name, value in start.get("headers", ()) if name.lower() == b"content-type"]
    return start["status"] == 404 and any(value.startswith(b"text/plain") for value in types)
