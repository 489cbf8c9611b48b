"""The ``synthray match`` command. The prediction itself is in ``synthray.model`` and ``synthray.match``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from synthray.cli.files import preset_text, read_file, render_wav, require_wav_name, write_file
from synthray.cli.quiet import quiet_import
from synthray.cli.runner import set_up
from synthray.errors import SoundError

DESCRIPTION = "Predict the preset of a sound file, from its first two seconds."
EXAMPLES = """
synthray match sound.wav
synthray match sound.wav --out preset.json --wav match.wav
synthray match sound.wav --model s3://bucket/models/model_9_20.keras
"""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, match, DESCRIPTION, EXAMPLES)
    parser.add_argument("sound", metavar="SOUND", help="a WAV, FLAC or OGG file")
    parser.add_argument(
        "--model",
        default="",
        metavar="URI",
        help="a .keras file, or a folder: its promoted model, or its newest (default: models under SYNTHRAY_HOME)",
    )
    parser.add_argument("--out", metavar="PRESET.json", help="write the preset to this file (default: print it)")
    parser.add_argument("--wav", metavar="MATCH.wav", help="also render the preset to this file")


def match(arguments: Namespace) -> None:
    """Predict a preset and write it, its sound, or both."""
    from synthray.model.registry import served_model
    from synthray.synth.instrument import DURATION_S
    from synthray.synth.sound_file import CUT_FROM_S, duration_s, read_sound

    require_wav_name(arguments.wav)
    raw = read_file(arguments.sound)
    try:
        audio, length_s = read_sound(raw), duration_s(raw)
    except SoundError as error:
        raise SoundError(f"{arguments.sound}: {error}") from error
    if length_s >= CUT_FROM_S:
        print(
            f"{arguments.sound} lasts {length_s:.1f} s. Only its first {DURATION_S:.0f} s are matched.", file=sys.stderr
        )
    uri = served_model(arguments.model)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # level 2 still reports a missing GPU
    with quiet_import():
        from synthray.match.sound import match_sound
        from synthray.model.predictor import Predictor
        from synthray.model.saved import load_model

    predictor = Predictor(*load_model(uri))
    preset = match_sound(predictor, audio)
    if arguments.out:
        write_file(arguments.out, preset_text(preset).encode())
    elif not arguments.wav:
        print(preset_text(preset), end="")
    if arguments.wav:
        write_file(arguments.wav, render_wav(predictor.card.table, preset))
