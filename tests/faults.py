"""A relay in front of a real S3 server that does to chosen requests what networks and busy stores do.

    with faulty_proxy(server.endpoint_url) as proxy:
        proxy.on(status(503), method="PUT", path=r"shards/", times=3)
        ...  # talk to proxy.url instead of the server
        assert len(proxy.asked("PUT", "shards/")) == 4

It relays head and body as they are (a signature covers the Host header, and the server compares it with the one that it
receives), one request a connection. It knows requests with a Content-Length or without a body: what boto3 sends here.
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
    """The connection is to break off here."""


@dataclass
class Exchange:
    """One request on its way, and both ends of it."""

    proxy: FaultyProxy
    client: socket.socket
    method: str
    path: str
    head: bytes
    length: int
    started: bytes = b""

    def body(self, most: int | None = None) -> bytes:
        """What the client sends after the head; of that no more than ``most`` bytes."""
        wanted = self.length if most is None else min(most, self.length)
        while len(self.started) < wanted:
            received = self.client.recv(65536)
            if not received:
                raise Cut
            self.started += received
        return self.started[:wanted]

    def answer(self) -> bytes:
        """Send the request to the server; its whole answer."""
        body = self.body()
        with socket.create_connection(self.proxy.server, timeout=60) as upstream:
            upstream.sendall(self.head + body)
            answer = b""
            while received := upstream.recv(65536):
                answer += received
            return answer


# What is done instead of relaying an exchange: returns what the client gets, or raises Cut.
Fault = Callable[[Exchange], bytes]


def status(code: int, name: str = "Trouble") -> Fault:
    """The store answers with an error, and does nothing."""

    def fault(exchange: Exchange) -> bytes:
        exchange.body()
        text = f"<Error><Code>{name}</Code><Message>made by the test</Message></Error>".encode()
        head = f"HTTP/1.1 {code} {name}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        return head.encode() + (b"" if exchange.method == "HEAD" else text)

    return fault


def cut_answer(after: int = 0) -> Fault:
    """The request is done, and of the body of the answer ``after`` bytes arrive."""

    def fault(exchange: Exchange) -> bytes:
        head, separator, body = exchange.answer().partition(b"\r\n\r\n")
        return head + separator + body[:after]

    return fault


def lose_answer(exchange: Exchange) -> bytes:
    """The request is done, and nothing of the answer arrives."""
    exchange.answer()
    raise Cut


def cut_request(after: int) -> Fault:
    """Of the body of the request ``after`` bytes reach the server."""

    def fault(exchange: Exchange) -> bytes:
        body = exchange.body(after)
        with socket.create_connection(exchange.proxy.server, timeout=60) as upstream:
            upstream.sendall(exchange.head + body)
        raise Cut

    return fault


def slow(seconds: float, pieces: int = 8) -> Fault:
    """The answer comes in pieces; the last of them after so many seconds."""

    def fault(exchange: Exchange) -> bytes:
        answer = exchange.answer()
        size = -(-len(answer) // pieces)
        for first in range(0, len(answer), size):
            time.sleep(seconds / pieces)
            exchange.client.sendall(answer[first : first + size])
        return b""

    return fault


@dataclass
class Hold:
    """The first ``part`` bytes of the body of the request go to the server; there it waits until it is let go of.

    Then it breaks off.
    """

    part: int = 0
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
        """Until a request is held; the address of the client's end of its connection."""
        assert self.reached.wait(timeout_s), "no such request came"
        return self.client


@dataclass
class Rule:
    fault: Fault
    method: str
    path: re.Pattern[str]
    times: int


@dataclass
class FaultyProxy:
    """The relay. Made by :func:`faulty_proxy`.

    requests: method and path (decoded, without the query) of all that came, in order.
    """

    server: tuple[str, int]
    rules: list[Rule] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: socket.socket | None = None
    _port: int = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def on(self, fault: Fault, method: str = "", path: str = "", times: int = FOREVER) -> None:
        """Do this to the next ``times`` requests of a method (default: any) whose path has this expression in it.

        Of several rules that fit, the one that was given first is followed, until it has been used up.
        """
        with self._lock:
            self.rules.append(Rule(fault, method, re.compile(path), times))

    def heal(self) -> None:
        """No more faults; what was asked for before is forgotten."""
        with self._lock:
            self.rules.clear()
            self.requests.clear()

    def asked(self, method: str, path: str = "") -> list[str]:
        """The paths of the requests that came so far, of a method and with this expression in the path."""
        with self._lock:
            return [each for asked, each in self.requests if asked == method and re.search(path, each)]

    def refuse(self) -> None:
        """Refuse every connection from now on; the port stays taken."""
        self._close()
        self._bind()

    def accept(self) -> None:
        """Take connections, from now on or again."""
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
        with contextlib.suppress(OSError):  # it does not listen: wakes the thread that waits in accept otherwise
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
                # with a reset, as from a process that was killed, and not in order
                with contextlib.suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

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
        if headers.get("expect"):  # answered here, and not sent on: it is not among what is signed
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
        return Exchange.answer


@contextlib.contextmanager
def faulty_proxy(server_url: str) -> Iterator[FaultyProxy]:
    """A relay to the server at a URL, on a free port of 127.0.0.1; ends with the block."""
    parts = urlsplit(server_url)
    proxy = FaultyProxy((parts.hostname, parts.port))
    proxy._bind()
    proxy.accept()
    try:
        yield proxy
    finally:
        proxy.stop()


def everything(uri: Path | str) -> dict[str, bytes]:
    """Every object below a place, by its path from there."""
    store = open_store(uri)
    return {entry.path: store.read(entry.path) for entry in store.list()}
