"""Publishing of a data set: the manifest, written last in one put, and the card.

Shards are built in ``shard.py``.
"""

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
    """Write the manifest of a data set whose shards are all built, then its card.

    Raises:
        DataError: batches were bad and ``skip_bad`` is off (all are listed), a shard is not in the store, or the data
            set to append to already holds these batches.
        Conflict: another data set is published at this URI.
        CorruptShard, StorageError: the data set is published but has no card. Run the same command again to write it.
    """
    records = _without_bad_batches(plan, sorted(records, key=lambda record: record.number))
    skipped = tuple(skip for record in records for skip in record.skipped)
    if skipped and not plan.config.skip_bad:
        listed = "\n".join(f"  {skip.source}: {skip.reason}" for skip in skipped)
        raise DataError(
            f"{len(skipped)} of {len(plan.source.batches)} batches cannot be used; nothing was published:\n{listed}\n"
            "Fix them, or pass --skip-bad to leave them out."
        )
    if not plan.base and not any(record.shard for record in records):
        raise DataError(
            f"none of the {len(skipped)} batches can be used. The first: {skipped[0].source}: {skipped[0].reason}"
        )
    manifest = _manifest(plan, records, skipped)
    out = open_store(plan.config.out)
    try:
        if out.exists(MANIFEST):
            raise Conflict
        _check_shards_exist(out, manifest)
        out.write(MANIFEST, manifest.encode(), replace=False)
    except Conflict:
        published = Manifest.load(out)
        if published.digest != manifest.digest:
            _remove_leftovers(out, published)
            raise Conflict(f"{out.uri}: already holds another data set. {NEVER_CHANGES}") from None
    return finalize(plan, manifest)


def finalize(plan: Plan, manifest: Manifest) -> Manifest:
    """Remove leftovers of unfinished runs, write the card and return the manifest.

    Raises:
        CorruptShard, StorageError: the card cannot be written. Run the same command again to write it.
    """
    out = open_store(plan.config.out)
    _remove_leftovers(out, manifest)
    write_card(Dataset(out.uri, manifest))
    return manifest


def matches_published(plan: Plan) -> bool:
    """Return whether the published data set has the source of the plan.

    False if nothing is published, or if the shards must be built to know.

    Raises:
        Conflict: the published data set has another source.
    """
    if not (plan.published and plan.source.repeatable):
        return False
    *base_parts, last_part = plan.published.source_parts
    published_source = {key: value for key, value in last_part.items() if key not in ("digest", "replaced")}
    wanted_source = {**plan.source.provenance, "batches": len(plan.source.batches)}
    if published_source != wanted_source or base_parts != (plan.base.source_parts if plan.base else []):
        raise Conflict(
            f"{plan.config.out}: already holds another data set ({facts(plan.published)['source']}). {NEVER_CHANGES}"
        )
    return True


def _without_bad_batches(plan: Plan, records: list[ShardRecord]) -> list[ShardRecord]:
    """Drop the records of each large batch that has a bad part, except the first bad one.

    The batch is then skipped as a whole, with one reason.
    """
    first_bad: dict[int, ShardRecord] = {}
    batches = [plan.shards[record.number][0].batch for record in records]
    for batch, record in zip(batches, records, strict=True):
        if record.shard is None:
            first_bad.setdefault(batch, record)
    return [record for batch, record in zip(batches, records, strict=True) if first_bad.get(batch, record) is record]


def _manifest(plan: Plan, records: list[ShardRecord], skipped: tuple[Skipped, ...]) -> Manifest:
    built = [record for record in records if record.shard]
    shards = tuple(record.shard for record in built if record.shard)
    sums = [record.sums for record in built]
    source = _source(plan, built, len(skipped))
    if plan.base:
        shards = _relocated_shards(plan.config.append, plan.base, plan.config.out) + shards
        sums = [stats.sums_of(plan.base), *sums]
        skipped = plan.base.skipped + skipped
        source = _appended_source(plan, plan.base, source)
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


def _source(plan: Plan, built: list[ShardRecord], num_skipped: int) -> dict[str, Any]:
    source = {**plan.source.provenance, "batches": len(plan.source.batches) - num_skipped}
    if "reject_silent_dbfs" in source:
        source["replaced"] = sum(record.replaced for record in built)
    source["digest"] = _digest([record.shard.sha256 for record in built if record.shard])
    return source


def _appended_source(plan: Plan, base: Manifest, source: dict[str, Any]) -> dict[str, Any]:
    if source["digest"] in [part["digest"] for part in base.source_parts]:
        raise DataError(f"{plan.config.append}: already holds these batches. Nothing was published.")
    parts = [*base.source_parts, source]
    digest = _digest([part["digest"] for part in parts])
    return {"kind": "appended", "batches": sum(part["batches"] for part in parts), "parts": parts, "digest": digest}


def _digest(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _relocated_shards(base_uri: str, base: Manifest, out: str) -> tuple[Shard, ...]:
    """Return the shards of the base with paths that are valid from ``out``.

    If both data sets are in one folder, the paths are relative, so that the folder can be moved.
    """
    folder, shards = open_store(out).parent_uri, []
    for shard in base.shards:
        store, path = locate(open_store(base_uri), shard.path)
        uri = f"{store.uri}/{path}"
        if folder is not None and uri.startswith(f"{folder}/"):
            uri = f"..{uri.removeprefix(folder)}"
        shards.append(replace(shard, path=uri))
    return tuple(shards)


def _check_shards_exist(out: Store, manifest: Manifest) -> None:
    """Check that the tasks wrote to this store. A local path is a different folder on each machine."""
    sizes = {entry.path: entry.size for entry in out.list(SHARDS)}
    for shard in manifest.shards:
        missing = shard.path.startswith(f"{SHARDS}/") and sizes.get(shard.path) != shard.bytes
        # If another job has published meanwhile, it removed our shards. The caller reports that conflict.
        if missing and not out.exists(MANIFEST):
            raise DataError(
                f"{out.uri}/{shard.path}: the shard is missing. A task wrote it on another machine, or it was removed. "
                "Give a URI that all machines share: s3://… or a shared folder."
            )


def _remove_leftovers(out: Store, manifest: Manifest) -> None:
    """Remove records, and shards of other runs. Files that synthray did not name are kept."""
    published = {shard.path for shard in manifest.shards}
    for entry in (*out.list(SHARDS), *out.list(RECORDS)):
        if entry.path not in published and is_generated_path(entry.path):
            out.delete(entry.path)
