"""A load generator for ``serve.py``: clients with one request in flight each, over kept-alive connections.

    python benchmarks/serve_client.py REQUEST.json

It runs in a separate process and needs only the standard library. It uses uvloop if that is installed. REQUEST.json
holds the fields of :class:`Load`. The output is the fields of :class:`Answers` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

try:
    import uvloop
except ImportError:
    uvloop = None

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Load:
    """Requests to send."""

    port: int
    path: str
    body: str
    """Path of a file with the request's body."""
    content_type: str
    accept: str = "*/*"
    clients: int = 1
    seconds: float = 5.0
    requests: int = 0
    """Number of requests of each client, instead of ``seconds``."""


@dataclass
class Answers:
    """Answers received."""

    latencies_s: list[float] = field(default_factory=list)
    """Of answers with status 200."""
    errors: int = 0
    """Answers with another status, and lost connections."""
    elapsed_s: float = 0.0
    body: str = ""
    """The last answer's body, in Latin-1."""


def main() -> None:
    load = Load(**json.loads(Path(sys.argv[1]).read_text()))
    with asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(_run(load)))))


async def _run(load: Load) -> Answers:
    body = Path(load.body).read_bytes()
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nContent-Type: {load.content_type}\r\n"
        f"Accept: {load.accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    return await _send(load, request, load.seconds, load.requests)


async def _send(load: Load, request: bytes, seconds: float, requests: int) -> Answers:
    """Send requests with all clients for some seconds, or a number of requests."""
    answers, started_s = Answers(), time.perf_counter()
    deadline_s = started_s + (_TIMEOUT_S if requests else seconds)
    clients = (_client(load.port, request, requests, deadline_s, answers) for _ in range(load.clients))
    await asyncio.wait_for(asyncio.gather(*clients), seconds + _TIMEOUT_S)
    answers.elapsed_s = time.perf_counter() - started_s
    return answers


async def _client(port: int, request: bytes, requests: int, deadline_s: float, answers: Answers) -> None:
    """Send one request after another until the deadline; connect again after an error."""
    connection, sent = None, 0
    while time.perf_counter() < deadline_s and (not requests or sent < requests):
        sent_s = time.perf_counter()
        sent += 1
        try:
            if connection is None:
                connection = (await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port))[1]
            status, answers.body = await connection.post(request)
        except OSError:
            answers.errors, connection = answers.errors + 1, None
            await asyncio.sleep(0.01)
            continue
        if status == 200:
            answers.latencies_s.append(time.perf_counter() - sent_s)
        else:
            answers.errors += 1
    if connection is not None:
        connection.close()


class _Connection(asyncio.Protocol):
    """One connection, with one request in flight."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received = transport, bytearray()
        self._answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def post(self, request: bytes) -> asyncio.Future[tuple[int, str]]:
        """Send a request; the result is the answer's status and body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._received.clear()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._answer.done():
            return
        length = _LENGTH.search(self._received, 0, end + 2)
        body = self._received[end + 4 :]
        if len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n"):
            self._answer.set_result((int(self._received[9:12]), body.decode("latin-1")))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    def close(self) -> None:
        self._transport.close()


if __name__ == "__main__":
    main()
