"""From a source of batches to a published data set: plan, one task a shard, publish.

A shard is a pure function of the plan, and leaves a receipt beside it when it is written. A run that was killed goes
on where it stopped: what has a receipt is not made again, what has none is. The manifest comes last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from synthray.data import statistics
from synthray.data.batch import Batch
from synthray.data.manifest import MANIFEST, Manifest, Shard, Skipped
from synthray.data.shards import DTYPES, encode_shard, schema
from synthray.data.storage import Store
from synthray.errors import BadBatch, ConfigError, Conflict, DataError, NotFound
from synthray.synth.parameters import ParameterTable

# A shard is what one task reads and writes: large enough to be worth a request, small enough to hold in memory.
_MOST_BATCHES_PER_SHARD = 32
_SHARDS_OF_A_SMALL_DATA_SET = 8


class Source(Protocol):
    """Where batches come from.

    ``provenance`` goes into the manifest; ``stamp`` tells cheaply whether a batch has changed since an earlier run.
    """

    table: ParameterTable
    batches: tuple[int, ...]
    provenance: dict[str, Any]

    def stamp(self, number: int) -> str: ...

    def read(self, number: int) -> tuple[Batch, str]:
        """One batch and a digest of it; raises BadBatch."""
        ...


@dataclass(frozen=True)
class BuildConfig:
    """What is to be made.

    out: URI of the data set. dtype: of the stored features. skip_bad: leave out what cannot be read, and list it.
    """

    out: str
    dtype: str = "float32"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Store.at(self.out).uri)  # absolute: workers run in folders of their own
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; it can be {' or '.join(DTYPES)}")


@dataclass(frozen=True)
class Receipt:
    """What one task made: a shard (None where no batch was good), its sums, and what was bad."""

    number: int
    fingerprint: str
    shard: Shard | None
    sums: dict[str, Any]
    digest: str
    skipped: tuple[Skipped, ...]

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Receipt:
        body = json.loads(raw)
        shard = Shard(**body["shard"]) if body["shard"] else None
        return cls(**body | {"shard": shard, "skipped": tuple(Skipped(**skip) for skip in body["skipped"])})


@dataclass(frozen=True)
class Plan:
    """Which batches go into which shard; a pure function of source and configuration.

    published: a manifest stands at ``out`` already. Then shards are made only to be compared, and nothing is written.
    """

    source: Source
    config: BuildConfig
    feature_shape: tuple[int, int]
    shards: tuple[tuple[int, ...], ...]
    published: bool

    @classmethod
    def make(cls, source: Source, config: BuildConfig) -> Plan:
        """Cut the source into shards.

        Raises:
            DataError: no batch of it can be read.
        """
        per_shard = min(-(-len(source.batches) // _SHARDS_OF_A_SMALL_DATA_SET), _MOST_BATCHES_PER_SHARD)
        cuts = range(0, len(source.batches), per_shard)
        shards = tuple(source.batches[i : i + per_shard] for i in cuts)
        return cls(source, config, _feature_shape(source), shards, Store.at(config.out).exists(MANIFEST))

    def fingerprint(self, number: int) -> str:
        """Tells whether a receipt is of this very shard: same table, shape, dtype and source files."""
        stamps = [(batch, self.source.stamp(batch)) for batch in self.shards[number]]
        what = [self.source.table.to_json(), self.source.provenance, self.feature_shape, self.config.dtype]
        body = [*what, number, stamps]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _feature_shape(source: Source) -> tuple[int, int]:
    """That of the first batch that can be read: what every other is compared with."""
    first_error: BadBatch | None = None
    for number in source.batches:
        try:
            batch, _ = source.read(number)
            return (batch.features.shape[1], batch.features.shape[2])
        except BadBatch as error:
            first_error = first_error or error
    raise DataError(f"none of the {len(source.batches)} batches can be read; the first: {first_error}")


def build_shard(plan: Plan, number: int) -> Receipt:
    """Read the batches of one shard, write it, leave its receipt; or find that an earlier run did.

    Raises:
        StorageError: the store cannot be reached.
    """
    out = Store.at(plan.config.out)
    fingerprint = plan.fingerprint(number)
    path = _receipt_path(fingerprint)
    if not plan.published:
        with contextlib.suppress(NotFound, ValueError, KeyError, TypeError):  # none, or damaged: make the shard
            receipt = Receipt.decode(out.read(path))
            if receipt.shard and not receipt.skipped and out.exists(receipt.shard.path):
                return receipt
    receipt, raw = _make_shard(plan, number, fingerprint)
    worth_keeping = plan.config.skip_bad or not receipt.skipped
    if receipt.shard and worth_keeping and not plan.published:
        out.write(receipt.shard.path, raw)
        out.write(path, receipt.encode())
    return receipt


def _receipt_path(fingerprint: str) -> str:
    return f"unfinished/{fingerprint[:32]}.json"


def _make_shard(plan: Plan, number: int, fingerprint: str) -> tuple[Receipt, bytes]:
    table = plan.source.table
    batches, digests, skipped = [], [], []
    for batch_number in plan.shards[number]:
        try:
            batch, digest = plan.source.read(batch_number)
            _check_features(batch, plan, batch_number)
            batches.append(batch)
            digests.append(digest)
        except BadBatch as error:
            skipped.append(Skipped(error.source, error.reason))
    if not batches:
        return Receipt(number, fingerprint, None, {}, "", tuple(skipped)), b""
    raw = encode_shard(batches, table, schema(table, plan.feature_shape, plan.config.dtype))
    sha256 = hashlib.sha256(raw).hexdigest()
    # The digest in the name keeps two jobs that write to the same place from each other's shards.
    path = f"shards/{number:05d}-{sha256[:12]}.parquet"
    shard = Shard(path, sum(len(batch) for batch in batches), len(raw), sha256)
    sums = statistics.summarise(np.concatenate([batch.labels for batch in batches]), table)
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return Receipt(number, fingerprint, shard, sums, digest, tuple(skipped)), raw


def _check_features(batch: Batch, plan: Plan, number: int) -> None:
    name = f"fft/fft_batch_{number}.npy"
    if batch.features.shape[1:] != plan.feature_shape:
        wanted = ("examples", *plan.feature_shape)
        raise BadBatch(name, f"it has the shape {batch.features.shape}, the others {wanted}")
    largest = float(np.abs(batch.features).max())
    if largest > float(np.finfo(plan.config.dtype).max):
        raise BadBatch(name, f"the value {largest:g} is too large for {plan.config.dtype}")


def publish(plan: Plan, receipts: list[Receipt]) -> Manifest:
    """Write the manifest, once every shard has its receipt, and clear the receipts away.

    Raises:
        DataError: batches were bad and ``skip_bad`` is off; every one is listed with its reason.
        Conflict: another data set stands here.
    """
    receipts = sorted(receipts, key=lambda receipt: receipt.number)
    skipped = tuple(skip for receipt in receipts for skip in receipt.skipped)
    if skipped and not plan.config.skip_bad:
        listed = "\n".join(f"  {skip.source}: {skip.reason}" for skip in skipped)
        raise DataError(
            f"{len(skipped)} of {len(plan.source.batches)} batches cannot be used; nothing was published:\n{listed}\n"
            "Mend them, or give --skip-bad to leave them out."
        )
    made = [receipt for receipt in receipts if receipt.shard]
    digest = hashlib.sha256("".join(receipt.digest for receipt in made).encode()).hexdigest()
    manifest = Manifest(
        table=plan.source.table,
        feature_shape=plan.feature_shape,
        feature_dtype=plan.config.dtype,
        source=plan.source.provenance | {"batches": len(plan.source.batches) - len(skipped), "digest": digest},
        shards=tuple(receipt.shard for receipt in made if receipt.shard),
        statistics=statistics.merge([receipt.sums for receipt in made], plan.source.table),
        skipped=skipped,
    )
    out = Store.at(plan.config.out)
    if not out.exists(MANIFEST):
        _check_presence(out, manifest)
    try:
        out.write(MANIFEST, manifest.encode(), replace=False)
    except Conflict:
        published = Manifest.load(out)
        if published.digest != manifest.digest:
            _sweep(out, published)
            raise Conflict(
                f"{out.uri} holds another data set; a published one never changes: give another --out"
            ) from None
    _sweep(out, manifest)
    return manifest


def _check_presence(out: Store, manifest: Manifest) -> None:
    """On several machines a local path is another place on each."""
    sizes = {entry.path: entry.size for entry in out.list("shards")}
    for shard in manifest.shards:
        if sizes.get(shard.path) != shard.bytes:
            raise DataError(
                f"{out.uri}/{shard.path} is not there: the tasks wrote it on another machine, or it was removed; "
                "give a URI that all machines share, s3://… or a shared folder"
            )


def _sweep(out: Store, manifest: Manifest) -> None:
    """Remove what the published data set does not hold: receipts, and shards of other runs."""
    kept = {shard.path for shard in manifest.shards}
    for entry in (*out.list("shards"), *out.list("unfinished")):
        if entry.path not in kept:
            out.delete(entry.path)
