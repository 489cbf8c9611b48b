"""``synthray match``: from a sound file to a preset file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.cli.main import main
from synthray.cli.match import SHORT_SEARCH, plan_targets, unique_names
from synthray.storage import open_store
from synthray.synth.files.sound_file import write_wav
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json
from synthray.synth.voice import render
from tests.cli.conftest import assert_fails


def test_match_writes_a_preset_and_its_sound(files: Path, tmp_path: Path) -> None:
    preset, wav = tmp_path / "deep" / "preset.json", tmp_path / "match.wav"
    sound, model = str(files / "sound.wav"), str(files / "models")
    assert main(["match", sound, "--model", model, "--out", str(preset), "--wav", str(wav)]) == 0
    row = preset_from_json(INSTRUMENT, json.loads(preset.read_text()))
    written = soundfile.read(wav)[0]
    np.testing.assert_allclose(written, render(row[None])[0], atol=2**-15)
    assert np.abs(written).max() > 0.01


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
    write_wav(long_sound, np.tile(soundfile.read(files / "sound.wav")[0], 2))
    match = ["match", str(long_sound), "--model", str(registry)]
    assert main(match) == 1
    assert "was trained on another instrument" in capsys.readouterr().err
    assert main(["models", "promote", f"{registry}/first/model_2_1.keras", "--registry", str(registry)]) == 0
    capsys.readouterr()
    assert main(match) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["model"] == "model_2_1"
    assert output.err == f"{long_sound}: matched 0.00 to 2.00 s of 4.00 s\n"
    assert json.loads(output.out)["sound"] == {"skipped_s": 0.0, "used_s": 2.0, "length_s": 4.0}


@pytest.mark.slow
def test_match_searches_for_a_nearer_preset(files: Path, tmp_path: Path) -> None:
    found = []
    for name, flags in {"network": ["--refine", "0"], "search": ["--refine", "0.3"], "one": [], "other": []}.items():
        out = tmp_path / f"{name}.json"
        command = ["match", str(files / "sound.wav"), "--model", str(files / "models"), "--out", str(out)]
        assert main([*command, *flags]) == 0
        found.append(json.loads(out.read_text()))
    network, search, one, other = found
    assert network["evaluations"] == 0
    for nearer in (search, one):
        assert nearer["evaluations"] > 0
        assert nearer["distance_db"] < network["distance_db"]
    assert one["evaluations"] >= SHORT_SEARCH
    assert one["parameters"] == other["parameters"]


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf"])
def test_match_refine_of_no_number_of_seconds_fails(seconds: str, files: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["match", str(files / "sound.wav"), "--refine", seconds]
    assert_fails(command, 2, "Give a number of seconds, 0 or more.", capsys)


def test_match_after_a_lead_in_is_the_same_preset(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from synthray.match.match import match
    from synthray.model.predictor import Predictor

    later = tmp_path / "later.wav"
    write_wav(later, np.concatenate([np.zeros(5733), soundfile.read(files / "sound.wav")[0]]))
    presets = []
    for sound in (files / "sound.wav", later):
        assert main(["match", str(sound), "--model", str(files / "models"), "--refine", "0"]) == 0
        output = capsys.readouterr()
        presets.append(json.loads(output.out))
    assert output.err == f"{later}: matched 0.52 to 2.52 s of 2.52 s\n"
    assert presets[1]["sound"]["skipped_s"] == pytest.approx(0.52, abs=0.002)
    labels = [INSTRUMENT.settings_to_labels(preset_from_json(INSTRUMENT, preset)[None])[0] for preset in presets]
    # The untrained network exaggerates what a fraction of a millisecond changes.
    assert np.median(np.abs(labels[1] - labels[0])) < 0.01
    without_onset = np.zeros(22050, np.float32)
    without_onset[5733:] = soundfile.read(files / "sound.wav")[0][:-5733]
    predictor = Predictor.load(f"{files}/models/model_2_1.keras")
    unaligned = INSTRUMENT.settings_to_labels(match(predictor, without_onset).settings[None])[0]
    assert np.abs(unaligned - labels[0]).mean() > 5 * np.abs(labels[1] - labels[0]).mean()


@pytest.fixture
def sounds(files: Path, tmp_path: Path) -> Path:
    """A folder with three sounds, two of which have the same name, and two files that cannot be matched."""
    folder = tmp_path / "sounds"
    for name in ("a/tone.wav", "b/Tone.wav", "other.sound.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files / "sound.wav", folder / name)
    (folder / "text.wav").write_text("no sound")
    write_wav(folder / "silent.wav", np.zeros(11025))
    return folder


@pytest.mark.slow
def test_match_many_sounds_writes_each_and_names_the_bad_ones(
    files: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    names = ["a/tone.wav", "text.wav", "b/Tone.wav", "gone.wav", "silent.wav", "other.sound.wav"]
    paths = [str(sounds / name) for name in names]
    command = ["match", *paths, "--out-dir", f"{out}/", "--model", str(files / "models")]
    for _ in range(2):  # a second run writes the same files
        assert main(command) == 1
        output = capsys.readouterr()
        assert output.out == ""
        lines = output.err.splitlines()
        assert lines[0] == f"1 of 6: {paths[0]}"
        assert lines[-1] == f"synthray: 3 of 6 sounds were not matched: {paths[1]}, {paths[3]}, {paths[4]}"
        for path, reason in (
            (paths[1], "its format is unknown"),
            (paths[3], "not"),
            (paths[4], "is silent throughout"),
        ):
            [line] = [line for line in lines if line.startswith("not matched: ") and path in line]
            assert reason in line
        written = sorted(path.name for path in out.iterdir())
        assert written == ["Tone-2.json", "Tone-2.wav", "other.sound.json", "other.sound.wav", "tone.json", "tone.wav"]
    for preset in out.glob("*.json"):
        row = preset_from_json(INSTRUMENT, json.loads(preset.read_text()))
        match = soundfile.read(preset.with_suffix(".wav"))[0]
        np.testing.assert_allclose(match, render(row[None])[0], atol=2**-15)
    good = [path for path in paths if "one" in path and "gone" not in path]
    assert main(["match", *good, "--out-dir", str(out), "--model", str(files / "models")]) == 0


@settings(max_examples=50)
@given(names=st.lists(st.sampled_from(["a", "A", "b", "a-2", "A-2", "a-2-2", "b-3"]), max_size=12))
def test_unique_names_differ_and_keep_the_first(names: list[str]) -> None:
    unique = unique_names(names)
    assert len({name.casefold() for name in unique}) == len(names)
    for position, (name, new) in enumerate(zip(names, unique, strict=True)):
        assert new == name or name.casefold() in {other.casefold() for other in names[:position]}
        assert new.startswith(name)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{sounds}/a/tone.wav", "{sounds}/b/Tone.wav"], "2 sounds need --out-dir"),
        (["{sounds}/a/tone.wav", "--out-dir", "{sounds}", "--wav", "x.wav"], "Leave out --out and --wav"),
        (["{sounds}/a/tone.wav", "--out-dir", "{sounds}", "--out", "x.json"], "Leave out --out and --wav"),
        (["{sounds}/a/tone.wav", "{sounds}/text.wav", "--out-dir", "{sounds}/a/"], "a/tone.wav': this sound would be"),
        (["{sounds}/a/tone.wav", "--out-dir", "{sounds}/b/../link"], "link/tone.wav': this sound would be overwritten"),
        (["{sounds}/a/tone.wav", "--wav", "{sounds}/link/tone.wav"], "this sound would be overwritten by a match"),
        (
            ["{sounds}/a/tone.wav", "--wav", "{sounds}/a/x.wav", "--out", "{sounds}/link/x.wav"],
            "would be written to one",
        ),
        (["{sounds}/a/tone.wav", "--out", "{sounds}/b"], "b': this is a folder"),
        (["{sounds}/a/tone.wav", "--out-dir", "{sounds}/text.wav/x"], "text.wav is a file, not a folder"),
        (["{sounds}/a/tone.wav", "--out", "file://{sounds}/b"], "b': this is a folder"),
        (["{sounds}/a/tone.wav", "--out-dir", ""], "--out-dir is empty"),
        (["{sounds}/a/tone.wav", "--out", ""], "--out is empty"),
        (["{sounds}/a/tone.wav", "--wav", ""], "--wav is empty"),
    ],
)
def test_match_contradicting_flags_write_nothing(
    files: Path, sounds: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    (sounds / "link").symlink_to("a")
    before = sorted(sounds.rglob("*"))
    assert_fails(["match", *(part.format(sounds=sounds) for part in argv)], 2, message, capsys)
    assert sorted(sounds.rglob("*")) == before


@pytest.mark.parametrize("folder", ["file://{}/out", "{}/out", "s3://bucket/out"])
def test_match_names_of_outputs_are_never_taken_for_escapes(folder: str, tmp_path: Path) -> None:
    """``%2f`` is a slash in a ``file://`` URI."""
    names = ["a b", "a%20b", "..%2f..%2fescaped", "100%00"]
    targets = plan_targets([f"{tmp_path}/{name}.wav" for name in names], folder.format(tmp_path))
    out = open_store(folder.format(tmp_path)).uri
    assert [target.preset for target in targets] == [f"{out}/{name}.json" for name in names]


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
