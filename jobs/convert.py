"""Convert batches in the notebook's layout, from any directory or bucket, into Parquet shards and a manifest.

    python jobs/convert.py
    python jobs/convert.py --source training_data --out s3://bucket/data/first
    python jobs/convert.py --source s3://bucket/training_data --out s3://bucket/data/first --skip-bad --dtype float16
    python jobs/convert.py --source more_data --append s3://bucket/data/first --out s3://bucket/data/second
    ray job submit --working-dir . -- python jobs/convert.py --source s3://bucket/training_data

With no flags it takes the newest batches under SYNTHRAY_HOME. Run it again after a failure: what was converted is kept.
A batch that cannot be read is listed with its reason and fails the job, unless --skip-bad is given.
"""

from __future__ import annotations

import argparse
import sys

from synthray.cli.runner import job_parser, run
from synthray.data.build.plan import BuildConfig
from synthray.data.card.summary import in_one_line
from synthray.data.open import name_of
from synthray.data.parquet import DTYPES
from synthray.data.sources.notebook import KEYS
from synthray.errors import NotFound
from synthray.storage import home, newest, open_store


def main(arguments: argparse.Namespace) -> None:
    source = arguments.source or newest(f"{home()}/batches", KEYS)
    if source is None:
        raise NotFound(f"{home()}/batches holds no batches; make some with jobs/generate.py, or give --source")
    name = open_store(source).uri.rpartition("/")[2]
    if arguments.append:
        name = f"{name_of(arguments.append)}+{name}"
    config = BuildConfig(
        arguments.out or f"{home()}/data/{name}", arguments.dtype, arguments.skip_bad, append=arguments.append
    )

    from synthray.cluster import build
    from synthray.cluster.connect import connect

    connect(verbose=arguments.verbose)
    manifest = build.convert(source, config)
    for skip in manifest.skipped:
        print(f"skipped {skip.source}: {skip.reason}")
    print(in_one_line(manifest, config.out))


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    parser.add_argument("--source", help="URI of the batches (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI of the data set (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read, and list it")
    parser.add_argument(
        "--append", default="", metavar="URI", help="of a data set: make a new one of its shards, not copied, and these"
    )
    parser.add_argument("--dtype", choices=DTYPES, default=BuildConfig.dtype, help="of the features (default: float32)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
