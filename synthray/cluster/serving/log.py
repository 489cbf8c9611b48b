"""Pass the service's log to Ray Serve's log, which names the replica and the request."""

from __future__ import annotations

import logging


class _ToServe(logging.Handler):
    """Passes records to Serve's logger. That logger's level decides, and its handlers may change at any time."""

    def emit(self, record: logging.LogRecord) -> None:
        serve = logging.getLogger("ray.serve")
        if serve.isEnabledFor(record.levelno):
            serve.handle(record)


_TO_SERVE = _ToServe()


def log_to_serve() -> None:
    """Pass the log of ``synthray.serve`` in this process to Ray Serve's log."""
    logger = logging.getLogger("synthray.serve")
    logger.setLevel(logging.INFO)
    logger.addHandler(_TO_SERVE)  # once, however often this is called
