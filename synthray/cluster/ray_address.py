"""Choose the Ray cluster that a command joins, from ``RAY_ADDRESS``: unset, ``auto``, ``local`` or ``host:port``.

The address is checked first, because Ray waits long for a cluster that does not answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

from synthray.errors import ConfigError

VARIABLE = "RAY_ADDRESS"
_ADVICE = f"Start a cluster, set {VARIABLE} to its host:port (6379 is Ray's default port), or unset it."
_TIMEOUT_S = 10.0
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_CLUSTER_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"


def cluster_address() -> str | None:
    """Return the address to give to ``ray.init``.

    Returns:
        ``host:port`` of a cluster that answers, ``"auto"``, or ``"local"`` to start a new one. None to let Ray decide
        between the cluster that was started on this machine and a new one.

    Raises:
        ConfigError: ``RAY_ADDRESS`` has another form, or no cluster answers there.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if address == "local":
        return address
    if address in ("", "auto"):
        left_behind = _address_on_this_machine()
        if not left_behind or not _problem(left_behind):
            return address or None
        if not address:
            return "local"
        raise ConfigError(f"{VARIABLE}: 'auto' finds no cluster. The cluster at {left_behind} has ended. {_ADVICE}")
    _check_form(address)
    if problem := _problem(address):
        raise ConfigError(f"{VARIABLE}: {problem} {address!r}. {_ADVICE}")
    return address


def starts_cluster(address: str | None) -> bool:
    """Return whether ``ray.init`` starts a Ray at the address that ``cluster_address`` gives."""
    return address == "local" or (address is None and not _address_on_this_machine())


def joins_cluster() -> bool:
    """Return whether this process joins a cluster that runs already: ``RAY_ADDRESS`` names one, or it is a job."""
    return os.environ.get(VARIABLE, "").strip() not in ("", "local") or "RAY_JOB_ID" in os.environ


def _check_form(address: str) -> None:
    """Raise ConfigError if the address is not ``host:port``."""
    scheme, separator, _ = address.partition("://")
    if scheme.lower() in ("http", "https") and separator:
        raise ConfigError(
            f"{VARIABLE}: {address!r} is the address of a cluster's dashboard and job API. Submit the command there as "
            "a job (ray job submit --working-dir . -- python jobs/NAME.py), or set the variable to the host:port of "
            "the cluster itself (6379 is Ray's default port)."
        )
    if separator:
        kind = "the address of a Ray Client server, which" if scheme.lower() == "ray" else "of a form that"
        raise ConfigError(f"{VARIABLE}: {address!r} is {kind} synthray does not support. {_ADVICE}")
    match = _HOST_AND_PORT.fullmatch(address)
    if not match or not 0 < int(match[2]) < 1 << 16:
        raise ConfigError(f"{VARIABLE}: {address!r} is neither host:port, auto nor local. {_ADVICE}")


def _address_on_this_machine() -> str:
    """Return the address of the cluster started on this machine, or '' if there is none or Ray does not tell."""
    # ray._common is private, so a later Ray may lack it. ``ray.init`` then decides alone, which may take minutes.
    with contextlib.suppress(ImportError, OSError):
        from ray._common.utils import get_ray_address_file

        return Path(get_ray_address_file(None)).read_text().strip()
    return ""


def _problem(address: str) -> str:
    """Return why no cluster can be joined at ``host:port``, as the beginning of a sentence; '' if one answers.

    ``ray.init`` itself waits 40 s for an answer, or minutes.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
    except (OSError, ValueError):  # ValueError: a host name that IDNA cannot encode
        return "no cluster answers at"
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # only Ray knows the certificates
        return ""
    return "" if _is_cluster(address) else "something other than a Ray cluster answers at"


def _is_cluster(address: str) -> bool:
    """Return whether the process that listens at ``host:port`` has a cluster's gRPC service, at which drivers join."""
    import grpc

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_CLUSTER_METHOD)(b"", timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            # Any other code, such as UNAUTHENTICATED, comes from a cluster.
            other = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)
            return error.code() not in other
    return True
