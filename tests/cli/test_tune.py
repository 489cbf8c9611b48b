"""``synthray tune``: how flags become a search. No trial is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from synthray.cli.main import main
from synthray.data.open import open_dataset
from synthray.tune.config import SearchConfig
from synthray.tune.results import FINISHED, SearchFolder, Trial
from synthray.tune.space import parse_space

pytestmark = pytest.mark.usefixtures("no_cluster")
REPORT = {"epoch": 1, "val_loss": 4.0, "val_accuracy": 0.5, "val_error": 0.25, "examples_per_s": 100.0}


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[SearchConfig]:
    """The searches that the command starts. Each one has a single trial."""
    started: list[SearchConfig] = []

    def search(config: SearchConfig, log: Callable[[str], None], *, verbose: bool) -> SearchFolder:
        started.append(config)
        manifest = open_dataset(config.data).manifest
        trial = Trial.of(config.configs(manifest)[0], manifest)
        folder = SearchFolder(config, manifest)
        folder.add(Trial(trial.name, trial.settings, trial.data, trial.held_out, [REPORT], FINISHED))
        log("a line")
        return folder

    monkeypatch.setattr("synthray.cluster.tuning.tuner.search", search)
    return started


def test_tune_without_flags_has_the_defaults_of_its_config(
    home: Path, dataset_uri: str, searches: list[SearchConfig], capsys: pytest.CaptureFixture
) -> None:
    assert main(["tune", "--data", dataset_uri]) == 0
    assert searches == [SearchConfig(dataset_uri, f"{home}/tune/data", parse_space({}))]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"searching on {dataset_uri}", "a line"]
    assert lines[3].startswith("best: val_loss 4.0000  finished after 1 of 10 epochs")
    assert lines[-1] == f"    synthray train --data {dataset_uri} --config {home}/tune/data/best.json"


def test_tune_flags_set_space_and_limits(home: Path, dataset_uri: str, searches: list[SearchConfig]) -> None:
    flags = ["--width", "8,16", "--trials", "3", "--epochs", "2", "--trials-at-once", "1", "--minutes", "5", "--gpu"]
    assert main(["tune", "--data", dataset_uri, "--out", f"{home}/out", *flags]) == 0
    space = parse_space({"width": "8,16"})
    expected = SearchConfig(dataset_uri, f"{home}/out", space, 3, 2, trials_at_once=1, minutes=5.0, gpu=True)
    assert searches == [expected]


@pytest.mark.parametrize(
    ("flags", "message"), [(["--trials", "0"], "trials is 0"), (["--width", "wide"], "width is 'wide'")]
)
def test_tune_wrong_value_exits_with_2_before_it_starts(
    dataset_uri: str, searches: list[SearchConfig], flags: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["tune", "--data", dataset_uri, *flags]) == 2
    assert message in capsys.readouterr().err
    assert searches == []
