"""Middleware that resends the requests of a killed replica to another one.

Ray Serve sends no request again once a replica has taken it. If the replica is killed, the proxy's application returns
without a response. All requests of the service may be sent again, because they change nothing. Serve's proxies load
this middleware where ``SETTING`` is in their environment, so it must be set where Ray is started.
"""

from __future__ import annotations

import asyncio
import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SETTING = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "synthray.cluster.resend:middleware"}
"""Environment variable of the nodes on which proxies run."""
PATHS = re.compile(r"/(v1/models/synthray|v2/models/synthray|v2/health|healthz)([/:]|$)")
"""Paths of the service; a cluster may serve other applications too."""
ATTEMPTS = 4
PAUSE_S = 0.1
"""Time before the next attempt, in which Serve notices that a replica has died."""
MAX_RECORDED_BYTES = 2**20
"""A longer body is not kept, so a request with one is not sent again."""


def middleware() -> list[Middleware]:
    """Return the middleware for Serve's proxies."""
    return [Middleware(Resend)]


class Resend:
    """Sends a request again that ended without a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not PATHS.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        request, response = _RecordedRequest(receive), _Response(send)
        for _ in range(ATTEMPTS):
            await self._app(scope, request.replay(), response)
            if response.has_started or not request.is_recorded:
                return  # without a response, the HTTP server answers 500
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
    """Notes whether a response has started."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        self.has_started = True
        await self._send(message)
