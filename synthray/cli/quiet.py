"""TensorFlow without the lines that it writes to standard error while it is imported, whatever its log level is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Within the block, what native code writes to standard error is dropped; errors are raised as ever.

    The lines tell of processor features and of a GPU that most machines lack. They come before TensorFlow has read
    ``TF_CPP_MIN_LOG_LEVEL``, which this sets for all that comes later.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
