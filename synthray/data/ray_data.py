"""Making data sets on Ray Data."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import ray
import ray.data

from synthray import errors
from synthray.data.build import Receipt, build_shard, mend_shard
from synthray.data.manifest import Manifest
from synthray.data.notebook import NotebookSource
from synthray.data.plan import BuildConfig, Plan, Source
from synthray.data.publish import is_known, publish, tidied
from synthray.data.ray_address import cluster_address
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.data.generate import GenerateConfig

Shared = TypeVar("Shared")

LOCAL_RAY = {"RAY_idle_worker_killing_time_threshold_ms": "60000"}
"""What a Ray on this machine is started with, by the environment.

Ray ends workers after a second without work if there are more of them than free processors. Tasks that read for a
training rest for longer than that between two windows of its order, and a new worker takes two seconds of a processor.
"""

# A Ray task costs some milliseconds: what takes less than that goes several to a task.
_BATCHES_PER_TASK = 8
_SHARDS_PER_TASK = 8
# One shard is encoded while others are on their way from and to the disk or the store.
_THREADS = 3


def connect(*, verbose: bool = False, quiet: str = "ray.data") -> None:
    """Join the cluster that this process was started for, or start a local one.

    verbose: show what workers print and what Ray tells of itself. quiet: the logger that is silenced otherwise. Raises
    ConfigError where there is no such cluster.
    """
    if not ray.is_initialized():
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        level = logging.INFO if verbose else logging.ERROR
        # a local one without its dashboard: nobody is told of it, and it takes two seconds to start
        ray.init(cluster_address(), log_to_driver=verbose, logging_level=level, include_dashboard=False)
    logging.getLogger(quiet).setLevel(logging.INFO if verbose else logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    context.print_on_execution_start = verbose
    # Reserved for an operator that there is none of, a part of the processors would stand idle: of two, one.
    context.op_resource_reservation_enabled = False


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


def generate(config: GenerateConfig) -> int:
    """Make batches in the notebook's layout; what an earlier run has made is kept. Returns how many are new."""
    # imported here: converting and training do without the instrument and its compiler
    from synthray.data.generate import claim, finish, write_batch

    claim(config)

    def write(config: GenerateConfig, number: int) -> bytes:
        return b"new" if write_batch(config, number) else b"kept"

    with Progress("making", config.batches, "batches") as progress:
        made = 0
        for result in map_numbers(write, config, config.batches, per_task=_BATCHES_PER_TASK):
            made += result == b"new"
            progress.advance()
    finish(config)
    return made


def convert(source: str, config: BuildConfig) -> Manifest:
    """Publish the batches at ``source``, in the notebook's layout, as a data set."""
    return build(NotebookSource.open(source), config, "converting")


def build(source: Source, config: BuildConfig, what: str) -> Manifest:
    """Publish a data set, a few shards to a task."""
    plan = Plan.make(source, config)
    if is_known(plan):
        return _mend(plan)

    def make(plan: Plan, number: int) -> bytes:
        return build_shard(plan, number).encode()

    receipts = []
    with Progress(what, len(source.batches), "batches") as progress:
        for raw in map_numbers(make, plan, len(plan.shards), per_task=_SHARDS_PER_TASK):
            receipts.append(Receipt.decode(raw))
            progress.advance(len(plan.shards[receipts[-1].number]))
    return publish(plan, receipts)


def _mend(plan: Plan) -> Manifest:
    """See that a published data set is as it was, and make what is not again."""

    def mend(plan: Plan, number: int) -> bytes:
        return b"mended" if mend_shard(plan, number) else b"whole"

    mended = 0
    with Progress("checking", len(plan.shards), "shards") as progress:
        for result in map_numbers(mend, plan, len(plan.shards), per_task=_SHARDS_PER_TASK):
            mended += result == b"mended"
            progress.advance()
    if mended:
        print(f"{mended} of {len(plan.shards)} shards were not as published, and are made again", file=sys.stderr)
    return tidied(plan, plan.published)
