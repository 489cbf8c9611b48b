"""Point a test at an S3 server."""

from __future__ import annotations

import pytest

from infra.s3_server import S3Server


def place_in(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Point this process at a server until the test ends; return a URI that only this test uses."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket}/{request.node.name}"
