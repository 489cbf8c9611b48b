"""The boto3 client of this process: credentials, region, endpoint and proxy.

They come from boto3's standard sources: ``AWS_…`` variables, profiles, the machine's role. Requests are in ``s3.py``.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from synthray.errors import ConfigError
from synthray.proxies import is_private

_CONNECT_TIMEOUT_S = 5.0
_NAMED_IN_ERRORS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")


def client(read_timeout_s: float) -> Any:
    """Return this process's client for today's ``AWS_…`` variables.

    Args:
        read_timeout_s: longest time between two pieces of a response; a whole response may take longer.

    Raises:
        ConfigError: region or endpoint is invalid.
    """
    variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    return _make_client(os.getpid(), variables, read_timeout_s)


@lru_cache(maxsize=4)
def _make_client(process_id: int, variables: tuple[tuple[str, str], ...], read_timeout_s: float) -> Any:  # noqa: ARG001
    """Return a client for one process: sockets must not be shared after a fork."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        max_pool_connections=32,
        # Many S3-compatible stores do not support AWS's newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # AWS's other tools read AWS_REGION, boto3 does not.
    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    try:
        made = session.client("s3", config=config)
        if getproxies() and is_private(urlsplit(made.meta.endpoint_url).hostname or ""):
            made = session.client("s3", config=config.merge(Config(proxies={})))
    except ValueError as error:
        found = ", ".join(f"{name} is {os.environ[name]!r}" for name in _NAMED_IN_ERRORS if os.environ.get(name))
        raise ConfigError(f"S3: {error}. Check the settings of AWS ({found or 'no variable is set'}).") from None
    return made


def endpoint(read_timeout_s: float) -> str:
    """Return the endpoint, for a message. Its source is a variable or a profile."""
    try:
        return str(client(read_timeout_s).meta.endpoint_url)
    except Exception:  # the error that the message is about
        return "unknown"
