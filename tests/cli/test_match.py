"""``synthray match``: from a sound file to a preset file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from synthray.cli.main import main
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json
from synthray.synth.sound_file import read_sound, write_wav
from synthray.synth.voice import render
from tests.cli.conftest import assert_fails


def test_match_writes_a_preset_and_its_sound(files: Path, tmp_path: Path) -> None:
    preset, wav = tmp_path / "deep" / "preset.json", tmp_path / "match.wav"
    sound, model = str(files / "sound.wav"), str(files / "models")
    assert main(["match", sound, "--model", model, "--out", str(preset), "--wav", str(wav)]) == 0
    settings = preset_from_json(INSTRUMENT, json.loads(preset.read_text()))
    np.testing.assert_allclose(read_sound(wav), render(settings[None])[0], atol=2**-15)
    assert np.abs(read_sound(wav)).max() > 0.01


def test_match_without_flags_prints_the_preset_of_the_newest_model(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(files))
    assert main(["match", str(files / "sound.wav")]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "model_2_1"


def test_match_uses_the_promoted_model_and_reports_a_long_sound(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    registry, long_sound = tmp_path / "models", tmp_path / "long.wav"
    shutil.copytree(files / "models", registry / "first", copy_function=shutil.copy)  # copy() sets new times
    shutil.copytree(files / "foreign", registry / "newer", copy_function=shutil.copy)
    write_wav(long_sound, np.tile(read_sound(files / "sound.wav"), 2))
    match = ["match", str(long_sound), "--model", str(registry)]
    assert main(match) == 1
    assert "was trained on another instrument" in capsys.readouterr().err
    assert main(["models", "promote", f"{registry}/first/model_2_1.keras", "--registry", str(registry)]) == 0
    capsys.readouterr()
    assert main(match) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["model"] == "model_2_1"
    assert output.err == f"{long_sound} lasts 4.0 s. Only its first 2 s are matched.\n"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["{files}/none.wav"], 1, "none.wav"),
        (["{files}/preset.json"], 1, "preset.json: "),
        (["{files}/sound.wav", "--model", "{files}/none"], 1, "no model"),
        (["{files}/sound.wav", "--model", "{files}/foreign"], 1, "was trained on another instrument"),
        (["{files}/sound.wav", "--model", "ftp://x"], 2, "ftp://"),
        (["{files}/none.wav", "--wav", "{files}/x.flac"], 2, "x.flac': sounds are written as WAV"),
        (["{files}/sound.wav", "--model", "{files}/models", "--out", "/"], 2, "'/': this is a folder"),
    ],
)
def test_match_failure_is_one_line(
    files: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert_fails(["match", *(part.format(files=files) for part in argv)], code, message, capsys)
