"""Configuration of the service, validated before anything starts.

Serve's own configuration files are infra/serve.yaml and infra/kuberay/rayservice.yaml.
"""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, fields
from typing import Any

from synthray.errors import ConfigError, SynthrayError

MAX_BODY_BYTES = 32 * 2**20
"""Default limit of a request's body."""


@dataclass(frozen=True)
class ReplicaConfig:
    """Configuration of the deployment, and so the ``args`` of a Serve configuration file."""

    model: str = ""
    """URI of a ``.keras`` file, or of a folder; empty for the models of ``SYNTHRAY_HOME``."""
    follow: str = ""
    """Folder whose promotions replicas follow; empty for ``model`` itself if it is a folder."""
    owner: str = ""
    """Token of the job that deployed it, by which the job notices that another one replaced it."""
    follow_s: float = 5.0
    """Seconds between a replica's polls of ``follow``; 0 for none."""
    replicas: int = 1
    """Number of replicas."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for each replica."""
    max_body_bytes: int = MAX_BODY_BYTES
    """Limit of a request's body, bytes."""

    def __post_init__(self) -> None:
        for name, expected in (("model", "a URI"), ("follow", "a URI"), ("owner", "text")):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if not isinstance(self.follow_s, int | float) or not 0 <= self.follow_s < math.inf:
            raise ConfigError(f"follow_s is {self.follow_s!r}, expected a number of seconds, 0 or more")
        if not isinstance(self.replicas, int) or self.replicas < 1:
            raise ConfigError(f"replicas is {self.replicas!r}, expected a whole number of 1 or more")
        if not isinstance(self.num_cpus, int | float) or self.num_cpus < 0:
            raise ConfigError(f"num_cpus is {self.num_cpus!r}, expected a number of 0 or more")
        if not isinstance(self.max_body_bytes, int) or self.max_body_bytes < 1:
            raise ConfigError(f"max_body_bytes is {self.max_body_bytes!r}, expected a whole number of 1 or more")

    @classmethod
    def from_args(cls, args: dict[str, Any]) -> ReplicaConfig:
        """Return the configuration of plain values; raise ConfigError for an unknown name."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(args) - set(known)):
            raise ConfigError(f"args: {unknown[0]!r} is unknown, expected one of {', '.join(known)}")
        return cls(**args)


@dataclass(frozen=True)
class Address:
    """Host and port on which Serve listens; the default is reachable from this machine only."""

    host: str = "127.0.0.1"
    """Host name or IP address; ``0.0.0.0`` for every network interface."""
    port: int = 8000
    """TCP port."""

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host is empty, expected 127.0.0.1 (this machine only) or 0.0.0.0 (every network)")
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 1 to 65535")

    @property
    def url(self) -> str:
        """The URL for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def check_free(self) -> None:
        """Raise SynthrayError if the port is in use or the address is not this machine's."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            raise SynthrayError(f"{self.host}:{self.port}: cannot listen ({error.strerror}). Try --port.") from None
