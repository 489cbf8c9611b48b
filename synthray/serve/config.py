"""Configuration of the service, validated before anything starts.

Serve's own configuration files are infra/serve.yaml and infra/kuberay/rayservice.yaml.
"""

from __future__ import annotations

import errno
import math
import re
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from synthray.errors import ConfigError, SynthrayError
from synthray.model.registry import default_registry
from synthray.model.saved import SUFFIX
from synthray.model.shipped import NAME as SHIPPED

MAX_BODY_BYTES = 32 * 2**20
"""Default limit of a request's body."""


@dataclass(frozen=True)
class AppConfig:
    """Limits of the application, the same with Ray and without."""

    max_body_bytes: int = MAX_BODY_BYTES
    """Limit of a request's body, bytes, also after decompression."""
    max_refine_s: float = 30.0
    """Longest search that a request may ask for, seconds."""
    max_waiting: int = 256
    """Predictions that may wait for the network; further requests are answered with 429."""
    max_sounds: int = 16
    """Sounds that may wait for a match, a rendering or an analysis; further requests are answered with 429."""
    sound_threads: int = 0
    """Sounds that are matched, rendered or analysed at the same time; 0 for one less than there are CPUs."""
    max_searches: int = 16
    """Searches that may wait to begin; further ones are answered with 429."""
    search_threads: int = 0
    """Searches that run at the same time, besides the other work on sounds; 0 for one less than there are CPUs."""
    max_bodies_bytes: int = 4 * MAX_BODY_BYTES
    """Bytes of the bodies of all running requests together; further requests are answered with 429."""
    body_timeout_s: float = 30.0
    """Longest time in which a client may send a body, seconds."""
    allow_origins: tuple[str, ...] = ()
    """Origins of other pages that may use the service (CORS), such as ``https://example.org``; ``*`` for all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_origins", tuple(self.allow_origins))
        for name in ("max_body_bytes", "max_waiting", "max_sounds", "max_searches", "max_bodies_bytes"):
            require_count(name, getattr(self, name))
        for name in ("sound_threads", "search_threads"):
            if getattr(self, name) != 0:
                require_count(name, getattr(self, name))
        if self.max_bodies_bytes < self.max_body_bytes:
            object.__setattr__(self, "max_bodies_bytes", self.max_body_bytes)
        require_seconds("max_refine_s", self.max_refine_s)
        require_seconds("body_timeout_s", self.body_timeout_s)
        for origin in self.allow_origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ConfigError(f"allow_origins has {origin!r}, expected an origin such as https://example.org, or *")


@dataclass(frozen=True)
class ModelsConfig:
    """The served models. On Ray, the ``user_config`` of the deployment holds these fields."""

    model: str = ""
    """URI of a ``.keras`` file, or of a folder; empty for the models of ``SYNTHRAY_HOME``."""
    follow: str = ""
    """Folder whose promotions replicas follow; empty for ``model`` itself if it is a folder."""
    canary: str = ""
    """URI of a second model, which answers a share of the requests; empty for none."""
    canary_percent: float = 10.0
    """Share of the canary among the requests that name no version or label, percent."""

    def __post_init__(self) -> None:
        for name in ("model", "follow", "canary"):
            require_text(name, getattr(self, name), "a URI")
        if not is_number(self.canary_percent) or not 0 <= self.canary_percent <= 100:
            raise ConfigError(f"canary_percent is {self.canary_percent!r}, expected 0 to 100")

    @property
    def folder(self) -> str:
        """Return the URI of the folder whose promotions are followed; empty for none."""
        is_one_model = self.model.endswith(SUFFIX) or self.model == SHIPPED
        return self.follow or ("" if is_one_model else self.model or default_registry())


@dataclass(frozen=True)
class ReplicaConfig(ModelsConfig, AppConfig):
    """Configuration of the deployment. The ``args`` of a Serve configuration file hold these fields."""

    owner: str = ""
    """Token of the job that deployed the service. The job checks it to notice that another job replaced the service."""
    follow_s: float = 5.0
    """Seconds between a replica's polls of ``follow``; 0 for none."""
    replicas: int = 1
    """Number of replicas."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for each replica."""

    def __post_init__(self) -> None:
        AppConfig.__post_init__(self)
        ModelsConfig.__post_init__(self)
        require_text("owner", self.owner, "text")
        require_seconds("follow_s", self.follow_s)
        require_count("replicas", self.replicas)
        if not is_number(self.num_cpus) or self.num_cpus < 0:
            raise ConfigError(f"num_cpus is {self.num_cpus!r}, expected a number of 0 or more")

    @property
    def app(self) -> AppConfig:
        """Return the part that the application needs."""
        return AppConfig(**{field.name: getattr(self, field.name) for field in fields(AppConfig)})

    @property
    def models(self) -> ModelsConfig:
        """Return the part that says which models answer."""
        return ModelsConfig(**{field.name: getattr(self, field.name) for field in fields(ModelsConfig)})


C = TypeVar("C", bound=ModelsConfig)


def from_values(config: type[C], values: dict[str, Any]) -> C:
    """Return a configuration of plain values; raise ConfigError for an unknown name."""
    known = [field.name for field in fields(config)]
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"args: {unknown[0]!r} is unknown, expected one of {', '.join(known)}")
    return config(**values)


def require_count(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a whole number of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}, expected a whole number of 1 or more")


def require_text(name: str, value: Any, expected: str) -> None:
    """Raise ConfigError unless ``value`` is a string."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}, expected {expected}")


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a number and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_seconds(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a number of seconds, 0 or more."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise ConfigError(f"{name} is {value!r}, expected a number of seconds, 0 or more")


@dataclass(frozen=True)
class Address:
    """Host and port on which the service listens; the default is reachable from this machine only."""

    host: str = "127.0.0.1"
    """Host name or IP address; ``0.0.0.0`` for every network interface."""
    port: int = 8000
    """TCP port."""
    tls_cert: str = ""
    """File with a certificate chain (PEM); empty for plain HTTP."""
    tls_key: str = ""
    """File with the certificate's private key (PEM)."""
    grpc_port: int = 0
    """TCP port of the Open Inference Protocol over gRPC; 0 for none."""

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host is empty, expected 127.0.0.1 (this machine only) or 0.0.0.0 (every network)")
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 1 to 65535")
        if not 0 <= self.grpc_port <= 65535 or self.grpc_port == self.port:
            raise ConfigError(f"grpc_port is {self.grpc_port}, expected 1 to 65535 and not port, or 0 for none")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigError("TLS needs both a certificate and its key. Give --tls-cert and --tls-key.")
        for file in filter(None, (self.tls_cert, self.tls_key)):
            if not Path(file).is_file():
                raise ConfigError(f"{file}: there is no such file. Give a PEM file.")

    @property
    def url(self) -> str:
        """The URL for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        scheme = "https" if self.tls_cert else "http"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def check_free(self) -> None:
        """Raise SynthrayError if a port is in use or the address is not this machine's."""
        self.listener().close()
        self.check_grpc_free()

    def check_grpc_free(self) -> None:
        """Raise SynthrayError if the gRPC port cannot be used."""
        if self.grpc_port:
            self._listen(self.grpc_port, "--grpc-port").close()

    def listener(self) -> socket.socket:
        """Return a socket that listens at the port and reserves it; raise SynthrayError if the port cannot be used."""
        return self._listen(self.port, "--port")

    def _listen(self, port: int, flag: str) -> socket.socket:
        try:
            host = self.host.encode()  # a name that IDNA cannot encode would raise UnicodeError
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind(address)
                bound.listen()  # fails if another process has bound the port and listens
            except OSError:
                bound.close()
                raise
        except OSError as error:
            flag = flag if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
            raise SynthrayError(f"{self.host}:{port}: cannot listen ({error.strerror}). Try {flag}.") from None
        return bound
