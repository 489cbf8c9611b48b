"""Building of single shards from a plan.

A shard depends only on the plan. Each written shard has a record, so that a run that resumes after a kill does not
build the shard again. ``publish.py`` turns the records into a data set.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthray.data import stats
from synthray.data.build.plan import Part, Plan
from synthray.data.dataset import REPAIR, Dataset
from synthray.data.examples import Examples
from synthray.data.manifest import MANIFEST, Manifest, Shard, Skipped
from synthray.data.parquet import encode_shard, schema
from synthray.errors import BadBatch, CorruptShard, NotFound
from synthray.storage import open_store

SHARDS, RECORDS = "shards", "unfinished"
"""Folders of shards and of their records. Publishing removes the records."""
_GENERATED_PATH = re.compile(rf"{SHARDS}/\d{{5,}}-[0-9a-f]{{12}}\.parquet|{RECORDS}/[0-9a-f]{{32}}\.json")

# One thread of a process encodes at a time. Two would compete for Python's lock and the CPU cache.
_encoding = threading.Lock()


@dataclass(frozen=True)
class ShardRecord:
    """The outcome of building one shard."""

    number: int
    """Index of the shard in the plan."""
    shard: Shard | None
    """The written shard; None if all its batches were bad."""
    sums: dict[str, Any]
    """Sums for the statistics of the data set, from ``stats.summarise``."""
    skipped: tuple[Skipped, ...]
    """Bad batches."""
    replaced: int = 0
    """Number of silent presets that were resampled."""

    def encode(self) -> bytes:
        """Return the record as JSON."""
        shard = asdict(self.shard) if self.shard else None
        # asdict(self) would copy thousands of sums one by one
        body = vars(self) | {"shard": shard, "skipped": [asdict(skip) for skip in self.skipped]}
        return json.dumps(body).encode()

    @classmethod
    def decode(cls, raw: bytes) -> ShardRecord:
        """Return the record of a JSON text; raises ValueError, KeyError, TypeError."""
        body = json.loads(raw)
        shard = Shard(**body["shard"]) if body["shard"] else None
        return cls(**body | {"shard": shard, "skipped": tuple(Skipped(**skip) for skip in body["skipped"])})


def build_shard(plan: Plan, number: int) -> ShardRecord:
    """Write a shard and its record, unless an earlier run did.

    If a data set is already published, the shard is built for comparison and written only where the published one is
    missing or corrupt.

    Raises:
        StorageError: the store cannot be reached.
    """
    out = open_store(plan.config.out)
    record_path = f"{RECORDS}/{plan.fingerprint(number)[:32]}.json"
    # Another job may have published since the plan was made. A shard written now would be a stray file.
    published = plan.published is not None or out.exists(MANIFEST)
    if not published:
        with contextlib.suppress(NotFound, ValueError, KeyError, TypeError):  # no record, or a corrupt one
            record = ShardRecord.decode(out.read(record_path))
            complete = record.shard and out.entry(record.shard.path).size == record.shard.bytes
            if complete and plan.worth_keeping(record.skipped):
                return record
    record, file = _encode_shard(plan, number)
    if record.shard is None:
        return record
    is_new = not published and plan.worth_keeping(record.skipped)
    if is_new or _is_corrupt(plan, record.shard.path):
        out.write(record.shard.path, file)
    if is_new:
        out.write(record_path, record.encode())
    return record


def repair_shard(plan: Plan, published: Manifest, number: int) -> bool:
    """Write a published shard again if it is missing or corrupt; return whether it was.

    Raises:
        CorruptShard: the shard that this machine builds differs from the published one, for example on another type
            of CPU.
        StorageError: the store cannot be reached.
    """
    index = len(published.shards) - len(plan.shards) + number  # the shards of the base come first
    try:
        Dataset(plan.config.out, published).read_bytes(index)
        return False
    except CorruptShard as error:
        record, file = _encode_shard(plan, number)
        if record.shard is None or record.shard != published.shards[index]:
            raise CorruptShard(_not_repaired(error, record.shard, published.shards[index])) from None
    open_store(plan.config.out).write(record.shard.path, file)
    return True


def _not_repaired(problem: CorruptShard, made: Shard | None, published: Shard) -> str:
    sha256 = f"SHA-256 {made.sha256[:12]}… instead of {published.sha256[:12]}…" if made else "its batches are bad"
    return (
        f"{str(problem).removesuffix(REPAIR)}It cannot be repaired here, because this machine makes a different shard "
        f"({sha256}). The last bits of a sound differ between types of CPU and versions of NumPy, Numba and PyArrow. "
        "Run the command on a machine like the one that created the data set, restore the file from a copy, or create "
        "the data set again with another --out."
    )


def is_generated_path(path: str) -> bool:
    """Return whether a path in a data set's folder has the name of a shard or a record."""
    return bool(_GENERATED_PATH.fullmatch(path))


def _is_corrupt(plan: Plan, path: str) -> bool:
    """Return whether the path is of a published shard that is missing or corrupt."""
    if plan.published is None or path not in plan.published_numbers:
        return False
    try:
        Dataset(plan.config.out, plan.published).read_bytes(plan.published_numbers[path])
    except CorruptShard:
        return True
    return False


def _encode_shard(plan: Plan, number: int) -> tuple[ShardRecord, bytes]:
    """Return the record and the Parquet file of a shard; the file is empty if all its batches are bad."""
    table = plan.source.table
    batches, skipped = [], []
    for part in plan.shards[number]:
        try:
            batch = plan.source.read(*part)
            _check_features(batch, plan, part)
            batches.append(batch)
        except BadBatch as error:
            skipped.append(Skipped(error.source, error.reason))
    if not batches:
        return ShardRecord(number, None, {}, tuple(skipped)), b""
    columns = schema(table, plan.feature_shape, plan.config.dtype, plan.config.content)
    with _encoding:
        file = encode_shard(batches, table, columns)
    sha256 = hashlib.sha256(file).hexdigest()
    # The digest in the name keeps two jobs that write to one place from replacing each other's shards.
    path = f"{SHARDS}/{number:05d}-{sha256[:12]}.parquet"
    shard = Shard(path, sum(len(batch) for batch in batches), len(file), sha256)
    sums = stats.summarise(batches, table)
    replaced = sum(batch.replaced for batch in batches)
    return ShardRecord(number, shard, sums, tuple(skipped), replaced), file


def _check_features(batch: Examples, plan: Plan, part: Part) -> None:
    name = plan.source.name(part.batch)
    if batch.features.shape[1:] != plan.feature_shape:
        shape = plan.source.large_shape(part.batch) or batch.features.shape
        frames, bins = plan.feature_shape
        raise BadBatch(name, f"its shape is {shape}, but other batches have (examples, {frames}, {bins})")
    if np.can_cast(batch.features.dtype, plan.config.dtype):
        return
    largest = float(np.abs(batch.features).max())
    if largest > float(np.finfo(plan.config.dtype).max):
        raise BadBatch(name, f"the value {largest:g} is too large for {plan.config.dtype}")
