"""Access to the service: tokens, other pages' origins, compressed and slow bodies, and metrics."""

from __future__ import annotations

import gzip
import os
import socket
import zlib
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from synthray.errors import ConfigError
from synthray.serve.app import build_app
from synthray.serve.config import AppConfig
from synthray.serve.http.access import is_authorised, tokens_from_environment
from synthray.serve.metrics import METRICS, PrometheusMetrics
from synthray.serve.models.served import FixedModels, Served
from synthray.serve.service import Service
from tests.models import FOREIGN_SHAPE
from tests.serve.serving import running
from tests.waiting import wait_for

PREDICT = "/v1/models/synthray:predict"
BODY = np.ones(FOREIGN_SHAPE, np.float32).tobytes()
RAW = {"content-type": "application/octet-stream"}


@pytest.fixture
def models(foreign_predictor):
    return FixedModels((Served(foreign_predictor, 3),))


@pytest.mark.parametrize(
    ("authorization", "status", "message"),
    [
        ("Bearer one", 200, ""),
        ("bearer two", 200, ""),
        (None, 401, "this service needs a token"),
        ("Bearer on", 401, "does not accept"),
        ("Bearer ", 401, "does not accept"),
        ("Basic one", 401, "does not accept"),
        ("Bearer \u00e9", 401, "does not accept"),
    ],
)
def test_token_is_required(models, authorization, status, message):
    headers = RAW | ({"authorization": authorization.encode()} if authorization else {})
    with TestClient(build_app(Service(models, tokens=("one", "two")))) as client:
        answer = client.post(PREDICT, content=BODY, headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert message in answer.json()["error"]
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/healthz"):
            assert client.get(path).status_code == 200
        assert client.get("/v1/models/synthray").status_code == 401


def test_tokens_from_environment_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", " one, two,,")
    assert tokens_from_environment() == ("one", "two")
    monkeypatch.delenv("SYNTHRAY_API_TOKEN")
    assert tokens_from_environment() == ()


@pytest.mark.parametrize("text", ["", " ", ", ,"])
def test_tokens_from_environment_without_a_token_are_an_error(monkeypatch, text):
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", text)
    with pytest.raises(ConfigError, match="SYNTHRAY_API_TOKEN: holds no token"):
        tokens_from_environment()


@pytest.mark.parametrize("token", [b"caf\xc3\xa9", b"voil\xc3\xa0", b"\xff\xfe"])
def test_token_of_any_bytes_is_accepted(monkeypatch, token):
    monkeypatch.setenv("SYNTHRAY_API_TOKEN", os.fsdecode(token))
    for given, is_accepted in ((token, True), (token[:-1], False), (token.decode("latin-1").encode(), False)):
        header = Headers(raw=[(b"authorization", b"Bearer " + given)])["authorization"]
        assert is_authorised(header, tokens_from_environment()) == is_accepted


def test_other_origin_is_allowed_only_if_configured(models):
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    config = AppConfig(allow_origins=["https://a.example"])
    with TestClient(build_app(Service(models, config, tokens=("one",)))) as client:
        allowed = client.options(PREDICT, headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert (
            "access-control-allow-origin"
            not in client.options(PREDICT, headers=asked | {"origin": "https://b.example"}).headers
        )
        refused = client.post(PREDICT, content=BODY, headers={"origin": "https://a.example"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://a.example"  # so that the page can read it
    with TestClient(build_app(Service(models))) as client:
        assert "access-control-allow-origin" not in client.options(PREDICT, headers=asked).headers


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_compressed_body_is_answered_like_a_plain_one(models, compress):
    encoding = {"content-encoding": "gzip" if compress is gzip.compress else "deflate"}
    with TestClient(build_app(Service(models))) as client:
        plain = client.post(PREDICT, content=BODY, headers=RAW)
        packed = client.post(PREDICT, content=compress(BODY), headers=RAW | encoding)
    assert packed.status_code == 200
    assert packed.json() == plain.json()


def test_lone_compressed_body_within_the_limit_of_bodies_is_answered(models):
    limits = AppConfig(max_body_bytes=len(BODY) + 100, max_bodies_bytes=len(BODY) + 100)
    with TestClient(build_app(Service(models, limits))) as client:
        for _ in range(2):
            stored = gzip.compress(BODY, compresslevel=0)
            assert client.post(PREDICT, content=stored, headers=RAW | {"content-encoding": "gzip"}).status_code == 200


@pytest.mark.slow
def test_bodies_of_running_requests_are_limited_together(models):
    """A client that stops half-way holds its bytes until its time is over."""
    limits = AppConfig(max_body_bytes=len(BODY), max_bodies_bytes=len(BODY) + 50, body_timeout_s=2)
    with running(Service(models, limits)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), 20) as client:
            head = f"POST {PREDICT} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(BODY)}\r\n"
            client.sendall(f"{head}content-type: application/octet-stream\r\n\r\n".encode() + BODY[:100])
            # until the service has read the bytes
            wait_for(lambda: httpx.post(f"{url}{PREDICT}", content=BODY, headers=RAW).status_code == 429, 1.5)
            assert client.recv(4096).startswith(b"HTTP/1.1 408")
        for _ in range(3):
            assert httpx.post(f"{url}{PREDICT}", content=BODY, headers=RAW).status_code == 200


def test_slow_client_is_given_up(models):
    with running(Service(models, AppConfig(body_timeout_s=0.3))) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), 20) as client:
            head = f"POST {PREDICT} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(BODY)}\r\n"
            client.sendall(f"{head}content-type: application/octet-stream\r\n\r\n".encode() + BODY[:10])
            answer = client.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "timed out after 0.3 s, with 10 bytes" in answer


def test_metrics_count_requests_errors_and_sounds(models):
    metrics = PrometheusMetrics()
    with TestClient(build_app(Service(models, metrics=metrics, scraped=metrics.encode))) as client:
        for _ in range(3):
            client.post(PREDICT, content=BODY * 2, headers=RAW)
        client.post(PREDICT, content=b"x", headers=RAW)
        text = client.get("/metrics").text
    assert 'synthray_requests_total{label="stable",route="predict",status="200",version="3"} 3.0' in text
    assert 'synthray_requests_total{label="stable",route="predict",status="400",version="3"} 1.0' in text
    assert 'synthray_errors_total{kind="invalid"} 1.0' in text
    assert "synthray_batch_sounds_sum 6.0" in text
    assert 'synthray_stage_seconds_count{label="stable",stage="network",version="3"} 3.0' in text
    for name in METRICS:
        assert f"# HELP synthray_{name.removesuffix('_total')}" in text


def test_metrics_are_absent_without_a_registry(models):
    with TestClient(build_app(Service(models))) as client:
        assert client.get("/metrics").status_code == 404
