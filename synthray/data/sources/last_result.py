"""The last result of a slow computation, shared by the threads of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from synthray.errors import BadBatch

Result = TypeVar("Result")


class LastResult(Generic[Result]):
    """A cache for one result, or for the reason why a batch has none.

    One thread computes it while the others wait. ``functools.lru_cache`` would compute it in each of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._result: Result | BadBatch | None = None

    def get(self, key: object, compute: Callable[[], Result]) -> Result:
        """Return the result of a key; call ``compute`` if another key came last.

        Raises:
            BadBatch: ``compute`` raised it, in this call or in an earlier one.
        """
        with self._lock:
            if self._result is None or self._key != key:
                self._result = None  # frees the old result before the new one is computed
                try:
                    self._result = compute()
                except BadBatch as error:
                    self._result = error
                self._key = key
            result = self._result
        if isinstance(result, BadBatch):
            raise BadBatch(result.source, result.reason)
        return result
