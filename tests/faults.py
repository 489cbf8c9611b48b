"""A proxy in front of a real S3 server that injects faults into chosen requests.

    with faulty_proxy(server.endpoint_url) as proxy:
        proxy.on(status(503), method="PUT", path=r"shards/", times=3)
        ...  # talk to proxy.url instead of the server
        assert len(proxy.asked("PUT", "shards/")) == 4

The proxy forwards head and body unchanged, because the request signature covers the Host header. It handles one request
per connection, with a Content-Length or without a body, which is what boto3 sends here.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from synthray.storage import open_store

HOST = "127.0.0.1"
FOREVER = 10**9


class Cut(Exception):
    """Raised by a fault to reset the connection."""


@dataclass
class Exchange:
    """One request and the sockets on both sides of it."""

    proxy: FaultyProxy
    client: socket.socket
    method: str
    path: str
    head: bytes
    length: int
    started: bytes = b""

    def body(self, most: int | None = None) -> bytes:
        """Return the request's body, or its first ``most`` bytes."""
        wanted = self.length if most is None else min(most, self.length)
        while len(self.started) < wanted:
            received = self.client.recv(65536)
            if not received:
                raise Cut
            self.started += received
        return self.started[:wanted]

    def forward(self) -> bytes:
        """Send the request to the server and return the whole response."""
        body = self.body()
        with socket.create_connection(self.proxy.server, timeout=60) as upstream:
            upstream.sendall(self.head + body)
            response = b""
            while received := upstream.recv(65536):
                response += received
            return response


Fault = Callable[[Exchange], bytes]
"""Handles an exchange in place of the server: returns what the client receives, or raises `Cut`."""


def status(code: int, name: str = "Trouble") -> Fault:
    """Answer with an error status and do nothing."""

    def fault(exchange: Exchange) -> bytes:
        exchange.body()
        text = f"<Error><Code>{name}</Code><Message>made by the test</Message></Error>".encode()
        head = f"HTTP/1.1 {code} {name}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        return head.encode() + (b"" if exchange.method == "HEAD" else text)

    return fault


def cut_response(after: int = 0) -> Fault:
    """Perform the request; deliver only ``after`` bytes of the response's body."""

    def fault(exchange: Exchange) -> bytes:
        head, separator, body = exchange.forward().partition(b"\r\n\r\n")
        return head + separator + body[:after]

    return fault


def lose_response(exchange: Exchange) -> bytes:
    """Perform the request, and deliver nothing of the response."""
    exchange.forward()
    raise Cut


def cut_request(after: int) -> Fault:
    """Pass only the first ``after`` bytes of the request's body to the server."""

    def fault(exchange: Exchange) -> bytes:
        body = exchange.body(after)
        with socket.create_connection(exchange.proxy.server, timeout=60) as upstream:
            upstream.sendall(exchange.head + body)
        raise Cut

    return fault


def slow(seconds: float, pieces: int = 8) -> Fault:
    """Deliver the response in pieces over ``seconds``."""

    def fault(exchange: Exchange) -> bytes:
        response = exchange.forward()
        size = -(-len(response) // pieces)
        for first in range(0, len(response), size):
            time.sleep(seconds / pieces)
            exchange.client.sendall(response[first : first + size])
        return b""

    return fault


@dataclass
class Hold:
    """A fault that holds a request in the middle of its body.

    Once the test releases the request, it is cut.
    """

    part: int = 0
    """Bytes of the body that reach the server before the request is held."""
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    client: tuple[str, int] | None = None

    def __call__(self, exchange: Exchange) -> bytes:
        body = exchange.body(self.part)
        with socket.create_connection(exchange.proxy.server, timeout=60) as upstream:
            upstream.sendall(exchange.head + body)
            self.client = exchange.client.getpeername()
            self.reached.set()
            while not self.released.wait(0.02) and not exchange.proxy.stopped:
                pass
        raise Cut

    def wait(self, timeout_s: float = 60) -> tuple[str, int]:
        """Wait until a request is held; return the client's address."""
        assert self.reached.wait(timeout_s), f"no request was held within {timeout_s:g} s"
        return self.client


@dataclass
class Rule:
    fault: Fault
    method: str
    path: re.Pattern[str]
    times: int


@dataclass
class FaultyProxy:
    """A running proxy, see `faulty_proxy`."""

    server: tuple[str, int]
    """Host and port of the server behind it."""
    rules: list[Rule] = field(default_factory=list)
    """Faults to inject; the first rule that matches a request applies."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and decoded path, without the query, of every request so far."""
    errors: list[Exception] = field(default_factory=list)
    """Exceptions of faults that are themselves wrong; they fail the test at the end."""
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: socket.socket | None = None
    _port: int = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def on(self, fault: Fault, method: str = "", path: str = "", times: int = FOREVER) -> None:
        """Inject a fault into the next ``times`` requests that match.

        ``path`` is a regular expression.

        An empty method or path matches any. An earlier rule takes precedence until it is used up.
        """
        with self._lock:
            self.rules.append(Rule(fault, method, re.compile(path), times))

    def heal(self) -> None:
        """Remove all faults and forget past requests."""
        with self._lock:
            self.rules.clear()
            self.requests.clear()

    def asked(self, method: str, path: str = "") -> list[str]:
        """Return the paths of past requests whose path matches a regular expression."""
        with self._lock:
            return [each for asked, each in self.requests if asked == method and re.search(path, each)]

    def refuse(self) -> None:
        """Refuse connections from now on, and keep the port reserved."""
        self._close()
        self._bind()

    def accept(self) -> None:
        """Accept connections from now on."""
        self._listener.listen(128)
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        self.stopped = True
        self._close()

    def _bind(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, self._port))
        self._port = self._listener.getsockname()[1]

    def _close(self) -> None:
        with contextlib.suppress(
            OSError
        ):  # shutdown wakes the thread in accept(); it fails if the socket does not listen
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client:
            client.settimeout(60)
            try:
                exchange = self._receive(client)
                client.sendall(self._fault(exchange)(exchange))
            except (Cut, OSError):
                # SO_LINGER 0 closes with a reset, as the kernel does for a killed process
                with contextlib.suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except Exception as error:
                self.errors.append(error)

    def _receive(self, client: socket.socket) -> Exchange:
        received = b""
        while b"\r\n\r\n" not in received:
            more = client.recv(65536)
            if not more:
                raise Cut
            received += more
        head, _, started = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect"):  # answered here; the header is not signed, so it need not reach the server
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = [line for line in lines if line.partition(":")[0].lower() not in ("expect", "connection")]
        head = "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")
        path = unquote(urlsplit(target).path)
        return Exchange(self, client, method, path, head, int(headers.get("content-length", 0)), started)

    def _fault(self, exchange: Exchange) -> Fault:
        with self._lock:
            self.requests.append((exchange.method, exchange.path))
            for rule in self.rules:
                if rule.times and rule.method in ("", exchange.method) and rule.path.search(exchange.path):
                    rule.times -= 1
                    return rule.fault
        return Exchange.forward


@contextlib.contextmanager
def faulty_proxy(server_url: str) -> Iterator[FaultyProxy]:
    """Run a proxy to the server at a URL until the block ends."""
    parts = urlsplit(server_url)
    proxy = FaultyProxy((parts.hostname, parts.port))
    proxy._bind()
    proxy.accept()
    try:
        yield proxy
    finally:
        proxy.stop()
    assert not proxy.errors


def all_objects(uri: Path | str) -> dict[str, bytes]:
    """Return every object below a URI, by path."""
    store = open_store(uri)
    return {entry.path: store.read(entry.path) for entry in store.list()}


everything = all_objects
