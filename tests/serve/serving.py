"""A real server in a thread for the tests in this folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from synthray.serve.app import build_app
from synthray.serve.service import Service
from tests.waiting import HOST, free_port, wait_for


@contextmanager
def running(service: Service, **tls: str) -> Iterator[str]:
    """Serve ``service`` under uvicorn in a thread; return its URL.

    Args:
        tls: ``ssl_certfile`` and ``ssl_keyfile`` for HTTPS.
    """
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(build_app(service), host=HOST, port=port, log_level="warning", **tls))
    server.config.timeout_graceful_shutdown = 5
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), 30)
        yield f"{'https' if tls else 'http'}://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
