"""From a source of batches to shards: a plan, and one shard at a time; ``publish.py`` makes a data set of them.

A shard is a pure function of the plan, and leaves a receipt beside it when it is written. A run that was killed goes
on where it stopped: what has a receipt is not made again, what has none is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from synthray.data import statistics
from synthray.data.batch import Batch
from synthray.data.card import check_free
from synthray.data.dataset import Dataset
from synthray.data.manifest import MANIFEST, SOUNDS, STORES, Manifest, Shard, Skipped
from synthray.data.shards import DTYPES, encode_shard, schema
from synthray.data.storage import Store
from synthray.errors import BadBatch, ConfigError, Conflict, CorruptShard, DataError, NotFound
from synthray.synth.parameters import ParameterTable

# A shard is what is read at once: large enough to be worth a request, small enough that many of them are in memory
# together, so that a batch draws from many. 256 sounds of 20 x 551 in float32 are 11 MB.
_SHARD_BYTES = 12_000_000
_SHARDS_OF_A_SMALL_DATA_SET = 8
SHARDS, RECEIPTS = "shards", "unfinished"
"""The folders of shards and of receipts, which goes when the data set is published."""
_OURS = re.compile(rf"{SHARDS}/\d{{5,}}-[0-9a-f]{{12}}\.parquet|{RECEIPTS}/[0-9a-f]{{32}}\.json")
NEVER_CHANGES = "a published one never changes: give another --out"

# Of a process's threads one encodes at a time, while others read and write: two would wait for each other, for Python's
# lock and for the cache, more than they gain.
_encoding = threading.Lock()


class Source(Protocol):
    """Where batches come from.

    ``provenance`` goes into the manifest; ``repeatable`` when the same one always gives the same batches. ``stamp``
    tells cheaply whether a batch has changed since an earlier run.
    """

    table: ParameterTable
    batches: tuple[int, ...]
    provenance: dict[str, Any]
    repeatable: bool

    def stamp(self, number: int) -> str: ...

    def read(self, number: int) -> Batch:
        """One batch; raises BadBatch."""
        ...


@dataclass(frozen=True)
class BuildConfig:
    """What is to be made.

    out: URI of the data set. dtype: of the features. skip_bad: leave out what cannot be read, and list it. store:
    ``"sounds"``, or ``"presets"``, where the instrument makes them. append: URI of a published data set, whose shards
    are to be this one's too, before the new ones.
    """

    out: str
    dtype: str = "float32"
    skip_bad: bool = False
    store: str = SOUNDS
    append: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Store.at(self.out).uri)  # absolute: workers run in folders of their own
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; it can be {' or '.join(DTYPES)}")
        if self.store not in STORES:
            raise ConfigError(f"store is {self.store!r}; it can be {' or '.join(STORES)}")
        if self.append:
            object.__setattr__(self, "append", Store.at(self.append).uri)
            if self.append == self.out:
                raise ConfigError(f"{self.out} cannot be appended to itself: a published one never changes")


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


@dataclass(frozen=True)
class Plan:
    """Which batches go into which shard; a pure function of source and configuration.

    published: the manifest that stands at ``out`` already. Then shards are made to be compared, and written only where
    a published one is not as it was. base: the data set that is appended to.
    """

    source: Source
    config: BuildConfig
    feature_shape: tuple[int, int]
    shards: tuple[tuple[int, ...], ...]
    published: Manifest | None = None
    base: Manifest | None = None

    @classmethod
    def make(cls, source: Source, config: BuildConfig) -> Plan:
        """Cut the source into shards.

        Raises:
            DataError: no batch of it can be read, or it does not go with the data set that it is appended to.
            Conflict: a data set of another kind stands at ``out``, or a README.md that is no card.
        """
        shape = _features_shape(source)
        most = max(1, _SHARD_BYTES // (math.prod(shape) * np.dtype(config.dtype).itemsize))
        per_shard = min(-(-len(source.batches) // _SHARDS_OF_A_SMALL_DATA_SET), most)
        cuts = range(0, len(source.batches), per_shard)
        shards = tuple(source.batches[i : i + per_shard] for i in cuts)
        out = Store.at(config.out)
        published = Manifest.load(out) if out.exists(MANIFEST) else None
        base = Manifest.load(Store.at(config.append)) if config.append else None
        plan = cls(source, config, shape[1:], shards, published, base)
        if base and (difference := plan._difference(base)):
            raise DataError(f"the batches do not go with {config.append}: it has {difference}")
        # what is the same in this may still be another data set: whoever publishes it compares the whole
        if published and (difference := plan._difference(published)):
            raise Conflict(f"{out.uri} holds a data set with {difference}; {NEVER_CHANGES}")
        if not published:
            check_free(out)
        return plan

    def _difference(self, other: Manifest) -> str:
        """What of a data set keeps these batches from being in it, or ''."""
        ours = (self.source.table, self.feature_shape, self.config.dtype, self.config.store)
        theirs = (other.table, other.feature_shape, other.feature_dtype, other.store)
        for what, our, their in zip(("parameters", "feature shape", "dtype", "store"), ours, theirs, strict=True):
            if our != their:
                return f"another {what}" + ("" if what == "parameters" else f": {our} here, {their} there")
        return ""

    @cached_property
    def _common(self) -> str:
        body = [self.source.table.to_json(), self.source.provenance, self.feature_shape]
        return json.dumps([*body, self.config.dtype, self.config.store])

    def worth_keeping(self, skipped: Sequence[Skipped]) -> bool:
        """Whether a shard without these batches will be published."""
        return self.config.skip_bad or not skipped

    def fingerprint(self, number: int) -> str:
        """Tells whether a receipt is of this very shard: same table, source, shape, dtype, store and files."""
        stamps = [(batch, self.source.stamp(batch)) for batch in self.shards[number]]
        return hashlib.sha256(json.dumps([self._common, number, stamps]).encode()).hexdigest()


def _features_shape(source: Source) -> tuple[int, int, int]:
    """Examples, frames and bins that every batch is expected to have, but for the number of examples.

    Those of the first batch that can be read, unless one in the middle and the last one agree on others.
    """
    shapes: list[tuple[int, ...]] = []
    first_error: BadBatch | None = None
    for number in source.batches:
        try:
            shapes.append(source.read(number).features.shape)
            break
        except BadBatch as error:
            first_error = first_error or error
    else:
        raise DataError(f"none of the {len(source.batches)} batches can be read; the first: {first_error}")
    for number in (source.batches[len(source.batches) // 2], source.batches[-1]):
        with contextlib.suppress(BadBatch):
            shapes.append(source.read(number).features.shape)
    first, *others = shapes
    return others[0] if len(others) == 2 and first[1:] != others[0][1:] == others[1][1:] else first


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
