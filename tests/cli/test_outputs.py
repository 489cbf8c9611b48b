"""A submitted job refuses to write where its results would be lost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from synthray.cli import outputs
from synthray.cli.main import COMMANDS, build_parser, main
from tests.cli.conftest import assert_fails

RELATIVE = [
    ["generate", "--out"], ["convert", "--out"], ["train", "--out"], ["tune", "--out"], ["evaluate", "--out"],
    ["random", "--out"], ["render", "preset.json", "--out"], ["match", "sound.wav", "--out"],
    ["match", "sound.wav", "--wav"], ["match", "sound.wav", "--out-dir"],
    ["models", "promote", "/m/x.keras", "--registry"], ["models", "rollback", "--registry"],
]  # fmt: skip
PLACES = ["my_sounds", "./my sounds", "../out", "-out", "x%20#?"]


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process look like a job that was submitted with ``--working-dir``; return its working directory."""
    folder = tmp_path / "_ray_pkg"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(outputs.SUBMITTED, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg.zip"}}))
    return folder


@pytest.mark.parametrize("argv", RELATIVE, ids=" ".join)
def test_relative_output_is_refused_by_every_command_that_writes(
    argv: list[str], submitted: Path, capsys: pytest.CaptureFixture
) -> None:
    for place in PLACES:
        message = f"{argv[-1]} is {place!r}, and results are written there. A submitted job runs in a folder that Ray"
        assert_fails([*argv[:-1], f"{argv[-1]}={place}"], 2, message, capsys)
    assert list(submitted.iterdir()) == []


def test_every_flag_that_names_an_output_is_checked() -> None:
    """A flag whose help says that it writes has a name that ``require_kept_outputs`` knows."""
    parser = build_parser(list(COMMANDS))
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    written = {
        action.dest
        for command in commands.choices.values()
        for action in command._actions
        if action.option_strings and any(word in f" {action.help} " for word in (" to write ", " write ", " to this f"))
    }
    assert {"out", "out_dir", "wav"} <= written <= set(outputs._FLAGS)


@pytest.mark.parametrize("uri", ["{cwd}/out", "{cwd}", "file://{cwd}/out", "{cwd}/../_ray_pkg/out"])
def test_absolute_output_in_the_copy_of_the_working_directory_is_refused(
    uri: str, submitted: Path, capsys: pytest.CaptureFixture
) -> None:
    assert_fails(["random", f"--out={uri.format(cwd=submitted)}"], 2, "A submitted job runs in a folder", capsys)


@pytest.mark.parametrize("home", ["home", "./home"])
def test_relative_home_is_refused(
    home: str, submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", home)
    assert_fails(["generate"], 2, f"SYNTHRAY_HOME is {home!r}", capsys)


@pytest.mark.parametrize("argv", [["evaluate", "--model"], ["models", "promote"]], ids=" ".join)
def test_output_beside_a_relative_model_is_refused(
    argv: list[str], submitted: Path, capsys: pytest.CaptureFixture
) -> None:
    assert_fails([*argv, "models/x.keras"], 2, "is 'models/x.keras', and results are written there", capsys)


def test_absolute_output_is_written(submitted: Path, tmp_path: Path) -> None:
    assert main(["random", f"--out={tmp_path}/preset.json"]) == 0
    assert (tmp_path / "preset.json").exists()


def test_relative_output_is_written_outside_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(outputs.SUBMITTED, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["random", "--out=-odd %20#.json"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["-odd %20#.json"]
