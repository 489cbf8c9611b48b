"""The ``synthray render`` command. The synthesizer is in ``synthray.synth``."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from synthray.cli.files import read_file, render_wav, require_wav_name, write_file
from synthray.cli.runner import set_up
from synthray.errors import SoundError

DESCRIPTION = "Render a preset to a WAV file."
EXAMPLES = """
synthray render preset.json --out sound.wav
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, render, DESCRIPTION, EXAMPLES)
    parser.add_argument("preset", metavar="PRESET.json", help="a preset, as `synthray match` and `random` write it")
    parser.add_argument("--out", required=True, metavar="SOUND.wav", help="write the sound to this file")


def render(arguments: Namespace) -> None:
    """Render a preset file."""
    from synthray.synth.instrument import INSTRUMENT

    require_wav_name(arguments.out)
    raw = read_file(arguments.preset)
    try:
        wav = render_wav(INSTRUMENT, json.loads(raw))
    except SoundError as error:
        raise SoundError(f"{arguments.preset}: {error}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise SoundError(f"{arguments.preset}: not a preset in JSON ({reason}).") from None
    write_file(arguments.out, wav)
