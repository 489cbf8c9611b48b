"""``synthray render`` and ``synthray random``: preset files and sound files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synthray.cli.main import main
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json
from synthray.synth.priors import MUSICAL, random_presets
from synthray.synth.sound_file import read_sound
from tests.cli.conftest import assert_fails


def test_render_writes_the_sound_of_the_preset(files: Path, tmp_path: Path) -> None:
    assert main(["render", str(files / "preset.json"), "--out", str(tmp_path / "again.wav")]) == 0
    np.testing.assert_allclose(read_sound(tmp_path / "again.wav"), read_sound(files / "sound.wav"), atol=2**-14)


def test_random_with_the_same_seed_writes_the_same_preset(tmp_path: Path) -> None:
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert main(["random", "--seed", seed, "--out", str(tmp_path / name)]) == 0
    a, b, c = ((tmp_path / name).read_text() for name in "abc")
    assert a == b != c


def test_random_with_a_prior_writes_its_preset(tmp_path: Path) -> None:
    assert main(["random", "--seed", "7", "--prior", "musical", "--out", str(tmp_path / "preset.json")]) == 0
    preset = json.loads((tmp_path / "preset.json").read_text())
    settings = INSTRUMENT.labels_to_settings(random_presets(7, 0, 1, prior=MUSICAL))[0]
    np.testing.assert_allclose(preset_from_json(INSTRUMENT, preset), settings, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["{files}/sound.wav", "--out", "{files}/x.wav"], 1, "sound.wav: not a preset in JSON"),
        (["{files}/preset.json", "--out", "{files}/x.ogg"], 2, "x.ogg': sounds are written as WAV"),
        (["{files}/models/model_2_1.json", "--out", "{files}/x.wav"], 1, "preset"),
        (["{files}/none.json", "--out", "{files}/x.wav"], 1, "none.json"),
    ],
)
def test_render_failure_is_one_line(
    files: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert_fails(["render", *(part.format(files=files) for part in argv)], code, message, capsys)
    assert not (files / "x.wav").exists()
