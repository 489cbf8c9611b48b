"""The last result of a slow computation is computed once, also if several threads ask for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from synthray.data.sources.last_result import LastResult
from synthray.errors import BadBatch, StorageError


def test_threads_share_one_computation() -> None:
    last, calls, together = LastResult[object](), [], threading.Barrier(3)

    def compute() -> object:
        calls.append(1)
        time.sleep(0.1)
        return object()

    def get(_: int) -> object:
        together.wait()
        return last.get("key", compute)

    with ThreadPoolExecutor(3) as pool:
        results = set(pool.map(get, range(3)))
    assert (len(results), len(calls)) == (1, 1)


def test_only_the_last_result_is_kept() -> None:
    last, calls = LastResult[str](), []

    def get(key: str) -> str:
        return last.get(key, lambda: calls.append(key) or key.upper())

    assert [get(key) for key in "aabbab"] == list("AABBAB")
    assert calls == list("abab")


def test_reason_of_a_bad_batch_is_kept_but_not_an_error_of_storage() -> None:
    last, errors = LastResult[str](), [BadBatch("x.pkl", "it is bad"), StorageError("no connection")]

    def fail() -> str:
        raise errors.pop(0)

    for _ in range(2):
        with pytest.raises(BadBatch, match=r"^x\.pkl: it is bad$"):
            last.get("bad", fail)
    with pytest.raises(StorageError):
        last.get("other", fail)
    assert last.get("other", lambda: "now") == "now"
