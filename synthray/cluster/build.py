"""Making data sets on Ray Data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from synthray.cluster.tasks import map_numbers
from synthray.data.build.plan import BuildConfig, Plan, Source
from synthray.data.build.publish import finalize, matches_published, publish
from synthray.data.build.shard import ShardRecord, build_shard, repair_shard
from synthray.data.manifest import Manifest
from synthray.data.sources.notebook import NotebookSource
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.data.build.notebook_writer import GenerateConfig

# A Ray task costs some milliseconds: what takes less than that goes several to a task.
_BATCHES_PER_TASK = 8
_SHARDS_PER_TASK = 8


def generate(config: GenerateConfig) -> int:
    """Make batches in the notebook's layout; what an earlier run has made is kept. Returns how many are new."""
    # imported here: converting and training do without the instrument and its compiler
    from synthray.data.build.notebook_writer import finish, reserve_output, write_batch

    reserve_output(config)

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
    if matches_published(plan):
        return _mend(plan)

    def make(plan: Plan, number: int) -> bytes:
        return build_shard(plan, number).encode()

    records = []
    with Progress(what, len(source.batches), "batches") as progress:
        for raw in map_numbers(make, plan, len(plan.shards), per_task=_SHARDS_PER_TASK):
            records.append(ShardRecord.decode(raw))
            progress.advance(len(plan.shards[records[-1].number]))
    return publish(plan, records)


def _mend(plan: Plan) -> Manifest:
    """See that a published data set is as it was, and make what is not again."""

    def mend(plan: Plan, number: int) -> bytes:
        return b"mended" if repair_shard(plan, number) else b"whole"

    mended = 0
    with Progress("checking", len(plan.shards), "shards") as progress:
        for result in map_numbers(mend, plan, len(plan.shards), per_task=_SHARDS_PER_TASK):
            mended += result == b"mended"
            progress.advance()
    if mended:
        print(f"{mended} of {len(plan.shards)} shards were not as published, and are made again", file=sys.stderr)
    return finalize(plan, plan.published)
