"""``synthray data …``: what data sets there are, what is in them, and whether every byte is as it was published."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from synthray.cli.runner import add_command, print_columns
from synthray.data.card.summary import PARAMETER_COLUMNS, facts, loudness_lines, parameter_rows
from synthray.data.manifest import MANIFEST, Manifest
from synthray.data.open import open_dataset
from synthray.errors import CorruptShard, DataError, NotFound, StorageError
from synthray.progress import Progress
from synthray.storage import Store, home, open_store

EXAMPLES = """\
examples:
  synthray data ls
  synthray data ls s3://bucket/data
  synthray data show s3://bucket/data/first
  synthray data stats s3://bucket/data/first
  synthray data stats s3://bucket/data/first --json > statistics.json
  synthray data verify s3://bucket/data/first
"""

# So many shards are in memory at once; more threads would not read faster from one disk or one network.
_THREADS = 4
_MOST_NAMED = 8

_LS_COLUMNS = ("name", "examples", "size", "dtype", "source", "digest", "published")
_UNFINISHED = ("unfinished", "shards")


def list_data_sets(arguments: Namespace) -> None:
    """List the data sets in a folder, the newest last; one that is unfinished or damaged is told as such."""
    store = open_store(arguments.uri or f"{home()}/data")
    below = [] if store.exists(MANIFEST) else store.folders()
    found = [_entry(open_store(f"{store.uri}/{name}"), name) for name in below]
    if not any(found):  # it is a data set itself
        found = [_entry(store, store.uri.rpartition("/")[2])]
    listed = sorted(entry for entry in found if entry)
    if not listed:
        raise NotFound(f"{store.uri} holds no data set; jobs/generate.py and jobs/convert.py make one")
    rows = [(name, *cells) for _, name, cells in listed]
    print_columns([_LS_COLUMNS, *rows], right=(1, 2))


def _entry(store: Store, name: str) -> tuple[float, str, tuple[str, ...]] | None:
    """When a data set was published, its name and its cells; None where there is none.

    One that has no whole manifest has a single cell, which says why.
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
    except Exception as error:  # a manifest can be damaged in any way, and the other data sets are to be listed
        reason = error if isinstance(error, DataError) else f"{MANIFEST} is no manifest: {error!r}"
        return modified_s, name, (f"damaged: {reason}",)


def _unfinished_entry(store: Store, name: str) -> tuple[float, str, tuple[str, ...]] | None:
    entries = [entry for folder in _UNFINISHED for entry in store.list(folder)]
    if not entries:
        return None
    shards = [entry for entry in entries if entry.path.endswith(".parquet")]
    size = sum(entry.size for entry in shards)
    told = f"unfinished: {len(shards)} shards so far, {size / 1e6:,.1f} MB; its job, run again, goes on"
    return max(entry.modified_s for entry in entries), name, (told,)


def show_data(arguments: Namespace) -> None:
    """Print what a data set is, from its manifest."""
    from synthray.data.card.readme import CARD

    store = open_store(arguments.uri)
    manifest = Manifest.load(store)
    has_card = store.exists(CARD)
    card = f"{store.uri}/{CARD}" if has_card else "none; the job that made the data set, run again, writes it"
    for name, value in {"data set": store.uri, **facts(manifest), "card": card}.items():
        print(f"{name:<10}  {value}")
    for skip in manifest.skipped:
        print(f"skipped {skip.source}: {skip.reason}")


def show_statistics(arguments: Namespace) -> None:
    """Print how the values of each learned parameter are spread, and how loud the sounds are."""
    manifest = Manifest.load(open_store(arguments.uri))
    if arguments.json:
        body = {"rows": manifest.rows, "statistics": manifest.statistics, "loudness": manifest.loudness}
        print(json.dumps(body, indent=1, ensure_ascii=False))
        return
    print_columns([PARAMETER_COLUMNS, *parameter_rows(manifest)], right=(2, 3))
    print("\nloudness of the loudest chunk", *(loudness_lines(manifest) or ["not counted in this data set"]), sep="\n")


def verify_data(arguments: Namespace) -> None:
    """Read every shard of a data set and compare it with the manifest; every bad one is told."""
    from synthray.data.build.shard import SHARDS

    dataset = open_dataset(open_store(arguments.uri).uri)
    shards = dataset.manifest.shards
    bad: dict[int, str] = {}
    pool = ThreadPoolExecutor(_THREADS)
    try:
        with Progress("verifying", len(shards), "shards") as progress:
            waiting = {pool.submit(_what_is_wrong, dataset, number): number for number in range(len(shards))}
            for done in as_completed(waiting):
                if reason := done.result():
                    bad[waiting[done]] = reason
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)  # someone who interrupts does not wait for the other shards
    for number in sorted(bad):
        print(bad[number], file=sys.stderr)
    if bad:
        names = [shards[number].path for number in sorted(bad)]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise CorruptShard(
            f"{len(bad)} of {len(shards)} shards are not as published: {', '.join(names[:_MOST_NAMED])}{more}"
        )
    print(f"all {len(shards)} shards are as published")
    published = {shard.path for shard in shards}
    if strays := [entry.path for entry in dataset.store.list(SHARDS) if entry.path not in published]:
        print(
            f"beside them lie {len(strays)} that are not of this data set, which a query of *.parquet reads, too: "
            f"{', '.join(strays[:_MOST_NAMED])}; another job may be about to remove them, or remove them yourself"
        )


def _what_is_wrong(dataset: Any, number: int) -> str:
    """Why a shard cannot be used, or ``""``; its bytes are let go of."""
    try:
        dataset.read_bytes(number)
    except (CorruptShard, StorageError) as error:
        return str(error)
    return ""


def add_data_commands(commands: Any) -> None:
    """Add ``data`` and what comes after it to the subparsers of ``synthray``."""
    parser = commands.add_parser(
        "data", help="look at data sets", epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter
    )
    data = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    where = "of the data set, or of a folder of data sets (default: data under SYNTHRAY_HOME)"
    command = add_command(data, "ls", list_data_sets, EXAMPLES)
    command.add_argument("uri", nargs="?", default="", metavar="URI", help=where)
    add_command(data, "show", show_data, EXAMPLES).add_argument("uri", metavar="URI", help="of the data set")
    command = add_command(data, "stats", show_statistics, EXAMPLES)
    command.add_argument("uri", metavar="URI", help="of the data set")
    command.add_argument("--json", action="store_true", help="as JSON, as the manifest holds it")
    add_command(data, "verify", verify_data, EXAMPLES).add_argument("uri", metavar="URI", help="of the data set")
