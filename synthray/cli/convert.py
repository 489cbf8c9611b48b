"""The ``synthray convert`` command. The work is in ``synthray.cluster.build`` and ``synthray.data.build``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from synthray.cli.flags import add_setting
from synthray.cli.runner import set_up
from synthray.data.build.plan import BuildConfig
from synthray.data.open import name_of
from synthray.data.parquet import DTYPES
from synthray.data.sources.notebook_table import KEYS
from synthray.errors import NotFound
from synthray.storage import home, newest, open_store

DESCRIPTION = """\
Convert NumPy/pickle batches, from any directory or bucket, into Parquet shards and a manifest.
Without flags it takes the newest batches under SYNTHRAY_HOME. Run the same command again after a failure.
It keeps what is converted. A batch that cannot be read fails the command, unless --skip-bad is given."""
EXAMPLES = """
synthray convert
synthray convert --source training_data --out s3://bucket/data/first
synthray convert --source s3://bucket/training_data --out s3://bucket/data/first --skip-bad --dtype float16
synthray convert --source more_data --append s3://bucket/data/first --out s3://bucket/data/second
ray job submit --working-dir . -- python jobs/convert.py --source s3://bucket/training_data
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, convert, DESCRIPTION, EXAMPLES)
    parser.add_argument("--source", help="URI of the batches (default: the newest under SYNTHRAY_HOME)")
    parser.add_argument("--out", help="URI of the data set (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--skip-bad", action="store_true", help="skip batches that cannot be read, and list them")
    append = "create a data set from the data set at URI and these batches; the shards at URI are not copied"
    add_setting(parser, BuildConfig, "append", append, metavar="URI")
    add_setting(parser, BuildConfig, "dtype", "dtype of the features", choices=DTYPES)


def convert(arguments: Namespace) -> None:
    """Publish the batches as a data set."""
    source = arguments.source or newest(f"{home()}/batches", KEYS)
    if source is None:
        raise NotFound(f"{home()}/batches: no batches here. Make some with `synthray generate`, or give --source.")
    name = open_store(source).uri.rpartition("/")[2]
    if arguments.append:
        name = f"{name_of(arguments.append)}+{name}"
    config = BuildConfig(
        arguments.out or f"{home()}/data/{name}", arguments.dtype, arguments.skip_bad, append=arguments.append
    )

    from synthray.cluster import build
    from synthray.cluster.connect import connect
    from synthray.data.card.summary import in_one_line

    connect(verbose=arguments.verbose)
    manifest = build.convert(source, config)
    for skip in manifest.skipped:
        print(f"skipped {skip.source}: {skip.reason}")
    print(in_one_line(manifest, config.out))
