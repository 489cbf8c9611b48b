"""Make sounds and the settings that made them, as the notebook's batches or straight as a data set.

    python jobs/generate.py
    python jobs/generate.py --out s3://bucket/sounds --batches 3500 --seed 1
    python jobs/generate.py --out s3://bucket/data --batches 3500 --format parquet
    ray job submit --working-dir . -- python jobs/generate.py --batches 3500

Run it again after a failure: what was made is kept.
"""

from __future__ import annotations

import argparse
import sys

from synthray.command import job_parser, run
from synthray.data.generate import GenerateConfig
from synthray.data.storage import home


def main(arguments: argparse.Namespace) -> None:
    folder = "batches" if arguments.format == "notebook" else "data"
    out = arguments.out or f"{home()}/{folder}/{arguments.batches}-batches-seed-{arguments.seed}"
    config = GenerateConfig(out, arguments.batches, arguments.seed, arguments.format)

    from synthray.data import ray_data

    ray_data.connect(verbose=arguments.verbose)
    new = ray_data.generate(config)
    kept = f" ({config.batches - new} of them were there already)" if new < config.batches else ""
    print(f"{config.batches} batches, {config.batches * 32:,} sounds{kept}, at {config.out}")


def parser() -> argparse.ArgumentParser:
    parser = job_parser(__file__, __doc__)
    parser.add_argument("--out", help="URI to write to (default: a folder under SYNTHRAY_HOME)")
    parser.add_argument("--batches", type=int, default=GenerateConfig.batches, help="batches of 32 (default: 9)")
    parser.add_argument("--seed", type=int, default=GenerateConfig.seed, help="which sounds (default: 0)")
    parser.add_argument(
        "--format", choices=("notebook", "parquet"), default=GenerateConfig.layout, help="layout (default: notebook)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
