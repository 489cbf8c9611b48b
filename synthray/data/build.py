"""From a plan to shards, one at a time; ``publish.py`` makes a data set of them.

A shard is a pure function of the plan, and leaves a receipt beside it when it is written. A run that was killed goes
on where it stopped: what has a receipt is not made again, what has none is.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthray.data import statistics
from synthray.data.batch import Batch
from synthray.data.dataset import Dataset
from synthray.data.manifest import MANIFEST, Shard, Skipped
from synthray.data.plan import Plan
from synthray.data.shards import encode_shard, schema
from synthray.data.storage import Store
from synthray.errors import BadBatch, CorruptShard, NotFound

SHARDS, RECEIPTS = "shards", "unfinished"
"""The folders of shards and of receipts, which goes when the data set is published."""
_OURS = re.compile(rf"{SHARDS}/\d{{5,}}-[0-9a-f]{{12}}\.parquet|{RECEIPTS}/[0-9a-f]{{32}}\.json")

# Of a process's threads one encodes at a time, while others read and write: two would wait for each other, for Python's
# lock and for the cache, more than they gain.
_encoding = threading.Lock()


@dataclass(frozen=True)
class Receipt:
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
    def decode(cls, raw: bytes) -> Receipt:
        body = json.loads(raw)
        shard = Shard(**body["shard"]) if body["shard"] else None
        return cls(**body | {"shard": shard, "skipped": tuple(Skipped(**skip) for skip in body["skipped"])})


def build_shard(plan: Plan, number: int) -> Receipt:
    """Read the batches of one shard, write it, leave its receipt; or find that an earlier run did.

    Raises:
        StorageError: the store cannot be reached.
    """
    out = Store.at(plan.config.out)
    fingerprint = plan.fingerprint(number)
    path = _receipt_path(fingerprint)
    # Another job may have published meanwhile: what were written now would lie beside its shards.
    published = plan.published is not None or out.exists(MANIFEST)
    if not published:
        with contextlib.suppress(NotFound, ValueError, KeyError, TypeError):  # none, or damaged: make the shard
            receipt = Receipt.decode(out.read(path))
            whole = receipt.shard and out.entry(receipt.shard.path).size == receipt.shard.bytes
            if whole and plan.worth_keeping(receipt.skipped):
                return receipt
    receipt = _make_shard(plan, number, fingerprint, write=not published)
    if receipt.shard and not published and plan.worth_keeping(receipt.skipped):
        out.write(path, receipt.encode())
    return receipt


def mend_shard(plan: Plan, number: int) -> bool:
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


def is_ours(path: str) -> bool:
    """Whether a path in a data set's folder is of a shard or a receipt, by how these are named."""
    return bool(_OURS.fullmatch(path))


def _receipt_path(fingerprint: str) -> str:
    return f"{RECEIPTS}/{fingerprint[:32]}.json"


def _make_shard(plan: Plan, number: int, fingerprint: str, *, write: bool) -> Receipt:
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
        return Receipt(number, fingerprint, None, {}, tuple(skipped))
    columns = schema(table, plan.feature_shape, plan.config.dtype, plan.config.store)
    with _encoding:
        raw, sha256 = encode_shard(batches, table, columns)
    # The digest in the name keeps two jobs that write to the same place from each other's shards.
    path = f"{SHARDS}/{number:05d}-{sha256[:12]}.parquet"
    if (write and plan.worth_keeping(skipped)) or _is_damaged(plan, path):
        Store.at(plan.config.out).write(path, raw)
    shard = Shard(path, sum(len(batch) for batch in batches), len(raw), sha256)
    sums = statistics.summarise(batches, table)
    replaced = sum(batch.replaced for batch in batches)
    return Receipt(number, fingerprint, shard, sums, tuple(skipped), replaced)


def _check_features(batch: Batch, plan: Plan, number: int) -> None:
    name = f"fft/fft_batch_{number}.npy"
    if batch.features.shape[1:] != plan.feature_shape:
        frames, bins = plan.feature_shape
        raise BadBatch(name, f"it has the shape {batch.features.shape}, others (examples, {frames}, {bins})")
    if np.can_cast(batch.features.dtype, plan.config.dtype):
        return
    largest = float(np.abs(batch.features).max())
    if largest > float(np.finfo(plan.config.dtype).max):
        raise BadBatch(name, f"the value {largest:g} is too large for {plan.config.dtype}")
