"""Objects that belong together: of two jobs that write them at the same time, the last one has all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from synthray.errors import StorageError
from synthray.storage.base import Store

_ATTEMPTS = 10
# Jobs that wait for random times do not replace each other's objects forever. The longest pause grows by this much.
_PAUSE_S = 1.0


def write_together(store: Store, objects: Mapping[str, bytes | None]) -> None:
    """Write objects, so that they are never mixed with those of another job that does the same.

    Each job reads its objects after it wrote them, and writes all of them again if another job has replaced one. The
    job that writes last therefore finds all of its own. A job that is killed leaves a mixture, until it is run again.

    Args:
        store: the place.
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
