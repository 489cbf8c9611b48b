"""A check of the certificate of the service, before anything starts."""

from __future__ import annotations

import ssl

from synthray.errors import ConfigError
from synthray.serve.config import Address


def require_certificate(address: Address) -> None:
    """Raise ConfigError if the address has a certificate that cannot be used with its key."""
    if not address.tls_cert:
        return

    def refuse() -> str:
        raise ConfigError(f"{address.tls_key}: is encrypted. Write the key without a password.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(address.tls_cert, address.tls_key, refuse)
    except OSError as error:  # also ssl.SSLError, whose text names no file
        reason = getattr(error, "reason", None) or error.strerror or "not PEM"
        raise ConfigError(
            f"{address.tls_cert}, {address.tls_key}: cannot be used for TLS ({reason}). "
            "Give a certificate chain and its own key as PEM."
        ) from None
