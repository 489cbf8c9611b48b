"""``synthray render`` and ``synthray random``: preset files and sound files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthray.cli.main import main
from tests.cli.conftest import assert_fails


def test_render_writes_the_sound_of_the_preset(files: Path, tmp_path: Path) -> None:
    assert main(["render", str(files / "preset.json"), "--out", str(tmp_path / "again.wav")]) == 0
    again, original = (soundfile.read(folder)[0] for folder in (tmp_path / "again.wav", files / "sound.wav"))
    np.testing.assert_allclose(again, original, atol=2**-14)


def test_random_with_the_same_seed_writes_the_same_preset(tmp_path: Path) -> None:
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert main(["random", "--seed", seed, "--out", str(tmp_path / name)]) == 0
    a, b, c = ((tmp_path / name).read_text() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    "name", ["with space", "é 東京 🎹", "a#b", "100%", "a%20b", "a?b&c", "a+b", "-dash", "--help", "~"]
)
def test_files_may_have_odd_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main(["random", f"--out=./{name}"]) == 0
    assert main(["render", (folder / name).as_uri(), f"--out={(folder / name).as_uri()}.wav"]) == 0
    assert main(["match", "--out-dir", f"../{name}/out", "--", f"./{name}.wav"]) == 0
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert written == {f"{name}/{name}.wav", f"{name}/out/{name}.json", f"{name}/out/{name}.wav"}


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["{files}/sound.wav", "--out", "{files}/x.wav"], 1, "sound.wav: not a preset in JSON"),
        (["{files}/preset.json", "--out", "{files}/x.ogg"], 2, "x.ogg': sounds are written as WAV"),
        (["{files}/models/model_2_1.json", "--out", "{files}/x.wav"], 1, "preset"),
        (["{files}/none.json", "--out", "{files}/x.wav"], 1, "none.json"),
        (["{files}/deep.json", "--out", "{files}/x.wav"], 1, "deep.json: not a preset in JSON (nested too deeply)"),
        (["{files}/loud.json", "--out", "{files}/x.wav"], 1, "loud.json: "),
    ],
)
def test_render_failure_is_one_line(
    files: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    (files / "deep.json").write_text("[" * 100_000)
    preset = json.loads((files / "preset.json").read_text())
    preset["parameters"]["oscillator_1_level"]["value"] = 1000.0
    (files / "loud.json").write_text(json.dumps(preset))
    assert_fails(["render", *(part.format(files=files) for part in argv)], code, message, capsys)
    assert not (files / "x.wav").exists()
