"""An S3 server behind a proxy that injects faults, and one that tests may kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.s3_server import S3Server, running_s3_server
from synthray.storage import Store, open_store, retry, s3
from synthray.storage.retry import RETRY_TIMEOUT
from tests.faults import (
    FaultyProxy,
    faulty_proxy,
)
from tests.s3_place import place_in

RETRY_TIMEOUT_S = 20


@pytest.fixture(scope="module")
def relay(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def proxy(relay: FaultyProxy, on_s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Return a proxy to the suite's S3 server.

    This process uses it, and retries quickly.
    """
    relay.heal()
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
    monkeypatch.setenv(RETRY_TIMEOUT, str(RETRY_TIMEOUT_S))
    monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.02)
    yield relay
    relay.heal()


@pytest.fixture
def store(proxy: FaultyProxy, on_s3: str) -> Store:
    return open_store(on_s3)


@pytest.fixture
def direct_store(on_s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy) -> Store:
    """Return the store without the proxy: it shows what the server really holds."""

    class DirectStore(s3.S3Store):
        def _call(self, path, action):
            with monkeypatch.context() as direct:
                direct.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
                return super()._call(path, action)

    store = open_store(on_s3)
    assert isinstance(store, s3.S3Store)
    return DirectStore(store.bucket, store.prefix)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return a server that only these tests use, because they kill and fill it."""
    with running_s3_server(tmp_path_factory.mktemp("own-server")) as server:
        yield server


@pytest.fixture
def on_own_server(own_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    return place_in(own_server, monkeypatch, request)
