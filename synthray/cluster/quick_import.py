"""A quicker import of TensorFlow, for processes that belong to a training alone."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Any

# For its wrappers of scikit-learn's classes, which no training uses, Keras imports it where it is installed.
_UNUSED = "sklearn"


@contextlib.contextmanager
def quick_import() -> Iterator[None]:
    """Import modules within the block, TensorFlow in some 0.55 of the time.

    The garbage collector is off: it would look again and again at hundreds of thousands of objects that all stay. Keras
    is imported as if scikit-learn were not installed; afterwards the process can import it.
    """
    modules: dict[str, Any] = sys.modules
    hides, collects = _UNUSED not in modules, gc.isenabled()
    if hides:
        modules[_UNUSED] = None  # Python raises ImportError for it
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
        if hides:
            del modules[_UNUSED]
