"""Native code without its log lines. Python's own warnings and errors are not affected."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what native code writes to stderr within the block.

    Exceptions still propagate. TensorFlow logs CPU features and missing GPUs before it reads ``TF_CPP_MIN_LOG_LEVEL``.
    The level is set for later. The MP3 decoder logs each irregularity of a file.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    with open(os.devnull, "wb") as devnull:  # noqa: PTH123
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
