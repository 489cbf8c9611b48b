"""The Ray Data pipelines that write batches and data sets.

The work of one task is in ``data/build``. docs/architecture.md explains why ``write_parquet`` is not used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import ray.data

from synthray.cluster.tasks import each, results
from synthray.data.build.plan import BuildConfig, Plan, Source
from synthray.data.build.publish import finalize, matches_published, publish
from synthray.data.build.shard import build_shard, repair_shard
from synthray.data.manifest import Manifest
from synthray.data.sources.notebook import NotebookSource
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.data.build.generate_config import GenerateConfig

# A Ray Data task costs about 10 ms, as much as a small shard.
_ITEMS_PER_TASK = 8
# One thread encodes while the others wait for the disk or the object store.
_THREADS = 3


def generate(config: GenerateConfig) -> int:
    """Write batches in the NumPy/pickle layout and return how many are new.

    Batches of an earlier run with the same configuration are kept.
    """
    # Imported here, because they import the instrument and Numba, which a conversion does not need.
    from synthray.data.build.notebook_writer import finish, reserve_output, write_batch

    reserve_output(config)
    new_batches = 0
    with Progress("generating", config.batches, "batches") as progress:
        for is_new in _call_with_numbers(partial(write_batch, config), config.batches):
            new_batches += is_new
            progress.advance()
    finish(config)
    return new_batches


def convert(source: str, config: BuildConfig) -> Manifest:
    """Publish the batches at ``source``, in the NumPy/pickle layout, as a data set."""
    return build(NotebookSource.open(source), config, "converting")


def build(source: Source, config: BuildConfig, activity: str) -> Manifest:
    """Write the source's batches as shards and publish them as a data set.

    A data set that an earlier run published is checked and repaired instead.
    """
    plan = Plan.make(source, config)
    if plan.published and matches_published(plan):
        return _check_and_repair(plan, plan.published)
    records = []
    parts = sum(map(len, plan.shards))
    unit = "batches" if parts == len(source.batches) else "parts of batches"
    with Progress(activity, parts, unit) as progress:
        for record in _call_with_numbers(partial(build_shard, plan), len(plan.shards)):
            records.append(record)
            progress.advance(len(plan.shards[record.number]))
    return publish(plan, records)


def _check_and_repair(plan: Plan, published: Manifest) -> Manifest:
    """Check every shard of the published data set and rebuild those that are missing or corrupt."""
    repaired = 0
    with Progress("checking", len(plan.shards), "shards") as progress:
        for was_corrupt in _call_with_numbers(partial(repair_shard, plan, published), len(plan.shards)):
            repaired += was_corrupt
            progress.advance()
    if repaired:
        print(f"repaired {repaired} missing or corrupt shards of {len(plan.shards)}", file=sys.stderr)
    return finalize(plan, published)


def _call_with_numbers(function: Callable[[int], Any], count: int) -> Iterator[Any]:
    """Yield the results of ``function`` for 0 … count - 1, in any order. A task calls it with several numbers."""
    numbers = ray.data.range(count, override_num_blocks=-(-count // _ITEMS_PER_TASK))
    return results(numbers.map_batches(each(function, threads=_THREADS), batch_size=None))
