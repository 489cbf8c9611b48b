"""The folder of a search: table, best settings, card, and reuse by the next search."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.errors import ConfigError, DataError, TrainingError
from synthray.train.config import TrainConfig, load_settings
from synthray.tune.config import SearchConfig
from synthray.tune.results import FAILED, FINISHED, STOPPED, UNFINISHED, SearchFolder, Trial
from synthray.tune.space import parse_space


@pytest.fixture(scope="module")
def data(dataset: Dataset) -> str:
    return dataset.uri


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return dataset.manifest


@pytest.fixture
def config(tmp_path: Path) -> SearchConfig:
    return SearchConfig("/sounds/first one", str(tmp_path), parse_space({"clip_norm": "none,1"}), trials=4, epochs=3)


def ended(config: SearchConfig, manifest: Manifest, losses: list[list[float]]) -> list[Trial]:
    """Return the ended trials of a search, with these validation losses."""
    trials = [Trial.of(each, manifest) for each in config.configs(manifest)]
    return [
        replace(
            trial,
            history=[report(number + 1, loss) for number, loss in enumerate(of_trial)],
            ended=FINISHED if len(of_trial) == 3 else STOPPED if of_trial else FAILED,
            reason="" if of_trial else "epoch 1, step 2 of 6: the loss is nan | or so",
            seconds=2.0,
        )
        for trial, of_trial in zip(trials, losses, strict=True)
    ]


def report(epoch: int, val_loss: float) -> dict[str, float]:
    return {"epoch": epoch, "val_loss": val_loss, "val_accuracy": 0.5, "val_error": 0.25, "examples_per_s": 100.0}


LOSSES = [[9.0, 5.0, 7.0], [8.0], [], [6.0, 4.0, 4.5]]


@pytest.fixture
def folder(config: SearchConfig, manifest: Manifest) -> SearchFolder:
    folder = SearchFolder(config, manifest)
    for trial in ended(config, manifest, LOSSES):
        folder.add(trial)
    return folder


def test_table_has_one_row_per_trial_best_first(folder: SearchFolder, config: SearchConfig, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert [row["val_loss"] for row in rows] == ["4.0", "5.0", "8.0", ""]
    assert [row["best_epoch"] for row in rows] == ["2", "2", "1", ""]
    assert [row["epochs"] for row in rows] == ["3", "3", "1", "0"]
    assert [row["ended"] for row in rows] == [FINISHED, FINISHED, STOPPED, FAILED]
    assert rows[3]["reason"].startswith("epoch 1, step 2 of 6: the loss is nan")
    assert {row["seconds"] for row in rows} == {"2.0"}


def test_best_settings_can_be_loaded_by_a_training(
    folder: SearchFolder, config: SearchConfig, manifest: Manifest, tmp_path: Path
) -> None:
    best = config.configs(manifest)[3]
    assert "checkpoint_steps" not in load_settings(str(tmp_path / "best.json"))
    read = TrainConfig(config.data, str(tmp_path), **load_settings(str(tmp_path / "best.json")))
    assert replace(read, keep_checkpoints=best.keep_checkpoints) == best
    assert folder.command() == f"synthray train --data '/sounds/first one' --config {tmp_path}/best.json"


def test_card_separates_varied_and_equal_settings(folder: SearchFolder, tmp_path: Path) -> None:
    text = (tmp_path / "README.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 4
    assert "clip_norm" in table[0]
    assert "batch_size" not in table[0]
    assert "Equal in all trials: network histogram, batch_size 32" in text
    assert f"    {folder.command()}\n" in text
    assert "| 4.0000 | █▁▃ |" in table[2]
    assert r"the loss is nan \| or so |" in table[5]


def test_load_reads_earlier_trials_and_add_joins_them(
    folder: SearchFolder, config: SearchConfig, manifest: Manifest, tmp_path: Path
) -> None:
    other = replace(config, axes=parse_space({"batch_size": "48"}), trials=1)
    again = SearchFolder(other, manifest)
    again.load()
    for number, trial in enumerate(ended(config, manifest, LOSSES)):
        new = Trial.of(config.configs(manifest)[number], manifest)
        assert again.get(new) == trial
        assert (new.is_done, trial.is_done) == (False, True)
    [new] = ended(other, manifest, [[1.0, 2.0, 3.0]])
    assert again.get(new) == new
    again.add(new)
    assert again.best == new
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 1 + 5
    assert load_settings(str(tmp_path / "best.json"))["batch_size"] == 48
    assert not replace(new, ended=UNFINISHED).is_done


def test_trial_name_depends_on_settings_epochs_and_data(config: SearchConfig, manifest: Manifest) -> None:
    one = config.configs(manifest)[0]
    names = {
        Trial.of(each, of).name
        for each, of in (
            (one, manifest),
            (replace(one, epochs=9), manifest),
            (replace(one, seed=1), manifest),
            (one, replace(manifest, shards=manifest.shards[:1])),
        )
    }
    assert len(names) == 4
    assert Trial.of(replace(one, out="elsewhere"), manifest).name in names


def test_load_refuses_trials_that_cannot_be_compared(
    folder: SearchFolder, config: SearchConfig, manifest: Manifest, tmp_path: Path
) -> None:
    for other, of in (
        (replace(config, validation_examples=7), manifest),
        (replace(config, axes=parse_space({"network": "notebook,log"})), manifest),
        (config, replace(manifest, shards=manifest.shards[:1])),
    ):
        with pytest.raises(ConfigError, match="holds a search whose losses cannot be compared"):
            SearchFolder(other, of).load()
    next((tmp_path / "trials").iterdir()).write_text("{")
    with pytest.raises(DataError, match=r"trials/\w+\.json: corrupt .*\. Delete the file\."):
        SearchFolder(config, manifest).load()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"settings": {}}, "'network' is missing"),
        ({"settings": {"network": "histogram"}}, "'width' is missing"),
        ({"settings": {"network": "of 2030"}}, "this version has no network 'of 2030'"),
        ({"settings": {"network": ["histogram"]}}, "unhashable"),
        ({"settings": None}, "not subscriptable"),
        ({"settings": ["network"]}, "list indices"),
        ({"name": 7}, "its name is 7"),
        ({"history": [{}]}, "'val_loss' is missing"),
        ({"history": [{"val_loss": 1.0}]}, "'examples_per_s' is missing"),
        ({"history": [{"val_loss": "low", "examples_per_s": 1.0}]}, "Unknown format code"),
        ({"history": [{"val_loss": 1.0, "val_error": "low", "examples_per_s": 1.0}]}, "Unknown format code"),
        ({"history": [1.0]}, "not subscriptable"),
        ({"history": None}, "not iterable"),
        ({"ended": 7, "reason": ""}, "no attribute"),
        ({"seconds": "long"}, "round"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
)
def test_load_names_the_file_of_a_trial_with_missing_or_other_values(
    folder: SearchFolder, config: SearchConfig, manifest: Manifest, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    file = next((tmp_path / "trials").iterdir())
    trial = json.loads(file.read_text())
    file.write_text(json.dumps(trial | changed))
    with pytest.raises(DataError, match=rf"trials/{file.name}: corrupt \(.*{reason}.*\)\. Delete the file\."):
        SearchFolder(config, manifest).load()


def test_delete_checkpoints_keeps_those_of_unfinished_trials(
    folder: SearchFolder, config: SearchConfig, manifest: Manifest, tmp_path: Path
) -> None:
    trials = ended(config, manifest, LOSSES)
    digests = [each.run_digest(manifest) for each in config.configs(manifest)]
    for digest in digests:
        (tmp_path / "checkpoints" / digest[:16]).mkdir(parents=True)
        (tmp_path / "checkpoints" / digest[:16] / "000001-00000000.npz").write_bytes(b"")
    trials[1] = replace(trials[1], ended=UNFINISHED)
    folder.delete_checkpoints(zip(trials, digests, strict=True))
    assert [path.parent.name for path in tmp_path.rglob("*.npz")] == [digests[1][:16]]


def test_search_config_names_an_invalid_value(config: SearchConfig, manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="trials is 0"):
        replace(config, trials=0)
    with pytest.raises(ConfigError, match="minutes is 0"):
        replace(config, minutes=0)
    with pytest.raises(ConfigError, match="epochs is 0"):
        replace(config, epochs=0).configs(manifest)
    with pytest.raises(ConfigError, match="validation"):
        replace(config, validation_examples=manifest.rows).configs(manifest)
    with pytest.raises(ConfigError, match="network is log,histogram: the loss of a histogram cannot be compared with"):
        replace(config, axes=parse_space({"network": "log,histogram"}))


def test_search_config_refuses_labels_that_the_network_cannot_learn(config: SearchConfig, manifest: Manifest) -> None:
    name = manifest.table.ranges[0].name
    wide = manifest.statistics | {name: manifest.statistics[name] | {"maximum": 20_000.0}}
    with pytest.raises(ConfigError, match=f"{name}: its positions are from"):
        config.configs(replace(manifest, statistics=wide))


def test_search_without_a_finished_epoch_fails(config: SearchConfig, manifest: Manifest, data: str) -> None:
    from synthray.cluster.tuning import tuner

    here = replace(config, data=data)
    folder = SearchFolder(here, manifest)
    for trial in ended(here, manifest, [[], [], [], []]):
        folder.add(trial)
    lines: list[str] = []
    with pytest.raises(TrainingError, match=r"no trial finished an epoch.*the loss is nan"):
        tuner.search(here, lines.append)
    assert lines == ["4 of 4 trials were finished by an earlier search"]


@pytest.mark.faults
def test_two_searches_at_once_end_in_one_table(config: SearchConfig, manifest: Manifest, tmp_path: Path) -> None:
    folders = [SearchFolder(config, manifest) for _ in range(2)]
    for number, trial in enumerate(ended(config, manifest, LOSSES)):
        folders[number % 2].add(trial)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert [row["val_loss"] for row in rows] == ["4.0", "5.0", "8.0", ""]
    best = folders[1].best
    assert best is not None
    assert load_settings(str(tmp_path / "best.json")) == best.settings
