"""The ``synthray random`` command. Presets are drawn in ``synthray.synth.priors``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from synthray.cli.files import preset_text, write_file
from synthray.cli.runner import set_up

DESCRIPTION = "Write a random preset. The same seed gives the same preset."
EXAMPLES = """
synthray random --out preset.json
synthray random --seed 7 --out preset.json
synthray random --prior musical --out preset.json
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, random, DESCRIPTION, EXAMPLES)
    parser.add_argument("--seed", type=int, default=0, help="seed of the preset (default: %(default)s)")
    parser.add_argument(
        "--prior", default="uniform", help="uniform, musical, or a mixture such as musical:0.5 (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, metavar="PRESET.json", help="write the preset to this file")


def random(arguments: Namespace) -> None:
    """Draw a preset and write it."""
    from synthray.synth.instrument import INSTRUMENT
    from synthray.synth.presets import preset_to_json
    from synthray.synth.priors import Prior, random_presets

    labels = random_presets(arguments.seed, 0, 1, prior=Prior.parse(arguments.prior))
    preset = preset_to_json(INSTRUMENT, INSTRUMENT.labels_to_settings(labels)[0])
    write_file(arguments.out, preset_text(preset).encode())
