"""A small store that speaks as much S3 as synthray uses, in the dialect of a test.

The faults of a real server are in ``tests/faults.py``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, str]
"""HTTP status and S3 error code."""


@dataclass
class SmallS3:
    """The objects of one bucket, and how the store answers."""

    url: str = ""
    conditional: Answer | str = "honoured"
    """``honoured``, ``ignored``, or the answer to a put with a condition."""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """Answers to the next requests of a method, in place of the store's own."""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of all requests."""
    regions: list[str] = field(default_factory=list)
    """Region for which each request was signed."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return status and body of the response."""
        key = unquote(urlsplit(path).path).partition("/bucket/")[2]
        if waiting := self.answers.get(method):
            return _error(waiting.pop(0))
        if method == "PUT":
            if "if-none-match" in headers and self.conditional != "ignored":
                if self.conditional != "honoured":
                    return _error(self.conditional)
                if key in self.objects:
                    return _error((412, "PreconditionFailed"))
            self.objects[key] = body
            return 200, b""
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        if method == "GET" and "list-type" in path:
            return 200, self._listing(parse_qs(urlsplit(path).query).get("prefix", [""])[0])
        return (200, self.objects[key]) if key in self.objects else _error((404, "NoSuchKey"))

    def _listing(self, prefix: str) -> bytes:
        found = [name for name in sorted(self.objects) if name.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{name}</Key><Size>{len(self.objects[name])}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in found
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()


def _error(answer: Answer) -> tuple[int, bytes]:
    status, code = answer
    return status, f"<Error><Code>{code}</Code><Message>made by the test</Message></Error>".encode()


@contextmanager
def running_small_s3() -> Iterator[SmallS3]:
    """Run a store with the bucket ``bucket`` on 127.0.0.1."""
    store = SmallS3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            region = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3", headers.get("authorization", ""))
            store.regions.append(region[1] if region else "")
            store.requests.append((self.command, self.path))
            status, content = store.answer(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
