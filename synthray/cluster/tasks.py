"""Calls of one function, spread over the cluster with Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import ray
import ray.data

from synthray import errors

Shared = TypeVar("Shared")

# One shard is encoded while others are on their way from and to the disk or the store.
_THREADS = 3


def map_numbers(
    function: Callable[[Shared, int], bytes], shared: Shared, count: int, *, per_task: int
) -> Iterator[bytes]:
    """Call ``function(shared, number)`` with 0 … count - 1 on the cluster; results come as they are ready, unordered.

    Raises:
        SynthrayError: the first that a call raised, as it was raised there.
    """
    reference = ray.put(shared)  # once, instead of with each task

    def work(row: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        here = ray.get(reference)

        def call(number: int) -> tuple[bytes, str]:
            try:
                return function(here, number), ""
            except errors.SynthrayError as error:
                return str(error).encode(), type(error).__name__

        with ThreadPoolExecutor(_THREADS) as threads:
            results, kinds = zip(*threads.map(call, row["item"].tolist()), strict=True)
        return {"result": list(results), "error": list(kinds)}

    numbers = ray.data.from_items(list(range(count)), override_num_blocks=-(-count // per_task))
    for row in numbers.map_batches(work, batch_size=None).iter_rows():
        if row["error"]:
            raise getattr(errors, row["error"])(row["result"].decode())
        yield row["result"]
