"""From a sound to synthesizer settings, and back: the commands that need no cluster."""

from __future__ import annotations

import io
import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any

from synthray import __version__
from synthray.cli.data import add_data_commands
from synthray.cli.models import add_models_commands
from synthray.cli.quiet import quiet_import
from synthray.cli.runner import add_verbose, run
from synthray.errors import ConfigError, SoundError
from synthray.storage import open_parent

EXAMPLES = """\
examples:
  synthray match sound.wav --out preset.json --wav match.wav
  synthray match sound.wav --model s3://bucket/models/model_9_20.keras
  synthray render preset.json --out sound.wav
  synthray random --seed 7 --out preset.json
  synthray data ls
  synthray data show s3://bucket/data/first
  synthray models ls
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    return run(lambda arguments: arguments.command(arguments), _parser(), argv)


def match(arguments: Namespace) -> None:
    """Predict the preset of a sound file, from its first two seconds."""
    from synthray.model.registry import served_model
    from synthray.synth.instrument import DURATION_S
    from synthray.synth.sound_file import CUT_FROM_S, duration_s, read_sound

    _require_wav(arguments.wav)
    raw = _read(arguments.sound)
    audio, lasts_s = read_sound(raw), duration_s(raw)
    if lasts_s >= CUT_FROM_S:
        print(f"{arguments.sound} lasts {lasts_s:.1f} s: its first {DURATION_S:.0f} s are matched", file=sys.stderr)
    model = served_model(arguments.model)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # at 2 it still tells of the GPU that most machines lack
    with quiet_import():
        from synthray.match.sound import match_sound
        from synthray.model.predictor import Predictor
        from synthray.model.saved import load_model

    predictor = Predictor(*load_model(model))
    preset = match_sound(predictor, audio)
    text = json.dumps(preset, indent=1, ensure_ascii=False) + "\n"
    if arguments.out:
        _write(arguments.out, text.encode())
    elif not arguments.wav:
        print(text, end="")
    if arguments.wav:
        _write(arguments.wav, _wav(predictor.card.table, preset))


def render(arguments: Namespace) -> None:
    """Render a preset to a WAV file."""
    from synthray.synth.instrument import INSTRUMENT

    _require_wav(arguments.out)
    raw = _read(arguments.preset)
    try:
        preset = json.loads(raw)
    except ValueError as error:
        raise SoundError(f"{arguments.preset} is not a preset in JSON: {error}") from None
    _write(arguments.out, _wav(INSTRUMENT, preset))


def random(arguments: Namespace) -> None:
    """Make a preset at random; the same seed gives the same preset."""
    from synthray.synth.instrument import INSTRUMENT
    from synthray.synth.presets import preset_to_json, random_labels

    labels = random_labels(INSTRUMENT, arguments.seed, 0, 1)
    preset = preset_to_json(INSTRUMENT, INSTRUMENT.labels_to_settings(labels)[0])
    _write(arguments.out, (json.dumps(preset, indent=1, ensure_ascii=False) + "\n").encode())


def _read(uri: str) -> bytes:
    store, name = open_parent(uri)
    return store.read(name)


def _write(uri: str, data: bytes) -> None:
    store, name = open_parent(uri)
    if not name:
        raise ConfigError(f"{uri!r} names no file")
    store.write(name, data)
    print(f"written {uri}", file=sys.stderr)


def _require_wav(uri: str | None) -> None:
    """Raise ConfigError for a file whose name promises another format than the one that is written."""
    if uri and not uri.lower().endswith((".wav", ".wave")):
        raise ConfigError(f"{uri!r} does not end in .wav, and WAV is what is written")


def _wav(table: Any, preset: dict[str, Any]) -> bytes:
    """The sound of a preset, as a WAV file's bytes; raises SoundError."""
    from synthray.synth.presets import preset_from_json
    from synthray.synth.sound_file import write_wav
    from synthray.synth.voice import render as render_sounds

    settings = preset_from_json(table, preset)
    buffer = io.BytesIO()
    write_wav(buffer, render_sounds(settings[None])[0])
    return buffer.getvalue()


def _parser() -> ArgumentParser:
    parser = ArgumentParser("synthray", None, __doc__, EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"synthray {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = _command(commands, "match", match)
    command.add_argument("sound", metavar="SOUND", help="a WAV, FLAC or OGG file")
    command.add_argument(
        "--model",
        default="",
        metavar="URI",
        help="a .keras file, or a folder: the one promoted there, or its newest (default: models under SYNTHRAY_HOME)",
    )
    command.add_argument("--out", metavar="PRESET.json", help="where to write the preset (default: the terminal)")
    command.add_argument("--wav", metavar="MATCH.wav", help="where to write the preset's sound")

    command = _command(commands, "render", render)
    command.add_argument("preset", metavar="PRESET.json")
    command.add_argument("--out", required=True, metavar="SOUND.wav", help="where to write the sound")

    command = _command(commands, "random", random)
    command.add_argument("--seed", type=int, default=0, help="which one (default: 0)")
    command.add_argument("--out", required=True, metavar="PRESET.json", help="where to write the preset")

    add_data_commands(commands)
    add_models_commands(commands)
    return parser


def _command(commands: Any, name: str, function: Any) -> ArgumentParser:
    """A subcommand whose help is its function's docstring."""
    command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
    command.set_defaults(command=function)
    add_verbose(command)
    return command


if __name__ == "__main__":
    sys.exit(main())
