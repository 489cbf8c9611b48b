"""The ``synthray data`` commands. Building a data set is in ``synthray.data.build``."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from synthray.cli.runner import add_to_group, print_columns, set_up_group
from synthray.data.manifest import MANIFEST, Manifest
from synthray.errors import CorruptShard, DataError, NotFound, StorageError
from synthray.storage import Store, home, open_store

if TYPE_CHECKING:
    from synthray.data.dataset import Dataset

DESCRIPTION = "List, show and verify data sets."
EXAMPLES = """
synthray data ls
synthray data ls s3://bucket/data
synthray data show s3://bucket/data/first
synthray data stats s3://bucket/data/first
synthray data stats s3://bucket/data/first --json > statistics.json
synthray data verify s3://bucket/data/first
"""

# Each thread holds one shard in memory. More threads are not faster on one disk or one network.
_THREADS = 4
_MAX_NAMES = 8

_LS_COLUMNS = ("name", "examples", "size", "dtype", "source", "digest", "published")

_ListEntry = tuple[float, str, tuple[str, ...]]
"""Time of the last change in Unix seconds, name, and the other cells of a row of ``data ls``."""


def configure(parser: ArgumentParser) -> None:
    """Add the commands and their flags."""
    group = set_up_group(parser, DESCRIPTION, EXAMPLES)
    command = add_to_group(group, "ls", list_datasets, EXAMPLES)
    command.add_argument(
        "uri", nargs="?", default="", metavar="URI", help="a data set or a folder (default: data under SYNTHRAY_HOME)"
    )
    add_to_group(group, "show", show_dataset, EXAMPLES).add_argument("uri", metavar="URI", help="a data set")
    command = add_to_group(group, "stats", show_statistics, EXAMPLES)
    command.add_argument("uri", metavar="URI", help="a data set")
    command.add_argument("--json", action="store_true", help="print the statistics of the manifest as JSON")
    add_to_group(group, "verify", verify_dataset, EXAMPLES).add_argument("uri", metavar="URI", help="a data set")


def list_datasets(arguments: Namespace) -> None:
    """List the data sets in a folder, newest last, and mark corrupt ones."""
    store = open_store(arguments.uri or f"{home()}/data")
    folders = [] if store.exists(MANIFEST) else store.folders()
    found = [_entry(open_store(f"{store.uri}/{name}"), name) for name in folders]
    if not any(found):  # the URI may be a data set itself
        found = [_entry(store, store.uri.rpartition("/")[2])]
    entries = sorted(entry for entry in found if entry)
    if not entries:
        raise NotFound(f"{store.uri}: no data set here. Make one with `synthray generate` and `synthray convert`.")
    print_columns([_LS_COLUMNS, *((name, *cells) for _, name, cells in entries)], right=(1, 2))


def _entry(store: Store, name: str) -> _ListEntry | None:
    """Return a data set's row, or None if there is no data set.

    Without a valid manifest the row has a single cell, which gives the reason.
    """
    modified_s = 0.0
    try:
        if not store.exists(MANIFEST):
            return _unfinished_entry(store, name)
        modified_s = store.entry(MANIFEST).modified_s
        manifest = Manifest.load(store)
        published = time.strftime("%Y-%m-%dT%H:%M", time.localtime(modified_s))
        source = str(manifest.source.get("kind", ""))
        size = f"{manifest.bytes / 1e6:,.1f} MB"
        cells = (f"{manifest.rows:,}", size, manifest.feature_dtype, source, manifest.digest[:12], published)
        return modified_s, name, cells
    except StorageError as error:
        return modified_s, name, (f"cannot be read: {error}",)
    except Exception as error:  # a manifest can be corrupt in any way, and the other data sets are still listed
        reason = error if isinstance(error, DataError) else f"{MANIFEST} is not a manifest: {error!r}"
        return modified_s, name, (f"corrupt: {reason}",)


def _unfinished_entry(store: Store, name: str) -> _ListEntry | None:
    from synthray.data.build.shard import RECORDS, SHARDS, is_generated_path

    entries = [entry for folder in (RECORDS, SHARDS) for entry in store.list(folder) if is_generated_path(entry.path)]
    if not entries:
        return None
    shards = [entry for entry in entries if entry.path.endswith(".parquet")]
    size = sum(entry.size for entry in shards)
    text = f"unfinished: {len(shards)} shards, {size / 1e6:,.1f} MB. To resume, run the same command again."
    return max(entry.modified_s for entry in entries), name, (text,)


def show_dataset(arguments: Namespace) -> None:
    """Print what the manifest says about a data set."""
    from synthray.data.card.readme import CARD
    from synthray.data.card.summary import facts

    store = open_store(arguments.uri)
    manifest = Manifest.load(store)
    card = f"{store.uri}/{CARD}"
    if not store.exists(CARD):
        card = "none. To write it, run the command that made the data set again."
    for name, value in {"data set": store.uri, **facts(manifest), "card": card}.items():
        print(f"{name:<10}  {value}")
    for skip in manifest.skipped:
        print(f"skipped {skip.source}: {skip.reason}")


def show_statistics(arguments: Namespace) -> None:
    """Print the distributions of the learned parameters and of the loudness."""
    from synthray.data.card.summary import PARAMETER_COLUMNS, loudness_lines, parameter_rows

    manifest = Manifest.load(open_store(arguments.uri))
    if arguments.json:
        body = {"rows": manifest.rows, "statistics": manifest.statistics, "loudness": manifest.loudness}
        print(json.dumps(body, indent=1, ensure_ascii=False))
        return
    print_columns([PARAMETER_COLUMNS, *parameter_rows(manifest)], right=(2, 3))
    print("\nloudness of the loudest chunk", *loudness_lines(manifest), sep="\n")


def verify_dataset(arguments: Namespace) -> None:
    """Compare every shard with its size and SHA-256 in the manifest."""
    from synthray.data.open import open_dataset

    dataset = open_dataset(open_store(arguments.uri).uri)
    paths = [shard.path for shard in dataset.manifest.shards]
    problems = _find_problems(dataset)
    for problem in problems.values():
        print(problem, file=sys.stderr)
    if problems:
        names = _names([paths[number] for number in problems])
        raise CorruptShard(
            f"{len(problems)} of {len(paths)} shards are missing or corrupt: {names}. "
            "To repair them, run the command that made the data set again."
        )
    print(f"all {len(paths)} shards match the manifest")
    _report_extra_files(dataset)


def _find_problems(dataset: Dataset) -> dict[int, str]:
    """Return the problem of every shard that does not match the manifest, by its number."""
    from synthray.progress import Progress

    total = len(dataset.manifest.shards)
    problems: dict[int, str] = {}
    pool = ThreadPoolExecutor(_THREADS)
    try:
        with Progress("verifying", total, "shards") as progress:
            for number, problem in enumerate(pool.map(partial(_problem, dataset), range(total))):
                if problem:
                    problems[number] = problem
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the other shards
    return problems


def _problem(dataset: Dataset, number: int) -> str | None:
    """Return the problem of a shard, or None if it can be used."""
    try:
        dataset.read_bytes(number)
    except (CorruptShard, StorageError) as error:
        return str(error)
    return None


def _report_extra_files(dataset: Dataset) -> None:
    from synthray.data.build.shard import SHARDS

    published = {shard.path for shard in dataset.manifest.shards}
    present = [entry.path for entry in dataset.store.list(SHARDS) if entry.path.endswith(".parquet")]
    extra = [path for path in present if path not in published]
    if extra:
        print(
            f"{SHARDS}/ holds files that do not belong to this data set ({len(extra)}): {_names(extra)}. "
            "A query of *.parquet would read them. Delete them unless another job is running."
        )


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - _MAX_NAMES} more" if len(paths) > _MAX_NAMES else ""
    return f"{', '.join(paths[:_MAX_NAMES])}{more}"
