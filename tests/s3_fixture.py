"""The suite's S3 server, started by the first test that needs it.

Import the fixture in a ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.s3_server import S3Server, running_s3_server


def place_in(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Point this process at a server until the test ends.

    Return a URI that only this test uses.
    """
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket}/{request.node.name}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return the S3 server that all tests share. To break a server, start another one.

    The fixture sets no variables: give ``server.environment`` to ``monkeypatch.setenv`` or to a subprocess.
    """
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
