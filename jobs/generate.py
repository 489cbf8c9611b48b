"""Make sounds and the settings that made them, as the notebook's batches or straight as a data set.

    python jobs/generate.py
    python jobs/generate.py --out s3://bucket/sounds --batches 3500 --seed 1
    python jobs/generate.py --out s3://bucket/data/first --batches 3500 --format parquet
    python jobs/generate.py --out s3://bucket/data/second --batches 500 --format parquet --append s3://bucket/data/first
    python jobs/generate.py --batches 3500 --format parquet --content presets --reject-silent
    ray job submit --working-dir . -- python jobs/generate.py --batches 3500

Run it again after a failure: what was made is kept.
"""

from __future__ import annotations

import argparse
import sys

from synthray.cli.runner import job_parser, run
from synthray.data.build.generate_config import FORMATS, GenerateConfig
from synthray.data.card.summary import in_one_line
from synthray.data.manifest import CONTENTS
from synthray.data.open import name_of
from synthray.data.parquet import DTYPES
from synthray.storage import home

_INAUDIBLE_DBFS = -60.0


def main(arguments: argparse.Namespace) -> None:
    folder = "batches" if arguments.format == "npy" else "data"
    name = f"{arguments.batches}-batches-seed-{arguments.seed}"
    if arguments.reject_silent is not None:
        name += f"-above{arguments.reject_silent:g}dBFS"
    if arguments.content != GenerateConfig.content:
        name += f"-{arguments.content}"
    if arguments.dtype != GenerateConfig.dtype:
        name += f"-{arguments.dtype}"
    if arguments.append:
        name = f"{name_of(arguments.append)}+{name}"
    config = GenerateConfig(
        arguments.out or f"{home()}/{folder}/{name}",
        arguments.batches,
        arguments.seed,
        arguments.format,
        arguments.reject_silent,
        arguments.dtype,
        arguments.content,
        arguments.append,
    )

    from synthray.cluster import build
    from synthray.cluster.connect import connect

    connect(verbose=arguments.verbose)
    if config.format == "parquet":
        print(in_one_line(build.build(config.source(), config.build, "making"), config.out))
        return
    new = build.generate(config)
    kept = f" ({config.batches - new} of them were there already)" if new < config.batches else ""
    print(f"{config.batches} batches, {config.batches * 32:,} sounds{kept}, at {config.out}")


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    parser.add_argument("--out", help="URI to write to (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--batches", type=int, default=GenerateConfig.batches, help="batches of 32 (default: 9)")
    parser.add_argument("--seed", type=int, default=GenerateConfig.seed, help="which sounds (default: 0)")
    parser.add_argument("--format", choices=FORMATS, default=GenerateConfig.format, help="layout (default: npy)")
    parser.add_argument(
        "--reject-silent", type=float, nargs="?", const=_INAUDIBLE_DBFS, metavar="DBFS",
        help=f"draw a preset again whose sound is nowhere louder than this RMS (without a value: {_INAUDIBLE_DBFS:g})",
    )  # fmt: skip
    parser.add_argument(
        "--content", choices=CONTENTS, default=GenerateConfig.content,
        help="what a data set keeps: features (default), or presets, rendered as they are read",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=DTYPES, default=GenerateConfig.dtype, help="of a data set's features")
    parser.add_argument(
        "--append", default="", metavar="URI",
        help="of a data set: make a new one of its shards, not copied, and these sounds, which go on where those of "
        "the same seed end",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
