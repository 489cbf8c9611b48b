"""A request whose replica died is sent again, to another replica.

Ray Serve sends no request again once a replica has taken it: it answers 500 when the replica is killed. All requests of
the service may be sent again, because they change nothing. Serve's proxies load this middleware where ``SETTING`` is in
their environment, so it must be set where Ray is started.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SETTING = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "synthray.cluster.resend:middleware"}
"""Environment variable of the nodes on which proxies run."""
PATHS = ("/v1/models/synthray", "/v2", "/healthz")
"""Beginnings of the paths of the service; a cluster may serve other applications too."""
ATTEMPTS = 4
PAUSE_S = 0.1
"""Time before the next attempt, in which Serve notices that a replica has died."""
MAX_RECORDED_BYTES = 2**20
"""A longer body is not kept, so a request with one is not sent again."""


def middleware() -> list[Middleware]:
    """Return the middleware for Serve's proxies."""
    return [Middleware(Resend)]


class Resend:
    """Sends a request again if Serve itself answers that it failed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not scope["path"].startswith(PATHS):
            await self._app(scope, receive, send)
            return
        request = _RecordedRequest(receive)
        for attempt in range(1, ATTEMPTS + 1):
            response = _HeldFailure(send)
            await self._app(scope, request.replay(), response)
            if not response.held or attempt == ATTEMPTS or not request.is_recorded:
                await response.release()
                return
            await asyncio.sleep(PAUSE_S)


class _RecordedRequest:
    """Keeps the messages of a request's body, to receive them again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []
        self._bytes = 0
        self.is_recorded = True
        """Whether all messages so far were kept."""

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


class _HeldFailure:
    """Passes a response on, but for a failure that Serve reports."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.held: list[Message] = []
        """The messages of the failure."""

    async def __call__(self, message: Message) -> None:
        """Send or hold a message."""
        if self.held or _is_failure(message):
            self.held.append(message)
        else:
            await self._send(message)

    async def release(self) -> None:
        """Send the messages that were held."""
        for message in self.held:
            await self._send(message)


def _is_failure(message: Message) -> bool:
    """Return whether a response starts as those of Serve's proxy do; the application's own failures are JSON."""
    if message["type"] != "http.response.start" or message["status"] != HTTPStatus.INTERNAL_SERVER_ERROR:
        return False
    kinds = [value for name, value in message.get("headers", ()) if bytes(name).lower() == b"content-type"]
    return not any(bytes(kind).startswith(b"application/json") for kind in kinds)
