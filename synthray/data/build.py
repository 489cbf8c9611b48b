"""From a source of batches to a published data set: plan, one task a shard, publish.

A shard is a pure function of the plan, and leaves a receipt beside it when it is written. A run that was killed goes
on where it stopped: what has a receipt is not made again, what has none is. The manifest comes last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from synthray.data import statistics
from synthray.data.batch import Batch
from synthray.data.card import write_card
from synthray.data.dataset import Dataset
from synthray.data.manifest import MANIFEST, SOUNDS, STORES, Manifest, Shard, Skipped
from synthray.data.shards import DTYPES, encode_shard, schema
from synthray.data.storage import Store
from synthray.errors import BadBatch, ConfigError, Conflict, DataError, NotFound
from synthray.synth.parameters import ParameterTable

# A shard is what is read at once: large enough to be worth a request, small enough that many of them are in memory
# together, so that a batch draws from many. 256 sounds of 20 x 551 in float32 are 11 MB.
_SHARD_BYTES = 12_000_000
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
    digest: str
    skipped: tuple[Skipped, ...]
    replaced: int = 0

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
    base: the data set that is appended to.
    """

    source: Source
    config: BuildConfig
    feature_shape: tuple[int, int]
    shards: tuple[tuple[int, ...], ...]
    published: bool
    base: Manifest | None = None

    @classmethod
    def make(cls, source: Source, config: BuildConfig) -> Plan:
        """Cut the source into shards.

        Raises:
            DataError: no batch of it can be read, or it does not go with the data set that it is appended to.
        """
        features = _first_features(source)
        most = max(1, _SHARD_BYTES // (features.size * np.dtype(config.dtype).itemsize))
        per_shard = min(-(-len(source.batches) // _SHARDS_OF_A_SMALL_DATA_SET), most)
        cuts = range(0, len(source.batches), per_shard)
        shards = tuple(source.batches[i : i + per_shard] for i in cuts)
        published = Store.at(config.out).exists(MANIFEST)
        base = Manifest.load(Store.at(config.append)) if config.append else None
        plan = cls(source, config, (features.shape[1], features.shape[2]), shards, published, base)
        plan._check_base()
        return plan

    def _check_base(self) -> None:
        if self.base is None:
            return
        ours = (self.source.table, self.feature_shape, self.config.dtype, self.config.store)
        theirs = (self.base.table, self.base.feature_shape, self.base.feature_dtype, self.base.store)
        for what, our, their in zip(("parameters", "feature shape", "dtype", "store"), ours, theirs, strict=True):
            if our != their:
                told = "" if what == "parameters" else f": {our} here, {their} there"
                raise DataError(f"the batches do not go with {self.config.append}: it has another {what}{told}")

    def fingerprint(self, number: int) -> str:
        """Tells whether a receipt is of this very shard: same table, shape, dtype and source files."""
        stamps = [(batch, self.source.stamp(batch)) for batch in self.shards[number]]
        what = [self.source.table.to_json(), self.source.provenance, self.feature_shape]
        body = [*what, self.config.dtype, self.config.store, number, stamps]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _first_features(source: Source) -> np.ndarray:
    """Those of the first batch that can be read: every other is compared with their shape."""
    first_error: BadBatch | None = None
    for number in source.batches:
        try:
            batch, _ = source.read(number)
            return batch.features
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
    raw = encode_shard(batches, table, schema(table, plan.feature_shape, plan.config.dtype, plan.config.store))
    sha256 = hashlib.sha256(raw).hexdigest()
    # The digest in the name keeps two jobs that write to the same place from each other's shards.
    path = f"shards/{number:05d}-{sha256[:12]}.parquet"
    shard = Shard(path, sum(len(batch) for batch in batches), len(raw), sha256)
    sums = statistics.summarise(batches, table)
    digest = _digest(digests)
    replaced = sum(batch.replaced for batch in batches)
    return Receipt(number, fingerprint, shard, sums, digest, tuple(skipped), replaced), raw


def _check_features(batch: Batch, plan: Plan, number: int) -> None:
    name = f"fft/fft_batch_{number}.npy"
    if batch.features.shape[1:] != plan.feature_shape:
        wanted = ("examples", *plan.feature_shape)
        raise BadBatch(name, f"it has the shape {batch.features.shape}, the others {wanted}")
    largest = float(np.abs(batch.features).max())
    if largest > float(np.finfo(plan.config.dtype).max):
        raise BadBatch(name, f"the value {largest:g} is too large for {plan.config.dtype}")


def publish(plan: Plan, receipts: list[Receipt]) -> Manifest:
    """Write the manifest, once every shard has its receipt, clear the receipts away, and write the card.

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
    manifest = _manifest(plan, [receipt for receipt in receipts if receipt.shard], skipped)
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
    write_card(Dataset(out.uri, manifest))
    return manifest


def _manifest(plan: Plan, made: list[Receipt], skipped: tuple[Skipped, ...]) -> Manifest:
    source = plan.source.provenance | {"batches": len(plan.source.batches) - len(skipped)}
    if "reject_silent_dbfs" in source:
        source["replaced"] = sum(receipt.replaced for receipt in made)
    source["digest"] = _digest([receipt.digest for receipt in made])
    sums = [receipt.sums for receipt in made]
    shards = tuple(receipt.shard for receipt in made if receipt.shard)
    if plan.base:
        before = statistics.sums_of(plan.base)
        sums, skipped = [before, *sums], plan.base.skipped + skipped
        shards = _shards_from(plan.config.append, plan.base, plan.config.out) + shards
        parts = [*plan.base.source.get("parts", [plan.base.source]), source]
        source = {"kind": "appended", "batches": sum(part["batches"] for part in parts), "parts": parts}
        source["digest"] = _digest([part["digest"] for part in parts])
    return Manifest(
        table=plan.source.table,
        feature_shape=plan.feature_shape,
        feature_dtype=plan.config.dtype,
        source=source,
        shards=shards,
        statistics=statistics.merge(sums, plan.source.table),
        skipped=skipped,
        loudness=statistics.merge_loudness(sums),
        store=plan.config.store,
    )


def _digest(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _shards_from(base: str, manifest: Manifest, out: str) -> tuple[Shard, ...]:
    """A data set's shards as another one names them: both may be moved together where they lie side by side."""
    root, shards = out.rpartition("/")[0], []
    for shard in manifest.shards:
        store, path = Store.at(base).locate(shard.path)
        uri = f"{store.uri}/{path}"
        shards.append(replace(shard, path=f"..{uri.removeprefix(root)}" if uri.startswith(f"{root}/") else uri))
    return tuple(shards)


def _check_presence(out: Store, manifest: Manifest) -> None:
    """On several machines a local path is another place on each."""
    sizes = {entry.path: entry.size for entry in out.list("shards")}
    for shard in manifest.shards:
        if shard.path.startswith("shards/") and sizes.get(shard.path) != shard.bytes:
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
