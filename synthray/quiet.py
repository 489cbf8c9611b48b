"""Native code without its log lines."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_blocks = 0
"""Blocks that run now, in all threads. The first one redirects stderr, the last one restores it."""
_stderr_copy = -1


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what any thread writes to stderr within the block.

    Exceptions still propagate. TensorFlow logs CPU features and missing GPUs before it reads ``TF_CPP_MIN_LOG_LEVEL``.
    The function sets this variable for later. The MP3 decoder logs each irregularity of a file.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _blocks, _stderr_copy  # the whole process shares one stderr
    with _lock:
        if _blocks == 0:
            sys.stderr.flush()
            _stderr_copy = os.dup(2)
            with open(os.devnull, "wb") as devnull:  # noqa: PTH123
                os.dup2(devnull.fileno(), 2)
        _blocks += 1


def _leave() -> None:
    global _blocks
    with _lock:
        _blocks -= 1
        if _blocks == 0:
            sys.stderr.flush()
            os.dup2(_stderr_copy, 2)
            os.close(_stderr_copy)
