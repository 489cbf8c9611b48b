"""The service's log as a part of Ray Serve's, which names the replica and the request."""

from __future__ import annotations

import logging


class _ToServe(logging.Handler):
    """Hands records to Serve's logger, whose level decides and whose handlers may change at any time."""

    def emit(self, record: logging.LogRecord) -> None:
        serve = logging.getLogger("ray.serve")
        if serve.isEnabledFor(record.levelno):
            serve.handle(record)


_TO_SERVE = _ToServe()


def log_to_serve() -> None:
    """Write the log of ``synthray.serve`` to that of Serve in this process."""
    logger = logging.getLogger("synthray.serve")
    logger.setLevel(logging.INFO)
    logger.addHandler(_TO_SERVE)  # once, however often this is called
