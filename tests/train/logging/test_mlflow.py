"""A training in MLflow: in a real store of MLflow's, and in none that answers."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
import pytest

from synthray.data.manifest import Manifest
from synthray.errors import ConfigError, Stopped, StorageError
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import MlflowLog, Tracking
from synthray.train.reports import EpochReport
from tests import foreign
from tests.conftest import convert_here

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("mlflow")
    return convert_here(foreign.write(folder / "training_data"), folder / "data")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "runs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    monkeypatch.chdir(tmp_path)
    return Tracking.find()


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig("/sounds/first", str(tmp_path / "out"), learning_rate=0.5, epochs=4)


def epoch(number: int) -> EpochReport:
    return EpochReport(number, 4, 10.0 - number, 11.0 - number, 0.25, 0.125, 1000.0, 0.5)


def runs(place: Tracking) -> list[mlflow.entities.Run]:
    client = place.client()
    return client.search_runs([place.experiment_id(client)])


def steps(place: Tracking, name: str = "val_loss") -> list[tuple[int, float]]:
    [run] = runs(place)
    return [(metric.step, metric.value) for metric in place.client().get_metric_history(run.info.run_id, name)]


def save_model(folder: Path) -> str:
    folder.mkdir()
    (folder / "model_7_4.keras").write_bytes(b"weights")
    (folder / "model_7_4.json").write_text("{}")
    return str(folder / "model_7_4.keras")


def test_a_run_holds_settings_data_epochs_and_model(
    place: Tracking, config: TrainConfig, manifest: Manifest, tmp_path: Path
) -> None:
    told: list[str] = []
    with MlflowLog(place, config, manifest, told.append) as log:
        for number in (1, 2):
            log(epoch(number))
        log.saved(save_model(tmp_path / "out"))
    assert not told
    [run] = runs(place)
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in config.to_json().items()}
    assert run.data.tags["synthray.run"] == config.run_digest(manifest)
    assert run.data.tags["synthray.data_digest"] == manifest.digest
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("first", manifest.digest[:36])
    assert "/sounds/first" in data.dataset.source
    assert run.data.metrics.keys() == asdict(epoch(1)).keys() - {"epoch", "epochs"}
    assert steps(place) == [(1, 10.0), (2, 9.0)]
    assert steps(place, "loss") == [(1, 9.0), (2, 8.0)]
    artifacts = place.client().list_artifacts(run.info.run_id, "model")
    assert [artifact.path for artifact in artifacts] == ["model/model_7_4.json", "model/model_7_4.keras"]
    assert artifacts[1].file_size == len(b"weights")


def test_a_resumed_training_goes_on_with_its_run(place: Tracking, config: TrainConfig, manifest: Manifest) -> None:
    told: list[str] = []
    with contextlib.suppress(Stopped), MlflowLog(place, config, manifest, told.append) as log:
        log(epoch(1))
        log(epoch(2))
        log._sending.result()
        raise Stopped("stopped")
    assert runs(place)[0].info.status == "KILLED"
    with MlflowLog(place, replace(config, epochs=6), manifest, told.append) as log:
        log(epoch(2))
        log(epoch(3))
    assert steps(place) == [(1, 10.0), (2, 9.0), (3, 8.0)]
    [run] = runs(place)
    assert run.info.status == "FINISHED"
    assert (run.data.params["epochs"], run.data.tags["synthray.epochs"]) == ("4", "6")
    with MlflowLog(place, replace(config, seed=1), manifest, told.append):
        pass
    assert len(runs(place)) == 2
    assert not told


def test_what_did_not_get_through_is_sent_later_and_the_trouble_told_once(
    place: Tracking, config: TrainConfig, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with MlflowLog(place, config, manifest, told.append) as log:
        with monkeypatch.context() as broken:

            def refuse(*_: object, **__: object) -> None:
                raise mlflow.MlflowException("no room\nand more")

            broken.setattr(mlflow.MlflowClient, "log_batch", refuse)
            for number in (1, 2):
                log(epoch(number))
                log._sending.result()
        assert told == [f"MLflow at {place.uri}: no room; the training goes on"]
        log(epoch(4))
        log.saved("", [asdict(epoch(number)) for number in (1, 2, 3, 4)])
    assert sorted(steps(place)) == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0)]
    assert len(told) == 1


def test_a_server_that_went_away_does_not_end_the_training(config: TrainConfig, manifest: Manifest) -> None:
    told: list[str] = []
    began_s = time.monotonic()
    with MlflowLog(Tracking(NOBODY, "tests"), config, manifest, told.append) as log:
        log(epoch(1))
        log(epoch(2))
        log.saved("/nowhere/model.keras")
        assert time.monotonic() - began_s < 1  # the training does not wait for it
    assert len(told) == 1
    assert NOBODY in told[0]


def test_what_is_missing_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    with pytest.raises(StorageError, match=f"MLflow at {NOBODY} cannot be used"):
        Tracking.find()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ConfigError, match="set MLFLOW_TRACKING_URI"):
        Tracking.find()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'synthray\[mlflow\]'"):
        Tracking.find()
