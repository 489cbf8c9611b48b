"""Presets and sounds as files. Shared by the commands that take or write one file, not a data set."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthray.errors import ConfigError
from synthray.storage import open_parent, open_store

if TYPE_CHECKING:
    from synthray.synth.parameters import ParameterTable


def read_file(uri: str) -> bytes:
    """Return a file's bytes. Raises NotFound or StorageError."""
    store, name = open_parent(uri)
    return store.read(name)


def write_file(uri: str, data: bytes) -> None:
    """Write a file and report it on stderr.

    Raises:
        ConfigError: the URI is a folder.
    """
    store, name = open_parent(uri)
    if not name:
        raise ConfigError(f"{uri!r}: this is a folder. Give the URI of a file.")
    store.write(name, data)
    print(f"wrote {uri}", file=sys.stderr)


def require_writable(uri: str) -> None:
    """Raise ConfigError if a local file cannot be written, before work is done that would be lost."""
    path = Path(open_store(uri).uri)
    if "://" in uri.removeprefix("file://"):
        return
    if path.is_dir():
        raise ConfigError(f"{uri!r}: this is a folder. Give the name of a file.")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        raise ConfigError(f"{uri!r}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{uri!r}: no file can be written in {folder}")


def require_wav_name(uri: str | None) -> None:
    """Raise ConfigError unless the file name, if given, ends in ``.wav`` or ``.wave``."""
    if uri and not uri.lower().endswith((".wav", ".wave")):
        raise ConfigError(f"{uri!r}: sounds are written as WAV. Give a file name that ends in .wav.")


def preset_text(preset: dict[str, Any]) -> str:
    """Return a preset as indented JSON."""
    return json.dumps(preset, indent=1, ensure_ascii=False) + "\n"


def render_wav(table: ParameterTable, preset: dict[str, Any]) -> bytes:
    """Render a preset and return the bytes of a WAV file. Raises SoundError."""
    # imported here: the instrument loads a compiler
    from synthray.synth.files.sound_file import encode_wav
    from synthray.synth.presets import preset_from_json
    from synthray.synth.voice import render

    settings = preset_from_json(table, preset)
    return encode_wav(render(settings[None])[0])
