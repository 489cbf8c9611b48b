"""Working ahead changes when things are made, not what comes out."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from synthray.train.prefetch import prefetch


def test_results_come_in_order() -> None:
    assert list(prefetch(lambda n: n * n, range(100))) == [n * n for n in range(100)]


def test_it_works_ahead_but_not_further_than_told() -> None:
    made: list[int] = []
    results = prefetch(lambda n: made.append(n) or n, itertools.count(), ahead=3)
    assert next(results) == 0
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert made == [0, 1, 2, 3, 4]  # one given, three ready, one in hand
    results.close()


def test_what_goes_wrong_is_raised_in_its_place() -> None:
    def make(n: int) -> int:
        if n == 2:
            raise KeyError("two")
        return n

    results = prefetch(make, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)


def test_closing_ends_the_thread() -> None:
    results = prefetch(lambda n: n, itertools.count())
    next(results)
    results.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "prefetch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
