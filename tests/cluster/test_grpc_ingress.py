"""Addresses that Ray Serve's gRPC proxy cannot offer are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthray.cluster.serving.grpc_ingress import grpc_options, require_listening
from synthray.errors import ConfigError, SynthrayError
from synthray.serve.config import Address
from tests.waiting import free_port


def test_grpc_options_without_port_are_none() -> None:
    assert grpc_options(Address()) is None


def test_grpc_options_of_public_address_name_the_port() -> None:
    options = grpc_options(Address("0.0.0.0", grpc_port=8001))
    assert options is not None
    assert options.port == 8001
    assert options.grpc_servicer_func_callable


def test_grpc_options_of_local_address_or_tls_raise(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_text("")
    with pytest.raises(ConfigError, match="listens on every network interface"):
        grpc_options(Address(grpc_port=8001))
    with pytest.raises(ConfigError, match="without TLS only"):
        grpc_options(Address("0.0.0.0", tls_cert=str(pem), tls_key=str(pem), grpc_port=8001))


def test_require_listening_without_listener_raises() -> None:
    port = free_port()
    require_listening(Address())
    with pytest.raises(SynthrayError, match=f"gRPC port {port}: nothing listens here"):
        require_listening(Address(grpc_port=port))
