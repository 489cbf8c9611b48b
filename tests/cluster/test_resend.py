"""The middleware of Serve's proxies that sends a request again. Needs no Ray; a real kill is in test_serving.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synthray.cluster.resend import ATTEMPTS, MAX_RECORDED_BYTES, PATHS, Resend

PATH = f"{PATHS[0]}:predict"
JSON, TEXT = b"application/json", b"text/plain"


class Replicas:
    """An application whose first answers have the given statuses and content types; the later ones are 200."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers, self.bodies = list(answers), []

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        status, kind = self.answers.pop(0) if self.answers else (200, JSON)
        await send({"type": "http.response.start", "status": status, "headers": [(b"Content-Type", kind)]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await send({"type": "http.response.body", "body": b"last", "more_body": False})


def call(app: Replicas, blocks: list[bytes], path: str = PATH) -> list[dict]:
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


@pytest.mark.parametrize("failures", range(1, ATTEMPTS))
def test_resend_after_failures_of_serve_returns_one_whole_answer(failures: int) -> None:
    app = Replicas(*[(500, TEXT)] * failures)
    sent = call(app, [b"ab", b"cd", b""])
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 2]
    assert sent[0]["status"] == 200
    assert app.bodies == [b"abcd"] * (failures + 1)


def test_resend_gives_up_after_some_attempts() -> None:
    app = Replicas(*[(500, TEXT)] * 99)
    sent = call(app, [b"ab"])
    assert [message.get("status", message.get("body")) for message in sent] == [500, b"first", b"last"]
    assert len(app.bodies) == ATTEMPTS


@pytest.mark.parametrize("answer", [(200, JSON), (400, JSON), (429, TEXT), (500, JSON), (503, JSON)])
def test_resend_keeps_other_answers(answer: tuple[int, bytes]) -> None:
    app = Replicas(answer)
    assert call(app, [b"ab"])[0]["status"] == answer[0]
    assert len(app.bodies) == 1


def test_resend_leaves_other_applications_alone() -> None:
    app = Replicas((500, TEXT))
    assert call(app, [b"ab"], path="/pay")[0]["status"] == 500
    assert len(app.bodies) == 1


def test_resend_keeps_no_long_body() -> None:
    app = Replicas((500, TEXT))
    assert call(app, [b"x" * MAX_RECORDED_BYTES, b"x"])[0]["status"] == 500
    assert len(app.bodies) == 1
