"""Prefetching changes when items are computed, not which."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from synthray.train.prefetch import prefetch
from tests.waiting import wait_for


def test_results_keep_their_order() -> None:
    assert list(prefetch(lambda n: n * n, range(100))) == [n * n for n in range(100)]


def test_results_are_computed_ahead_up_to_the_limit() -> None:
    computed: list[int] = []
    results = prefetch(lambda n: computed.append(n) or n, itertools.count(), ahead=3)
    assert next(results) == 0
    wait_for(lambda: len(computed) >= 5, timeout_s=5)
    time.sleep(0.2)
    assert computed == [0, 1, 2, 3, 4]  # one returned, three in the queue, one that waits for room
    results.close()


def test_error_is_raised_after_the_results_before_it() -> None:
    def fail_at_two(n: int) -> int:
        if n == 2:
            raise KeyError("two")
        return n

    results = prefetch(fail_at_two, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)


def test_closing_ends_the_thread() -> None:
    results = prefetch(lambda n: n, itertools.count())
    before = set(threading.enumerate())
    next(results)
    [started] = set(threading.enumerate()) - before
    results.close()
    wait_for(lambda: not started.is_alive(), timeout_s=5)
