"""A real server in a thread for the tests in this folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from synthray.serve.app import build_app
from synthray.serve.config import Address
from synthray.serve.protocols.grpc_inference import start_server
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


@contextmanager
def running_with_grpc(service: Service, **tls: str) -> Iterator[tuple[str, str]]:
    """Serve ``service`` over HTTP and over gRPC in a thread; return both addresses for tritonclient.

    Args:
        tls: ``tls_cert`` and ``tls_key`` for gRPC with TLS.
    """
    http_port, grpc_port = free_port(), free_port()
    address = Address(HOST, http_port, grpc_port=grpc_port, **tls)
    server = uvicorn.Server(uvicorn.Config(build_app(service), host=HOST, port=http_port, log_level="error"))

    async def run() -> None:
        grpc_server = await start_server(service, address)
        await server.serve()
        await grpc_server.stop(1)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        yield f"{HOST}:{http_port}", f"{HOST}:{grpc_port}"
    finally:
        server.should_exit = True
        thread.join(10)
