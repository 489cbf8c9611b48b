"""The ``synthray generate`` command. The work is in ``synthray.cluster.build`` and ``synthray.data.build``."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from synthray.cli.flags import given
from synthray.cli.runner import set_up
from synthray.data.manifest import CONTENTS
from synthray.data.open import name_of
from synthray.data.parquet import DTYPES
from synthray.storage import home

if TYPE_CHECKING:
    from synthray.data.build.generate_config import GenerateConfig

DESCRIPTION = """\
Render random presets into training data: NumPy/pickle batches, or a data set of Parquet shards.
Run the same command again after a failure. It keeps what is finished."""
EXAMPLES = """
synthray generate
synthray generate --out s3://bucket/sounds --batches 3500 --seed 1
synthray generate --out s3://bucket/data/first --batches 3500 --format parquet
synthray generate --out s3://bucket/data/second --batches 500 --format parquet --append s3://bucket/data/first
synthray generate --batches 3500 --format parquet --content presets --reject-silent
synthray generate --batches 3500 --prior musical:0.5
ray job submit --working-dir . -- python jobs/generate.py --batches 3500
"""
INAUDIBLE_DBFS = -60.0


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags.

    Defaults come from ``GenerateConfig``, which is not imported here because it loads a compiler.
    """
    set_up(parser, generate, DESCRIPTION, EXAMPLES)

    def flag(name: str, text: str, **options: object) -> None:
        parser.add_argument(name, help=text, default=SUPPRESS, **options)  # type: ignore[arg-type]

    flag("--out", "URI to write to (default: a folder under SYNTHRAY_HOME)")
    flag("--batches", "batches of 32 sounds (default: 9)", type=int)
    flag("--seed", "seed of the presets (default: 0)", type=int)
    flag(
        "--prior",
        "uniform, musical (as people use a synth), or musical:SHARE, which mixes both (default: uniform)",
    )
    flag("--format", "npy: NumPy/pickle batches. parquet: a data set (default: npy)", choices=("npy", "parquet"))
    flag(
        "--reject-silent",
        f"redraw presets whose loudest chunk stays below this RMS level (without a value: {INAUDIBLE_DBFS:g})",
        dest="reject_silent_dbfs", type=float, nargs="?", const=INAUDIBLE_DBFS, metavar="DBFS",
    )  # fmt: skip
    flag(
        "--content",
        "features: store features. presets: store presets, rendered when they are read (default: features)",
        choices=CONTENTS,
    )
    flag("--dtype", "dtype of a data set's features (default: float32)", choices=DTYPES)
    flag(
        "--append",
        "create a data set from the data set at URI and these batches; the shards at URI are not copied. With the same "
        "seed, the new batches follow the old ones",
        metavar="URI",
    )


def generate(arguments: Namespace) -> None:
    """Make the batches or the data set."""
    from synthray.data.build.generate_config import GenerateConfig

    settings = given(arguments, [field.name for field in fields(GenerateConfig)])
    config = GenerateConfig(**{"out": home()} | settings)
    if "out" not in settings:
        config = replace(config, out=_default_out(config))

    from synthray.cluster import build
    from synthray.cluster.connect import connect
    from synthray.data.card.summary import in_one_line

    connect(verbose=arguments.verbose)
    if config.format == "parquet":
        print(in_one_line(build.build(config.source(), config.build, "rendering"), config.out))
        return
    new = build.generate(config)
    kept = f" ({config.batches - new} batches existed already)" if new < config.batches else ""
    print(f"{config.batches} batches, {config.batches * 32:,} sounds{kept}, at {config.out}")


def _default_out(config: GenerateConfig) -> str:
    """Return a folder under ``SYNTHRAY_HOME`` that is named after the settings."""
    from synthray.synth.priors import UNIFORM

    name = f"{config.batches}-batches-seed-{config.seed}"
    if config.sounds.prior != UNIFORM:
        name += f"-{config.sounds.prior}".replace(":", "-")
    if config.reject_silent_dbfs is not None:
        name += f"-above{config.reject_silent_dbfs:g}dBFS"
    for setting in ("content", "dtype"):
        value = getattr(config, setting)
        name += "" if value == getattr(type(config), setting) else f"-{value}"
    if config.append:
        name = f"{name_of(config.append)}+{name}"
    return f"{home()}/{'batches' if config.format == 'npy' else 'data'}/{name}"
