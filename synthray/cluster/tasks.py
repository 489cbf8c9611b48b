"""Calls of plain functions in Ray Data tasks.

The pipelines that use them are in ``build.py`` and ``evaluation.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.data
from ray.exceptions import RayTaskError

from synthray.errors import SynthrayError
from synthray.memory import keep_freed_memory

BatchFunction = Callable[[dict[str, np.ndarray]], dict[str, list[Any]]]


@dataclass(frozen=True)
class _Boxed:
    """A box that makes Ray Data pickle a value. A bare tuple would become an array, and a dictionary a struct."""

    value: Any


class _CallFailed(Exception):
    """A failed call, with its SynthrayError as the first argument.

    Ray Data appends advice about retries to an exception's first argument if that is text.
    """


def map_on_cluster(function: Callable[[Any], Any], items: Iterable[Any], *, num_cpus: float = 1) -> Iterator[Any]:
    """Yield ``function(item)`` for every item, one Ray task an item, in any order.

    Args:
        function: a picklable function.
        items: picklable objects; at least one.
        num_cpus: CPUs that a task reserves; no node may have fewer.

    Raises:
        SynthrayError: the first error of a call, as the call raised it.
    """
    rows = [{"item": _Boxed(item)} for item in items]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    unboxed = each(lambda boxed: function(boxed.value))
    return results(dataset.map_batches(unboxed, batch_size=None, num_cpus=num_cpus))


def each(function: Callable[[Any], Any], *, threads: int = 1) -> BatchFunction:
    """Return a function for ``Dataset.map_batches`` that calls ``function`` with each value of a one-column batch."""

    def call_with_each(batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        keep_freed_memory()  # in the process of the task
        [column] = batch.values()
        try:
            with ThreadPoolExecutor(threads) as pool:
                return {"result": [_Boxed(value) for value in pool.map(function, column.tolist())]}
        except SynthrayError as error:
            raise _CallFailed(error) from error

    return call_with_each


def results(dataset: ray.data.Dataset) -> Iterator[Any]:
    """Yield the results of a data set of ``each`` calls as they arrive, in any order.

    Raises:
        SynthrayError: the first error of a call, as the call raised it.
    """
    # Otherwise Ray Data raises a UserCodeException without the error that caused it.
    dataset.context.raise_original_map_exception = True
    try:
        for row in dataset.iter_rows():
            yield row["result"].value
    except RayTaskError as error:
        if isinstance(error.cause, _CallFailed):
            raise error.cause.args[0] from None
        raise
