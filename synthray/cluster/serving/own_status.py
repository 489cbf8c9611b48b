"""The status of the service that this process started, requested over HTTP as by a client on this machine."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from synthray.serve.config import Address
from synthray.serve.http.access import tokens_from_environment
from synthray.serve.models.served import BASE

TIMEOUT_S = 30.0
NO_ANSWER = (OSError, HTTPException, ValueError, KeyError)
"""Errors of :func:`model_status` while the service does not answer."""


def model_status(address: Address) -> tuple[str, str]:
    """Return the name of the stable model, and the error of one that failed to replace it."""
    request = Request(f"{address.url}{BASE}")  # noqa: S310  # the scheme is ours
    for token in tokens_from_environment()[:1]:
        request.add_header("authorization", f"Bearer {token}")
    # A proxy of the environment is for other machines.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=_own_certificate(address.tls_cert)))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        states = json.load(answer)["model_version_status"]
    errors = [state["status"]["error_message"] for state in states if state["state"] != "AVAILABLE"]
    return states[0]["name"], errors[0] if errors else ""


def _own_certificate(file: str) -> ssl.SSLContext | None:
    """Return a context that trusts the certificate in ``file`` alone, whatever host name it states."""
    if not file:
        return None
    context = ssl.create_default_context(cafile=file)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate of its issuer is not in the file
    return context
