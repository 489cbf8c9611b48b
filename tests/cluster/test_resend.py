"""The middleware of Serve's proxies that sends a request again. Needs no Ray; a real kill is in test_serving.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synthray.cluster.resend import ATTEMPTS, MAX_RECORDED_BYTES, Resend

pytestmark = pytest.mark.faults

PATH = "/v1/models/synthray:predict"


class Replicas:
    """An application that dies without a response on the first requests."""

    def __init__(self, deaths: int, status: int = 200) -> None:
        self.deaths, self.status, self.bodies = deaths, status, []

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        if len(self.bodies) > self.deaths:
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": b"answer", "more_body": False})


def call(app: Any, blocks: list[bytes], path: str = PATH) -> list[dict]:
    """Return the messages of the response to a body of ``blocks``."""
    sent: list[dict] = []
    left = [
        {"type": "http.request", "body": block, "more_body": number < len(blocks) - 1}
        for number, block in enumerate(blocks)
    ]

    async def receive() -> dict:
        return left.pop(0)

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(Resend(app)({"type": "http", "path": path}, receive, send))
    return sent


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthray.cluster.resend.PAUSE_S", 0)


@pytest.mark.parametrize("deaths", range(ATTEMPTS))
def test_resend_after_deaths_returns_one_whole_answer(deaths: int) -> None:
    app = Replicas(deaths)
    sent = call(app, [b"ab", b"cd", b""])
    assert [message.get("status", message.get("body")) for message in sent] == [200, b"answer"]
    assert app.bodies == [b"abcd"] * (deaths + 1)


def test_resend_gives_up_after_some_attempts() -> None:
    app = Replicas(99)
    assert call(app, [b"ab"]) == []
    assert len(app.bodies) == ATTEMPTS


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_resend_keeps_answers_of_the_application(status: int) -> None:
    app = Replicas(0, status)
    assert call(app, [b"ab"])[0]["status"] == status
    assert len(app.bodies) == 1


class NewProxy:
    """An application of a proxy that knows the service only after some requests."""

    def __init__(self, unknown: int) -> None:
        self.unknown, self.requests = unknown, 0

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        self.requests += 1
        status, kind = (
            (404, b"text/plain; charset=utf-8") if self.requests <= self.unknown else (200, b"application/json")
        )
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({"type": "http.response.body", "body": b"rest", "more_body": False})


@pytest.mark.parametrize("unknown", [0, 1, ATTEMPTS + 3])
def test_resend_waits_for_a_proxy_that_has_just_started(unknown: int) -> None:
    app = NewProxy(unknown)
    sent = call(app, [b"ab"])
    assert [message.get("status", message.get("body")) for message in sent] == [200, b"part", b"rest"]
    assert app.requests == unknown + 1


def test_resend_gives_up_on_deaths_after_a_start() -> None:
    dead, new = Replicas(99), NewProxy(1)

    async def app(scope: dict, receive: Any, send: Any) -> None:
        await (new if new.requests < 1 else dead)(scope, receive, send)

    assert call(app, [b"ab"]) == []
    assert len(dead.bodies) == ATTEMPTS


def test_resend_passes_on_that_a_cluster_has_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthray.cluster.resend.ROUTES_TIMEOUT_S", 0.05)
    app = NewProxy(10**9)
    sent = call(app, [b"ab"])
    assert [message.get("status", message.get("body")) for message in sent] == [404, b"part", b"rest"]
    assert app.requests > 1


def test_resend_keeps_a_404_of_the_service() -> None:
    app = Replicas(0, 404)
    assert call(app, [b"ab"])[0]["status"] == 404
    assert len(app.bodies) == 1


@pytest.mark.parametrize("path", ["/pay", "/v2", "/v2/models/other/infer", "/v1/models/synthray2:predict", "/healthz2"])
def test_resend_leaves_other_applications_alone(path: str) -> None:
    app = Replicas(1)
    assert call(app, [b"ab"], path=path) == []
    assert len(app.bodies) == 1


def test_resend_keeps_no_long_body() -> None:
    app = Replicas(1)
    assert call(app, [b"x" * MAX_RECORDED_BYTES, b"x"]) == []
    assert len(app.bodies) == 1
