"""The serving job's own requests: with a token, over TLS and past a proxy. Nothing here starts Ray."""

from __future__ import annotations

import socket
import subprocess
import threading
import urllib.error
from pathlib import Path

import pytest

from synthray.cluster.serving.own_status import NO_ANSWER, model_status
from synthray.model.predictor import Predictor
from synthray.serve.config import Address
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service
from tests.serve.serving import running
from tests.waiting import HOST


def make_certificate(folder: Path) -> tuple[str, str]:
    """Return the files of a certificate for another host name that it signed itself, and of its key."""
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = ["openssl", "req", *kind, "-subj", "/CN=synth.example", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def pem_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def service(foreign_predictor: Predictor) -> Service:
    served = Served(foreign_predictor, 1), Served(foreign_predictor, 2, "canary")
    return Service(FixedModels(served, "model_4_1 is corrupt"), tokens=("first", "second"))


def address(url: str, *pem_files: str) -> Address:
    return Address("127.0.0.1", int(url.rpartition(":")[2]), *pem_files)


def test_model_status_sends_the_token_and_asks_no_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", "second,third")
    with running(service) as url:
        assert model_status(address(url)) == ("model_3_1", "model_4_1 is corrupt")
        monkeypatch.setenv("SYNTHRAY_API_TOKEN", "third")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            model_status(address(url))


def test_model_status_over_tls_trusts_the_own_certificate_alone(
    service: Service, pem_files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", "first")
    cert, key = pem_files
    other_cert, _ = make_certificate(tmp_path)
    with running(service, ssl_certfile=cert, ssl_keyfile=key) as url:
        assert model_status(address(url, cert, key)) == ("model_3_1", "model_4_1 is corrupt")
        with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
            model_status(address(url, other_cert, key))


@pytest.mark.parametrize(
    "answer",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n{}"],
    ids=["nothing", "garbage", "a part", "other JSON"],
)
def test_model_status_of_a_proxy_that_dies_is_no_answer(answer: bytes) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(NO_ANSWER):
            model_status(Address(HOST, listener.getsockname()[1]))
        thread.join(10)
