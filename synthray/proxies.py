"""HTTP proxies of the environment: requests to this machine and to the cluster's own addresses bypass them.

Company networks set ``http_proxy`` and the like, often without ``no_proxy``. Python, boto3, Ray's job client and
TensorFlow's gRPC all read these variables. Requests to other hosts still use the proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "169.254.170.2", "169.254.170.23")
"""This machine, and the link-local addresses at which AWS gives credentials to its machines and containers."""

# TensorFlow's gRPC reads no_grpc_proxy first, Go programs read NO_PROXY first, all others no_proxy.
_LISTS = {
    "no_proxy": ("no_proxy", "NO_PROXY"),
    "NO_PROXY": ("NO_PROXY", "no_proxy"),
    "no_grpc_proxy": ("no_grpc_proxy", "no_proxy", "NO_PROXY"),
}
_ALL = "*"
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc")


def bypass(environment: Mapping[str, str], hosts: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that exempt ``LOCAL_HOSTS`` and ``hosts`` from the proxies of an environment.

    Hosts that are exempt already stay so.

    Args:
        environment: for example ``os.environ``, which the caller updates with the result.
        hosts: names or IP addresses without a port and without brackets. urllib and boto3 exempt IPv6 addresses in
            brackets only, but HTTPX sends nothing if one is listed. synthray's own requests with urllib and
            boto3 use no proxy in any case.
    """
    added = [*LOCAL_HOSTS, *hosts]
    return {name: _joined(name, _first(environment, sources), added) for name, sources in _LISTS.items()}


def is_private(host: str) -> bool:
    """Return whether a host is of this machine or its own network, by its address or name; no name is looked up."""
    try:
        return not ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_global
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(_PRIVATE_SUFFIXES)


def _first(environment: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Return the entries of the first variable that is not empty."""
    text = next((environment[name] for name in names if environment.get(name, "").strip(" ,")), "")
    return [entry for entry in (part.strip() for part in text.split(",")) if entry]


def _joined(name: str, entries: list[str], added: list[str]) -> str:
    # Python takes * only if it stands alone, and gRPC does not know it.
    if entries == [_ALL] and name != "no_grpc_proxy":
        return _ALL
    return ",".join(dict.fromkeys([*entries, *added]))
