"""The command line as a person uses it: files in, files out, one line for a failure, exit codes."""

import json
import shutil
import subprocess
import sys
from argparse import ArgumentParser

import numpy as np
import pytest

from infra.ray_head import REPOSITORY
from synthray.cli.main import main
from synthray.cli.runner import run
from synthray.errors import ConfigError, NotFound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Range
from synthray.synth.presets import preset_from_json, preset_to_json
from synthray.synth.sound_file import read_sound, write_wav
from synthray.synth.voice import render
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """``sound.wav``, its ``preset.json``, and ``models`` with one of the instrument and one of another."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("cli")
    middle = np.array([[0.5 if isinstance(p, Range) else 1.0 for p in INSTRUMENT.learned]])
    settings = INSTRUMENT.labels_to_settings(middle)
    write_wav(folder / "sound.wav", render(settings)[0])
    (folder / "preset.json").write_text(json.dumps(preset_to_json(INSTRUMENT, settings[0])))
    save_model(build_model(FOREIGN, FOREIGN_SHAPE), f"{folder}/foreign", build_card(FOREIGN, FOREIGN_SHAPE))
    save_model(build_model(INSTRUMENT, (20, 551), seed=1), f"{folder}/models", build_card(INSTRUMENT, (20, 551)))
    return folder


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_has_enough_is_not_worth_a_word(lines):
    script = f"""
import argparse, sys
from synthray.cli.runner import run
sys.stdin.read()
sys.exit(run(lambda _: print("line\\n" * {lines}), argparse.ArgumentParser("many"), []))
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, **pipes) as process:
        process.stdout.close()
        process.stdin.close()  # only now does it print
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_match_writes_a_preset_and_its_sound(files, tmp_path):
    preset, wav = tmp_path / "deep" / "preset.json", tmp_path / "match.wav"
    sound, model = str(files / "sound.wav"), str(files / "models")
    assert main(["match", sound, "--model", model, "--out", str(preset), "--wav", str(wav)]) == 0
    settings = preset_from_json(INSTRUMENT, json.loads(preset.read_text()))
    np.testing.assert_allclose(read_sound(wav), render(settings[None])[0], atol=2**-15)
    assert np.abs(read_sound(wav)).max() > 0.01


def test_match_takes_the_newest_model_at_home_and_prints(files, monkeypatch, capsys):
    monkeypatch.setenv("SYNTHRAY_HOME", str(files))
    assert main(["match", str(files / "sound.wav")]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "model_2_1"


def test_match_takes_the_promoted_model_of_a_folder_and_says_what_it_cuts(files, tmp_path, capsys):
    place = tmp_path / "models"
    shutil.copytree(files / "models", place / "first", copy_function=shutil.copy)  # with times of their own
    shutil.copytree(files / "foreign", place / "newer", copy_function=shutil.copy)
    write_wav(tmp_path / "long.wav", np.tile(read_sound(files / "sound.wav"), 2))
    assert main(["match", str(tmp_path / "long.wav"), "--model", str(place)]) == 1
    assert "was trained on another instrument" in capsys.readouterr().err
    assert main(["models", "promote", str(place / "first/model_2_1.keras"), "--place", str(place)]) == 0
    capsys.readouterr()
    assert main(["match", str(tmp_path / "long.wav"), "--model", str(place)]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["model"] == "model_2_1"
    assert told.err == f"{tmp_path}/long.wav lasts 4.0 s: its first 2 s are matched\n"


def test_render_makes_the_presets_sound(files, tmp_path):
    assert main(["render", str(files / "preset.json"), "--out", str(tmp_path / "again.wav")]) == 0
    np.testing.assert_allclose(read_sound(tmp_path / "again.wav"), read_sound(files / "sound.wav"), atol=2**-14)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["match", "{files}/none.wav"], 1, "none.wav does not exist"),
        (["match", "{files}/preset.json"], 1, "cannot be read as a sound file"),
        (["match", "{files}/sound.wav", "--model", "{files}/none"], 1, "holds no model. Run synthray train"),
        (["match", "{files}/sound.wav", "--model", "{files}/foreign"], 1, "was trained on another instrument"),
        (["match", "{files}/sound.wav", "--model", "ftp://x"], 2, "unknown scheme ftp://"),
        (["render", "{files}/sound.wav", "--out", "{files}/x.wav"], 1, "is not a preset in JSON"),
        (["match", "{files}/none.wav", "--wav", "{files}/x.flac"], 2, "x.flac' does not end in .wav, and WAV is what"),
        (["render", "{files}/preset.json", "--out", "{files}/x.ogg"], 2, "x.ogg' does not end in .wav, and WAV is"),
        (["render", "{files}/models/model_2_1.json", "--out", "{files}/x.wav"], 1, "preset"),
        (["data", "show", "{files}"], 1, "holds no manifest.json"),
    ],
)
def test_a_failure_is_one_line(files, capsys, argv, code, message):
    assert main([part.format(files=files) for part in argv]) == code
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("synthray: ")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("argv", [[], ["match"], ["render", "x"], ["nothing"], ["data"]])
def test_wrong_usage_is_two(argv, capsys):
    with pytest.raises(SystemExit) as told:
        main(argv)
    assert told.value.code == 2
    assert "usage: synthray" in capsys.readouterr().err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as told:
        main(["--help"])
    assert told.value.code == 0
    assert "synthray match sound.wav --out preset.json --wav match.wav" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("a is 3"), 2, "job: a is 3\n"),
        (NotFound("no model"), 1, "job: no model\n"),
        (ZeroDivisionError("by zero"), 1, "job: ZeroDivisionError: by zero (--verbose shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
        (None, 0, ""),
    ],
)
def test_each_outcome_has_its_exit_code(error, code, told, capsys):
    def work(_):
        if error is not None:
            raise error

    assert run(work, ArgumentParser("job"), []) == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("place", [0, 2])
def test_verbose_shows_the_traceback_before_or_after_the_command(files, capsys, place):
    argv = ["data", "show", str(files)]
    assert main([*argv[:place], "--verbose", *argv[place:]]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("synthray: ")


def test_no_command_imports_ray_and_only_match_tensorflow(files, tmp_path):
    """In a process of its own, where nothing else has imported them."""
    code = (
        "import sys; from synthray.cli.main import main\n"
        "print(main(sys.argv[1:]), 'ray' in sys.modules, 'tensorflow' in sys.modules, file=sys.stderr)"
    )
    commands = {
        "False False": ["render", str(files / "preset.json"), "--out", str(tmp_path / "a.wav")],
        "False True": [
            "match",
            str(files / "sound.wav"),
            "--model",
            str(files / "models"),
            "--wav",
            str(tmp_path / "b.wav"),
        ],
    }
    for loaded, argv in commands.items():
        ended = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        assert ended.stderr.splitlines()[1:] == [f"0 {loaded}"]
        assert ended.stdout == ""
