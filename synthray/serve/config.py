"""What can be chosen about serving, checked before anything is started. No Ray."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, fields
from typing import Any

from synthray.errors import ConfigError, SynthrayError


@dataclass(frozen=True)
class AppConfig:
    """What can be chosen about the application."""

    max_body_bytes: int = 32 * 2**20

    def __post_init__(self) -> None:
        if not isinstance(self.max_body_bytes, int) or self.max_body_bytes < 1:
            raise ConfigError(f"max_body_bytes is {self.max_body_bytes!r}, expected a whole number of 1 or more")


@dataclass(frozen=True)
class ReplicaConfig:
    """Arguments of ``ray_serve.build``, and so ``args`` in a Serve configuration file.

    model: URI of a ``.keras`` file, or of a directory: the one promoted there, or its newest; empty for the models of
    ``SYNTHRAY_HOME``. follow: the directory whose promotions replicas follow; ``model`` itself where that is one.
    follow_s: seconds between a replica's looks at it; 0 for none. num_cpus: cores that Ray sets aside for each replica.
    owner: names the job that deployed it, so that it notices when another one takes its place.
    """

    model: str = ""
    follow: str = ""
    owner: str = ""
    follow_s: float = 5.0
    replicas: int = 1
    num_cpus: float = 1.0
    max_body_bytes: int = AppConfig.max_body_bytes

    def __post_init__(self) -> None:
        for name in ("model", "follow", "owner"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, expected {'text' if name == 'owner' else 'a URI'}"
                )
        if not isinstance(self.follow_s, int | float) or not 0 <= self.follow_s < math.inf:
            raise ConfigError(f"follow_s is {self.follow_s!r}, expected a number of seconds, 0 or more")
        if not isinstance(self.replicas, int) or self.replicas < 1:
            raise ConfigError(f"replicas is {self.replicas!r}, expected a whole number of 1 or more")
        if not isinstance(self.num_cpus, int | float) or self.num_cpus < 0:
            raise ConfigError(f"num_cpus is {self.num_cpus!r}, expected a number of 0 or more")
        AppConfig(self.max_body_bytes)

    @classmethod
    def from_args(cls, args: dict[str, Any]) -> ReplicaConfig:
        """From plain values; raises ConfigError for a name that does not exist."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(args) - set(known)):
            raise ConfigError(f"args hold {unknown[0]!r}, which is none of {', '.join(known)}")
        return cls(**args)


@dataclass(frozen=True)
class Address:
    """Where Serve listens. The default is this machine alone; ``0.0.0.0`` is every network it has."""

    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("the host is empty; 127.0.0.1 is this machine alone, 0.0.0.0 every network")
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"the port is {self.port}, expected 1 to 65535")

    @property
    def url(self) -> str:
        """As a client on this machine writes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def check_free(self) -> None:
        """Raise SynthrayError when something listens there, or this machine has no such address."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, where = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
        except OSError as error:
            raise SynthrayError(f"cannot listen at {self.host}:{self.port} ({error.strerror}); try --port") from None
