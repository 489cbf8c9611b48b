"""The service in this process under uvicorn, without Ray: for a laptop, a small container, or a test."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
import uvloop

from synthray.memory import prepare_for_requests
from synthray.serve.app import build_app
from synthray.serve.config import Address, ReplicaConfig
from synthray.serve.http.access import tokens_from_environment
from synthray.serve.http.tls import require_certificate
from synthray.serve.metrics import PrometheusMetrics
from synthray.serve.models.hot_swap import HotSwapModels
from synthray.serve.models.served import announcement
from synthray.serve.service import Service
from synthray.serve.sounds.matching import warm_up

STOP_TIMEOUT_S = 10
"""Time for running requests to finish after a stop request."""
IDLE_TIMEOUT_S = 75
"""Time after which an idle connection is closed; longer than that of usual load balancers."""


class _Server(uvicorn.Server):
    """A server that prints when it is ready, and that ends normally after Ctrl-C or SIGTERM.

    ``uvicorn.Server`` raises the signal again at its end, so that the stop looks like a failure.

    Args:
        ready: text to print when the server accepts requests.
        stopping: set by the signal, so that long requests end soon.
    """

    def __init__(self, config: uvicorn.Config, ready: str, stopping: threading.Event) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept requests, and print that; called by uvicorn."""
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Note a signal; called by uvicorn."""
        self.should_exit = True
        self._stopping.set()


def serve_here(config: ReplicaConfig, address: Address) -> None:
    """Serve ``config.model`` until SIGTERM or SIGINT.

    Raises:
        ConfigError: the certificate cannot be used.
        NotFound: there is no such model.
        ModelError: the model cannot be used.
        SynthrayError: the address is in use.
    """
    require_certificate(address)
    address.check_grpc_free()
    with _log_on_stderr(), address.listener() as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, address, listener))


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Write the service's log to stderr: without a handler, Python writes warnings only.

    The handler has its own descriptor, because ``quiet`` redirects the descriptor of stderr while sounds are decoded.
    """
    stderr = os.fdopen(os.dup(2), "w")
    logger, handler = logging.getLogger("synthray.serve"), logging.StreamHandler(stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        stderr.close()


async def _serve(config: ReplicaConfig, address: Address, listener: socket.socket) -> None:
    models = HotSwapModels(config.follow_s)
    await models.load(vars(config.models))
    metrics = PrometheusMetrics()
    service = Service(models, config.app, metrics, tokens_from_environment(), metrics.encode)
    await warm_up(service)
    prepare_for_requests()
    grpc_line = f"\n  gRPC at port {address.grpc_port}" if address.grpc_port else ""
    server = _Server(
        uvicorn.Config(
            build_app(service),
            host=address.host,
            port=address.port,
            log_level="warning",
            access_log=False,
            ssl_certfile=address.tls_cert or None,
            ssl_keyfile=address.tls_key or None,
            timeout_keep_alive=IDLE_TIMEOUT_S,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            server_header=False,
        ),
        announcement(models.served[0].predictor.card.name, address.url) + grpc_line,
        service.stopping,
    )
    grpc_server = None
    if address.grpc_port:
        from synthray.serve.protocols.grpc_inference import start_server  # needs the extra grpc

        grpc_server = await start_server(service, address)
    try:
        await server.serve(sockets=[listener])
    finally:
        if grpc_server:
            await grpc_server.stop(STOP_TIMEOUT_S)
        await service.close()
