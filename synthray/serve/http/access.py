"""Access to the service: bearer tokens, which ``SYNTHRAY_API_TOKEN`` sets."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from starlette.datastructures import Headers

from synthray.errors import ConfigError

TOKEN_VARIABLE = "SYNTHRAY_API_TOKEN"  # noqa: S105  # the variable's name
OPEN_PATHS = ("/", "/healthz", "/openapi.json", "/docs", "/v2", "/v2/health/live", "/v2/health/ready")
"""Paths that need no token; the page's files below ``/page/`` need none either."""


def tokens_from_environment() -> tuple[str, ...]:
    """Return the accepted tokens; none if the variable is not set.

    The variable may hold several tokens, separated by commas, so that clients can change to a new token one by one.

    Raises:
        ConfigError: the variable is set but holds no token, for example from an empty secret. The service would then
            accept every request.
    """
    text = os.environ.get(TOKEN_VARIABLE)
    tokens = tuple(filter(None, (token.strip() for token in (text or "").split(","))))
    if text is not None and not tokens:
        raise ConfigError(f"{TOKEN_VARIABLE}: holds no token ({text!r}). Set a token, or unset the variable.")
    return tokens


def is_open(path: str) -> bool:
    """Return whether a path needs no token."""
    return path in OPEN_PATHS or path.startswith("/page/")


def is_authorised(header: str | None, tokens: Sequence[str]) -> bool:
    """Return whether an ``Authorization`` header holds one of the tokens, in constant time."""
    scheme, _, token = (header or "").partition(" ")
    given = token.strip(" \t").encode("latin-1", "replace")  # Starlette decodes the bytes of headers as Latin-1
    matches = [hmac.compare_digest(given, os.fsencode(known)) for known in tokens]
    return scheme.lower() == "bearer" and any(matches)


def refusal(headers: Headers, path: str, tokens: Sequence[str]) -> str | None:
    """Return the reason why a request is refused, or None."""
    if not tokens or is_open(path) or is_authorised(headers.get("authorization"), tokens):
        return None
    if "authorization" in headers:
        return "this service does not accept the bearer token. Check the token."
    return "this service needs a token. Send the header 'Authorization: Bearer TOKEN'."
