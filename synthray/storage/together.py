"""Writing of objects that belong together. If two jobs write at the same time, all objects of the last one remain."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from synthray.errors import StorageError
from synthray.storage.base import Store

_ATTEMPTS = 10
# Random pauses keep jobs from replacing each other's objects forever. The longest pause grows by this with each try.
_PAUSE_S = 1.0


def write_together(store: Store, objects: Mapping[str, bytes | None]) -> None:
    """Write objects so that they are not mixed with those of another job that writes the same paths.

    Each job reads its objects after it wrote them, and writes all of them again if another job has replaced one. The
    job that writes last therefore finds all of its own. A killed job can leave a mixture until it is run again.

    Args:
        store: the store to write to.
        objects: content by path; None for an object that must not exist.

    Raises:
        StorageError: another job repeatedly replaces the objects.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(random.uniform(0, attempt * _PAUSE_S))
        for path, content in objects.items():
            if content is None:
                store.delete(path)
            else:
                store.write(path, content)
        if all(store.read_if_present(path) == content for path, content in objects.items()):
            return
    raise StorageError(f"{store.uri}: other jobs write {', '.join(objects)} at the same time. Give another --out.")
