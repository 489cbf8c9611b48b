"""HAProxy as the ingress of Ray Serve, several times faster than Serve's own proxy.

Serve reads these settings where Ray is started. HAProxy listens on every network interface at a fixed port. The
replicas do too, at ports from 30000 on.
"""

from __future__ import annotations

import os

from synthray.cluster.ray_address import joins_cluster
from synthray.errors import ConfigError
from synthray.serve.config import Address

HOST, PORT = "0.0.0.0", 8000  # noqa: S104  # Serve fixes HAProxy's host and port
SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # The job calls its replicas from a thread without an event loop. The setting above alone would not allow that.
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",
    # On a busy machine HAProxy does not start within the default of 5 s.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}
"""Environment variables of the nodes, and of the process that deploys."""


def use_haproxy(address: Address) -> None:
    """Set the environment of a Ray that this process starts. Call it before Ray Serve is imported.

    Raises:
        ConfigError: HAProxy cannot listen at the address, or this process joins a Ray without these settings.
    """
    if (address.host, address.port) != (HOST, PORT) or address.tls_cert or address.grpc_port:
        raise ConfigError(
            f"--haproxy: HAProxy listens at {HOST}:{PORT} only, without TLS and gRPC. "
            f"Give --host {HOST} --port {PORT}, and put the machine behind a firewall."
        )
    name, value = next(iter(SETTINGS.items()))
    if joins_cluster() and os.environ.get(name) != value:
        raise ConfigError(f"--haproxy: this Ray was started without it. Set {name}={value} where Ray is started.")
    os.environ[name] = value
    for key, setting in SETTINGS.items():
        os.environ.setdefault(key, setting)
