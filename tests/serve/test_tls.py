"""Certificates that cannot be used are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from synthray.errors import ConfigError
from synthray.serve.config import Address, ReplicaConfig
from synthray.serve.http.tls import require_certificate
from synthray.serve.process import serve_here
from tests.serve.test_open_inference import write_certificate
from tests.waiting import HOST, free_port


def key_of_another_certificate(folder: Path, encryption: serialization.KeySerializationEncryption) -> str:
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "other.pem"
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, kind, encryption))
    return str(path)


def test_require_certificate_accepts_a_certificate_with_its_key(tmp_path: Path) -> None:
    require_certificate(Address())
    require_certificate(Address(HOST, 8000, *write_certificate(tmp_path)))


def test_serve_with_the_key_of_another_certificate_names_the_files(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    key = key_of_another_certificate(tmp_path, serialization.NoEncryption())
    with pytest.raises(ConfigError) as caught:
        serve_here(ReplicaConfig(), Address(HOST, free_port(), certificate, key))
    assert f"{certificate}, {key}: cannot be used for TLS (KEY_VALUES_MISMATCH)" in str(caught.value)


@pytest.mark.parametrize("swapped", [False, True])
def test_serve_with_a_file_that_is_no_pem_names_the_files(tmp_path: Path, swapped: bool) -> None:
    certificate, _ = write_certificate(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("no key")
    files = [str(text), certificate] if swapped else [certificate, str(text)]
    with pytest.raises(ConfigError, match="cannot be used for TLS") as caught:
        serve_here(ReplicaConfig(), Address(HOST, free_port(), *files))
    assert all(file in str(caught.value) for file in files)


def test_serve_with_an_encrypted_key_asks_for_no_password(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    key = key_of_another_certificate(tmp_path, serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match=r"other\.pem: is encrypted"):
        serve_here(ReplicaConfig(), Address(HOST, free_port(), certificate, key))
