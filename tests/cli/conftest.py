"""Files that the commands read: a sound, its preset, models and a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synthray.cli.main import main
from synthray.data.dataset import Dataset
from synthray.synth.files.sound_file import write_wav
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Range
from synthray.synth.presets import preset_to_json
from synthray.synth.voice import render
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model


def assert_fails(argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture) -> None:
    """Run a command and check its exit code and its single line on stderr."""
    assert main(argv) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("synthray: ")
    assert message in line


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sound.wav``, its ``preset.json``, a model in ``models``, and a foreign one in ``foreign``."""
    from synthray.model.saved import save_model

    folder = tmp_path_factory.mktemp("cli")
    middle = np.array([[0.5 if isinstance(p, Range) else 1.0 for p in INSTRUMENT.learned]])
    settings = INSTRUMENT.labels_to_settings(middle)
    write_wav(folder / "sound.wav", render(settings)[0])
    (folder / "preset.json").write_text(json.dumps(preset_to_json(INSTRUMENT, settings[0])))
    save_model(build_model(FOREIGN, FOREIGN_SHAPE), f"{folder}/foreign", build_card(FOREIGN, FOREIGN_SHAPE))
    save_model(build_model(INSTRUMENT, (20, 551), seed=1), f"{folder}/models", build_card(INSTRUMENT, (20, 551)))
    return folder


@pytest.fixture(scope="session")
def dataset_uri(dataset: Dataset) -> str:
    """A published data set of 203 examples."""
    return dataset.uri


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``SYNTHRAY_HOME``."""
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do not connect to Ray."""
    monkeypatch.setattr("synthray.cluster.connect.connect", lambda **_: None)
