"""The service's log reaches Ray Serve's handlers at Serve's level."""

from __future__ import annotations

import logging

import pytest

from synthray.cluster.serving.log import log_to_serve


@pytest.mark.parametrize(("level", "expected"), [(logging.INFO, ["swapped", "failed"]), (logging.WARNING, ["failed"])])
def test_log_to_serve_is_written_once_at_the_level_of_serve(
    monkeypatch: pytest.MonkeyPatch, level: int, expected: list[str]
) -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    serve, package = logging.getLogger("ray.serve"), logging.getLogger("synthray.serve")
    monkeypatch.setattr(serve, "handlers", [handler])
    monkeypatch.setattr(serve, "level", level)
    monkeypatch.setattr(serve, "_cache", {})
    monkeypatch.setattr(package, "handlers", [])
    log_to_serve()
    log_to_serve()
    logger = logging.getLogger("synthray.serve.models.hot_swap")
    logger.info("swapped")
    logger.warning("failed")
    assert messages == expected
