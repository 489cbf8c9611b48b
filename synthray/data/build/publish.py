"""From shards to a published data set: the manifest, written last, in one put."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from synthray.data import stats
from synthray.data.build.plan import NEVER_CHANGES, Plan
from synthray.data.build.shard import RECORDS, SHARDS, ShardRecord, is_generated_path
from synthray.data.card.readme import write_card
from synthray.data.card.summary import facts
from synthray.data.dataset import Dataset
from synthray.data.manifest import MANIFEST, Manifest, Shard, Skipped
from synthray.errors import Conflict, DataError
from synthray.storage import Store, locate, open_store


def publish(plan: Plan, records: list[ShardRecord]) -> Manifest:
    """Write the manifest, once every shard has its record, clear the records away, and write the card.

    Raises:
        DataError: batches were bad and ``skip_bad`` is off; every one is listed with its reason. Or the data set that
            is appended to holds these batches already.
        Conflict: another data set stands here.
        CorruptShard, StorageError: it is published, but its card cannot be made; the same command again mends that.
    """
    records = sorted(records, key=lambda record: record.number)
    skipped = tuple(skip for record in records for skip in record.skipped)
    if skipped and not plan.config.skip_bad:
        listed = "\n".join(f"  {skip.source}: {skip.reason}" for skip in skipped)
        raise DataError(
            f"{len(skipped)} of {len(plan.source.batches)} batches cannot be used; nothing was published:\n{listed}\n"
            "Mend them, or give --skip-bad to leave them out."
        )
    manifest = _manifest(plan, [record for record in records if record.shard], skipped)
    out = open_store(plan.config.out)
    try:
        if out.exists(MANIFEST):  # not left to the store, which may replace what it was told not to
            raise Conflict
        _check_presence(out, manifest)
        out.write(MANIFEST, manifest.encode(), replace=False)
    except Conflict:
        published = Manifest.load(out)
        if published.digest != manifest.digest:
            _sweep(out, published)
            raise Conflict(f"{out.uri} holds another data set; {NEVER_CHANGES}") from None
    return finalize(plan, manifest)


def finalize(plan: Plan, manifest: Manifest) -> Manifest:
    """The manifest, once what does not belong to its data set is swept away, and its card is there.

    Raises:
        CorruptShard, StorageError: the card cannot be made; the same command again mends that.
    """
    out = open_store(plan.config.out)
    _sweep(out, manifest)
    write_card(Dataset(out.uri, manifest))
    return manifest


def matches_published(plan: Plan) -> bool:
    """Whether the published data set is what the plan would make, by what both say of their source.

    Raises:
        Conflict: it is another one.
    """
    if not (plan.published and plan.source.repeatable):
        return False
    *before, source = _parts(plan.published)
    told = {key: value for key, value in source.items() if key not in ("digest", "replaced")}
    wanted = plan.source.provenance | {"batches": len(plan.source.batches)}
    if told != wanted or before != (_parts(plan.base) if plan.base else []):
        there = facts(plan.published)["source"]
        raise Conflict(f"{plan.config.out} holds another data set ({there}); {NEVER_CHANGES}")
    return True


def _parts(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest.source.get("parts", [manifest.source])


def _manifest(plan: Plan, made: list[ShardRecord], skipped: tuple[Skipped, ...]) -> Manifest:
    source = plan.source.provenance | {"batches": len(plan.source.batches) - len(skipped)}
    if "reject_silent_dbfs" in source:
        source["replaced"] = sum(record.replaced for record in made)
    shards = tuple(record.shard for record in made if record.shard)
    source["digest"] = _digest([shard.sha256 for shard in shards])
    sums = [record.sums for record in made]
    if plan.base:
        before = stats.sums_of(plan.base)
        sums, skipped = [before, *sums], plan.base.skipped + skipped
        shards = _shards_from(plan.config.append, plan.base, plan.config.out) + shards
        parts = [*_parts(plan.base), source]
        if source["digest"] in [part["digest"] for part in parts[:-1]]:
            raise DataError(f"{plan.config.append} holds these very batches already; nothing was published")
        source = {"kind": "appended", "batches": sum(part["batches"] for part in parts), "parts": parts}
        source["digest"] = _digest([part["digest"] for part in parts])
    return Manifest(
        table=plan.source.table,
        feature_shape=plan.feature_shape,
        feature_dtype=plan.config.dtype,
        source=source,
        shards=shards,
        statistics=stats.merge(sums, plan.source.table),
        skipped=skipped,
        loudness=stats.merge_loudness(sums),
        content=plan.config.content,
    )


def _digest(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _shards_from(base: str, manifest: Manifest, out: str) -> tuple[Shard, ...]:
    """A data set's shards as another one names them: both may be moved together where they lie side by side."""
    root, shards = out.rpartition("/")[0], []
    for shard in manifest.shards:
        store, path = locate(open_store(base), shard.path)
        uri = f"{store.uri}/{path}"
        beside = root != "s3:/" and uri.startswith(f"{root}/")  # nothing lies beside a bucket
        shards.append(replace(shard, path=f"..{uri.removeprefix(root)}" if beside else uri))
    return tuple(shards)


def _check_presence(out: Store, manifest: Manifest) -> None:
    """On several machines a local path is another place on each."""
    sizes = {entry.path: entry.size for entry in out.list(SHARDS)}
    for shard in manifest.shards:
        missing = shard.path.startswith(f"{SHARDS}/") and sizes.get(shard.path) != shard.bytes
        if missing and not out.exists(MANIFEST):  # a job that published meanwhile has cleared ours away
            raise DataError(
                f"{out.uri}/{shard.path} is not there: the tasks wrote it on another machine, or it was removed; "
                "give a URI that all machines share, s3://… or a shared folder"
            )


def _sweep(out: Store, manifest: Manifest) -> None:
    """Remove what the published data set does not hold: records, and shards of other runs."""
    kept = {shard.path for shard in manifest.shards}
    for entry in (*out.list(SHARDS), *out.list(RECORDS)):
        if entry.path not in kept and is_generated_path(entry.path):
            out.delete(entry.path)
