"""From a plan to shards, one at a time; ``publish.py`` makes a data set of them.

A shard is a pure function of the plan, and leaves a record beside it when it is written. A run that was killed goes
on where it stopped: what has a record is not made again, what has none is.
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
from synthray.data.build.plan import Plan
from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.manifest import MANIFEST, Shard, Skipped
from synthray.data.parquet import encode_shard, schema
from synthray.errors import BadBatch, CorruptShard, NotFound
from synthray.storage import open_store

SHARDS, RECORDS = "shards", "unfinished"
"""The folders of shards and of records, which goes when the data set is published."""
_OURS = re.compile(rf"{SHARDS}/\d{{5,}}-[0-9a-f]{{12}}\.parquet|{RECORDS}/[0-9a-f]{{32}}\.json")

# Of a process's threads one encodes at a time, while others read and write: two would wait for each other, for Python's
# lock and for the cache, more than they gain.
_encoding = threading.Lock()


@dataclass(frozen=True)
class ShardRecord:
    """What one task made: a shard (None where no batch was good), its sums, and what was bad."""

    number: int
    fingerprint: str
    shard: Shard | None
    sums: dict[str, Any]
    skipped: tuple[Skipped, ...]
    replaced: int = 0

    def encode(self) -> bytes:
        shard = asdict(self.shard) if self.shard else None
        # not asdict of the whole: it would copy thousands of sums one by one
        body = vars(self) | {"shard": shard, "skipped": [asdict(skip) for skip in self.skipped]}
        return json.dumps(body).encode()

    @classmethod
    def decode(cls, raw: bytes) -> ShardRecord:
        body = json.loads(raw)
        shard = Shard(**body["shard"]) if body["shard"] else None
        return cls(**body | {"shard": shard, "skipped": tuple(Skipped(**skip) for skip in body["skipped"])})


def build_shard(plan: Plan, number: int) -> ShardRecord:
    """Read the batches of one shard, write it, leave its record; or find that an earlier run did.

    Raises:
        StorageError: the store cannot be reached.
    """
    out = open_store(plan.config.out)
    fingerprint = plan.fingerprint(number)
    path = _record_path(fingerprint)
    # Another job may have published meanwhile: what were written now would lie beside its shards.
    published = plan.published is not None or out.exists(MANIFEST)
    if not published:
        with contextlib.suppress(NotFound, ValueError, KeyError, TypeError):  # none, or damaged: make the shard
            record = ShardRecord.decode(out.read(path))
            whole = record.shard and out.entry(record.shard.path).size == record.shard.bytes
            if whole and plan.worth_keeping(record.skipped):
                return record
    record = _make_shard(plan, number, fingerprint, write=not published)
    if record.shard and not published and plan.worth_keeping(record.skipped):
        out.write(path, record.encode())
    return record


def repair_shard(plan: Plan, number: int) -> bool:
    """See that a shard of the published data set is as it was, or make it again; whether that was needed.

    Raises:
        CorruptShard: it would be another one.
        StorageError: the store cannot be reached.
    """
    dataset = Dataset(plan.config.out, plan.published)
    place = len(plan.published.shards) - len(plan.shards) + number  # behind those that were appended to
    try:
        dataset.read_bytes(place)
        return False
    except CorruptShard:
        made = _make_shard(plan, number, "", write=False).shard
        if made != plan.published.shards[place]:
            raise
        return True


def _is_damaged(plan: Plan, path: str) -> bool:
    """Whether a path is that of a published shard which is not as it was published."""
    if plan.published is None:
        return False
    for number, shard in enumerate(plan.published.shards):
        if shard.path == path:  # which has its digest in it
            try:
                Dataset(plan.config.out, plan.published).read_bytes(number)
            except CorruptShard:
                return True
    return False


def is_generated_path(path: str) -> bool:
    """Whether a path in a data set's folder is of a shard or a record, by how these are named."""
    return bool(_OURS.fullmatch(path))


def _record_path(fingerprint: str) -> str:
    return f"{RECORDS}/{fingerprint[:32]}.json"


def _make_shard(plan: Plan, number: int, fingerprint: str, *, write: bool) -> ShardRecord:
    """Read and write one shard; where nothing is to be written, only what of the published ones is damaged."""
    table = plan.source.table
    batches, skipped = [], []
    for batch_number in plan.shards[number]:
        try:
            batch = plan.source.read(batch_number)
            _check_features(batch, plan, batch_number)
            batches.append(batch)
        except BadBatch as error:
            skipped.append(Skipped(error.source, error.reason))
    if not batches:
        return ShardRecord(number, fingerprint, None, {}, tuple(skipped))
    columns = schema(table, plan.feature_shape, plan.config.dtype, plan.config.content)
    with _encoding:
        raw = encode_shard(batches, table, columns)
    sha256 = hashlib.sha256(raw).hexdigest()
    # The digest in the name keeps two jobs that write to the same place from each other's shards.
    path = f"{SHARDS}/{number:05d}-{sha256[:12]}.parquet"
    if (write and plan.worth_keeping(skipped)) or _is_damaged(plan, path):
        open_store(plan.config.out).write(path, raw)
    shard = Shard(path, sum(len(batch) for batch in batches), len(raw), sha256)
    sums = stats.summarise(batches, table)
    replaced = sum(batch.replaced for batch in batches)
    return ShardRecord(number, fingerprint, shard, sums, tuple(skipped), replaced)


def _check_features(batch: Examples, plan: Plan, number: int) -> None:
    name = f"fft/fft_batch_{number}.npy"
    if batch.features.shape[1:] != plan.feature_shape:
        frames, bins = plan.feature_shape
        raise BadBatch(name, f"it has the shape {batch.features.shape}, others (examples, {frames}, {bins})")
    if np.can_cast(batch.features.dtype, plan.config.dtype):
        return
    largest = float(np.abs(batch.features).max())
    if largest > float(np.finfo(plan.config.dtype).max):
        raise BadBatch(name, f"the value {largest:g} is too large for {plan.config.dtype}")
