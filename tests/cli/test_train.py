"""``synthray train``: how flags become configurations. Nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthray.cli.main import main
from synthray.model.architectures import ARCHITECTURES
from synthray.train.config import RECIPE, TrainConfig

pytestmark = pytest.mark.usefixtures("no_cluster")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainConfig, Any]]:
    """Configuration and workers of each training that the command starts."""
    started: list[tuple[TrainConfig, Any]] = []

    def train(config: TrainConfig, workers: Any, tracking: object) -> str:
        started.append((config, workers))
        return "model.keras"

    monkeypatch.setattr("synthray.cluster.training.trainer.train", train)
    return started


def test_train_without_flags_has_the_defaults_of_its_configs(
    home: Path, dataset_uri: str, trainings: list[Any], capsys: pytest.CaptureFixture
) -> None:
    from synthray.cluster.training.trainer import Workers

    assert main(["train", "--data", dataset_uri]) == 0
    assert trainings == [(TrainConfig(dataset_uri, f"{home}/models/data", **RECIPE), Workers())]
    assert capsys.readouterr().out == f"training histogram on {dataset_uri}\nsaved model.keras\n"


@pytest.mark.parametrize("network", ARCHITECTURES)
def test_train_with_a_network_has_the_defaults_of_the_notebook(
    network: str, home: Path, dataset_uri: str, trainings: list[Any]
) -> None:
    assert main(["train", "--data", dataset_uri, "--network", network]) == 0
    [(config, _)] = trainings
    assert config == TrainConfig(dataset_uri, f"{home}/models/data", network=network)
    assert (config.optimizer, config.schedule, config.normalise) == ("sgd", "constant", False)


def test_train_flags_change_the_recipe(dataset_uri: str, trainings: list[Any]) -> None:
    flags = ["--optimizer", "sgd", "--no-normalise", "--clip-norm", "1", "--warmup-steps", "7"]
    assert main(["train", "--data", dataset_uri, *flags]) == 0
    [(config, _)] = trainings
    assert (config.network, config.schedule, config.optimizer) == ("histogram", "cosine", "sgd")
    assert (config.normalise, config.clip_norm, config.warmup_steps) == (False, 1.0, 7)


def test_train_flags_set_settings_and_workers(home: Path, dataset_uri: str, trainings: list[Any]) -> None:
    from synthray.cluster.training.trainer import Workers

    settings = ["--network", "log", "--clip-norm", "1", "--jit", "--epochs", "3", "--out", f"{home}/out"]
    workers = ["--workers", "1:4", "--max-failures", "7", "--step-timeout-s", "9", "--rescale-interval-s", "5"]
    assert main(["train", "--data", dataset_uri, *settings, *workers]) == 0
    [(config, found)] = trainings
    assert config == TrainConfig(dataset_uri, f"{home}/out", network="log", clip_norm=1.0, jit=True, epochs=3)
    assert found == Workers(1, 4, max_failures=7, step_timeout_s=9.0, rescale_interval_s=5.0)


def test_train_flags_override_the_settings_file(home: Path, dataset_uri: str, trainings: list[Any]) -> None:
    (home / "best.json").write_text(json.dumps({"width": 8, "batch_size": 48}))
    assert main(["train", "--data", dataset_uri, "--config", f"{home}/best.json", "--width", "16"]) == 0
    [(config, _)] = trainings
    assert (config.width, config.batch_size) == (16, 48)


def test_train_wrong_value_exits_with_2_before_it_starts(
    home: Path, dataset_uri: str, trainings: list[Any], capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "--data", dataset_uri, "--epochs", "0"]) == 2
    assert main(["train", "--data", dataset_uri, "--workers", "two"]) == 2
    assert "epochs is 0" in (errors := capsys.readouterr().err)
    assert "workers is 'two'" in errors
    assert trainings == []


def test_train_help_states_the_defaults_of_its_workers(capsys: pytest.CaptureFixture) -> None:
    from synthray.cluster.training.trainer import Workers

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"before the training fails (default: {Workers().max_failures})" in text
    assert f"(default: {Workers().step_timeout_s:g}, or twice SYNTHRAY_STORAGE_RETRY_S" in text
    assert f"checks for free capacity (default: {Workers().rescale_interval_s:g})" in text


def test_train_help_says_how_tensorboard_reads_logs_in_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "TensorBoard cannot read a bucket" in text
    assert "aws s3 sync OUT/logs logs && tensorboard --logdir logs" in text
