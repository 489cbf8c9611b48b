"""The ``synthray match`` command. The network is in ``synthray.model``, the search in ``synthray.match``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from synthray.cli.files import preset_text, read_file, render_wav, require_wav_name, require_writable, write_file
from synthray.cli.flags import require_seconds
from synthray.cli.runner import set_up
from synthray.errors import ConfigError, SoundError, StorageError, summary
from synthray.quiet import quiet
from synthray.storage import open_store

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor
    from synthray.synth.files.sound_file import Sound

DESCRIPTION = """
Find the preset of each sound file: a network predicts it, and a search improves it. A match uses the first 2 s of the
sound, without the silence and noise in front of it. The command reads WAV, FLAC, OGG, MP3, AIFF and other formats, also
with incomplete headers.
"""
EXAMPLES = """
synthray match sound.wav
synthray match sound.wav --refine 10
synthray match sound.mp3 --out preset.json --wav match.wav
synthray match drums/*.wav bass.flac --out-dir matches
synthray match sound.wav --model s3://bucket/models/model_9_20.keras
"""

SHORT_SEARCH = 2048
"""Presets that the default search tries, in about 0.25 s. With a number, unlike a time, the result is reproducible."""
MENTIONED_FROM_S = 0.01
"""A skipped beginning that is shorter than this is not reported."""


@dataclass(frozen=True)
class Target:
    """The files that are written for one sound."""

    sound: str
    """URI of the sound."""
    preset: str | None
    """URI of the preset; None if it is not written."""
    wav: str | None
    """URI of the preset's sound; None if it is not written."""


def configure(parser: ArgumentParser) -> None:
    """Add the command's flags."""
    set_up(parser, match, DESCRIPTION, EXAMPLES)
    parser.add_argument("sounds", metavar="SOUND", nargs="+", help="a sound file (WAV, FLAC, OGG, MP3, AIFF, …)")
    parser.add_argument(
        "--model",
        default="",
        metavar="URI",
        help="a .keras file, a folder for its promoted or else its newest model, or `shipped` for the model of the "
        "package (default: the models under SYNTHRAY_HOME, or shipped if there are none)",
    )
    parser.add_argument("--out", metavar="PRESET.json", help="write the preset to this file (default: print it)")
    parser.add_argument("--wav", metavar="MATCH.wav", help="also render the preset to this file")
    parser.add_argument(
        "--out-dir",
        metavar="DIR",
        help="write NAME.json and NAME.wav for each sound to this folder; a second sound of this name becomes NAME-2",
    )
    parser.add_argument(
        "--refine",
        type=float,
        metavar="SECONDS",
        help="length of the search for each sound; 1 helps much, 10 helps more, and 0 gives the network's answer "
        f"(default: try {SHORT_SEARCH} presets, which takes about 0.25 s)",
    )


def match(arguments: Namespace) -> None:
    """Predict the preset of each sound and write it, its sound, or both."""
    if arguments.refine is not None:
        require_seconds("--refine", arguments.refine)
    targets = plan_targets(arguments.sounds, arguments.out_dir, arguments.out, arguments.wav)
    predictor = cache(lambda: _load_predictor(arguments.model))  # loaded after the first sound has been read
    if arguments.out_dir is None:
        _match_one(targets[0], predictor, arguments.refine)
        return
    failed = []
    for number, target in enumerate(targets, 1):
        print(f"{number} of {len(targets)}: {target.sound}", file=sys.stderr)
        try:
            _match_one(target, predictor, arguments.refine)
        except (SoundError, StorageError) as error:
            print(f"not matched: {summary(error)}", file=sys.stderr)
            failed.append(target.sound)
    if failed:
        raise SoundError(f"{len(failed)} of {len(targets)} sounds were not matched: {', '.join(failed)}")


def plan_targets(
    sounds: Sequence[str], out_dir: str | None, out: str | None = None, wav: str | None = None
) -> list[Target]:
    """Return the files to write for each sound. The same arguments give the same files in every run.

    Raises:
        ConfigError: the flags contradict each other, or a sound would be overwritten.
    """
    for flag, value in (("--out-dir", out_dir), ("--out", out), ("--wav", wav)):
        if value == "":
            raise ConfigError(f"{flag} is empty. Give a value, and check the shell variables in it.")
    require_wav_name(wav)
    if out_dir is None:
        if len(sounds) > 1:
            raise ConfigError(f"{len(sounds)} sounds need --out-dir, the folder for their presets and matches")
        targets = [Target(sounds[0], out, wav)]
    elif out or wav:
        raise ConfigError("--out-dir: the files are named after the sounds. Leave out --out and --wav.")
    else:
        names = unique_names([PurePosixPath(open_store(sound).uri).stem for sound in sounds])
        folder = open_store(out_dir).uri if "://" in out_dir else out_dir.rstrip("/") or "/"
        targets = [
            Target(sound, f"{folder}/{name}.json", f"{folder}/{name}.wav")
            for sound, name in zip(sounds, names, strict=True)
        ]
    _require_separate(sounds, [uri for target in targets for uri in (target.preset, target.wav) if uri])
    return targets


def _require_separate(sounds: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise ConfigError if an output would replace a sound or another output, or cannot be written."""
    read, written = {_identity(sound) for sound in sounds}, set()
    for uri in outputs:
        if (identity := _identity(uri)) in read:
            raise ConfigError(f"{uri!r}: this sound would be overwritten by a match. Write to another place.")
        if identity in written:
            raise ConfigError(f"{uri!r}: the preset and its sound would be written to one file. Give two names.")
        written.add(identity)
        require_writable(uri)


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names that differ even if case is ignored: ``a``, ``A``, ``b`` become ``a``, ``A-2``, ``b``.

    The first of equal names is never changed.
    """
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    unique = []
    for name in names:
        new, number = name, 1
        while new.casefold() in (seen if number == 1 else taken):
            number += 1
            new = f"{name}-{number}"
        seen.add(new.casefold())
        taken.add(new.casefold())
        unique.append(new)
    return unique


def _identity(uri: str) -> str:
    """Return a name that is equal for all URIs of a file."""
    absolute = open_store(uri).uri
    return absolute if "://" in absolute else os.path.realpath(absolute)


def _match_one(target: Target, predictor: Callable[[], Predictor], refine_s: float | None) -> None:
    """Match one sound; report on stderr which part of it was used, and what was written.

    Raises:
        SoundError, StorageError: the sound cannot be used or read; the message names it.
    """
    sound = _read(target.sound)
    _report(target.sound, sound)
    preset = _predict(predictor(), sound, refine_s)
    if target.wav:
        write_file(target.wav, render_wav(predictor().card.table, preset))
    if target.preset:
        write_file(target.preset, preset_text(preset).encode())
    elif not target.wav:
        print(preset_text(preset), end="")


def _read(uri: str) -> Sound:
    from synthray.synth.files.sound_file import read_sound

    raw = read_file(uri)
    try:
        with quiet():
            return read_sound(raw)
    except SoundError as error:
        raise SoundError(f"{uri}: {error}") from error


def _report(uri: str, sound: Sound) -> None:
    """Print which part of a file is matched, if it is not all of it."""
    if sound.skipped_s < MENTIONED_FROM_S and not sound.is_cut:
        return
    length = "a longer file" if sound.length_s is None else f"{sound.length_s:.2f} s"
    skipped, end = sound.skipped_s, sound.skipped_s + sound.used_s
    print(f"{uri}: matched {skipped:.2f} to {end:.2f} s of {length}", file=sys.stderr)


def _predict(predictor: Predictor, sound: Sound, refine_s: float | None) -> dict[str, Any]:
    from synthray.match.match import match
    from synthray.synth.voice import usable_cores

    presets = SHORT_SEARCH if refine_s is None else None
    found = match(predictor, sound.audio, refine_s or 0.0, max_evaluations=presets, threads=usable_cores())
    return found.to_json(model=predictor.card.name, sound=sound.to_json())


def _load_predictor(model: str) -> Predictor:
    from synthray.model.registry import served_model

    uri = served_model(model)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # level 2 still reports a missing GPU
    with quiet():
        from synthray.model.predictor import Predictor

        return Predictor.load(uri)
