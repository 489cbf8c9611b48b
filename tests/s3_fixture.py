"""The suite's S3 server: one for all tests, started by the first that asks for it. Import it in a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.s3_server import S3Server, running_s3_server


def place_in(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of a test's own in a server, which this process is pointed at until the test ends."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket}/{request.node.name}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server that all tests share: use keys of your own, and start another one to break it.

    It sets nothing: give ``server.environment`` to what is tested (``monkeypatch.setenv``, or a subprocess's ``env``).
    """
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
        server.kill()  # nothing of it is needed any more; its own end takes ten seconds
