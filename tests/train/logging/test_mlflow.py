"""Logging to MLflow: to a real file store, and to a server that does not answer."""

from __future__ import annotations

import contextlib
import pickle
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
import pytest

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.errors import ConfigError, Stopped, StorageError
from synthray.train.config import TrainConfig
from synthray.train.logging.mlflow import MlflowLog
from synthray.train.logging.tracking import Tracking, without_login
from synthray.train.reports import EpochReport

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return dataset.manifest


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
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


def runs(tracking: Tracking) -> list[mlflow.entities.Run]:
    client = tracking.client()
    return client.search_runs([tracking.experiment_id(client)])


def logged_steps(tracking: Tracking, name: str = "val_loss") -> list[tuple[int, float]]:
    [run] = runs(tracking)
    return [(metric.step, metric.value) for metric in tracking.client().get_metric_history(run.info.run_id, name)]


def save_model(folder: Path) -> str:
    folder.mkdir()
    (folder / "model_7_4.keras").write_bytes(b"weights")
    (folder / "model_7_4.json").write_text("{}")
    return str(folder / "model_7_4.keras")


def test_run_holds_settings_data_epochs_and_model(
    tracking: Tracking, config: TrainConfig, manifest: Manifest, tmp_path: Path
) -> None:
    logged: list[str] = []
    with MlflowLog(tracking, config, manifest, logged.append) as log:
        for number in (1, 2):
            log(epoch(number))
        log.saved(save_model(tmp_path / "out"))
    assert not logged
    [run] = runs(tracking)
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in config.to_json().items()}
    assert run.data.tags["synthray.run"] == config.run_digest(manifest)
    assert run.data.tags["synthray.data_digest"] == manifest.digest
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("first", manifest.digest[:36])
    assert "/sounds/first" in data.dataset.source
    assert run.data.metrics.keys() == asdict(epoch(1)).keys() - {"epoch", "epochs"}
    assert logged_steps(tracking) == [(1, 10.0), (2, 9.0)]
    assert logged_steps(tracking, "loss") == [(1, 9.0), (2, 8.0)]
    artifacts = tracking.client().list_artifacts(run.info.run_id, "model")
    assert [artifact.path for artifact in artifacts] == ["model/model_7_4.json", "model/model_7_4.keras"]
    assert artifacts[1].file_size == len(b"weights")


def test_resumed_training_continues_its_run(tracking: Tracking, config: TrainConfig, manifest: Manifest) -> None:
    logged: list[str] = []
    with contextlib.suppress(Stopped), MlflowLog(tracking, config, manifest, logged.append) as log:
        log(epoch(1))
        log(epoch(2))
        log._sending.result()
        raise Stopped("stopped")
    assert runs(tracking)[0].info.status == "KILLED"
    with MlflowLog(tracking, replace(config, epochs=6), manifest, logged.append) as log:
        log(epoch(2))
        log(epoch(3))
    assert logged_steps(tracking) == [(1, 10.0), (2, 9.0), (3, 8.0)]
    [run] = runs(tracking)
    assert run.info.status == "FINISHED"
    assert (run.data.params["epochs"], run.data.tags["synthray.epochs"]) == ("4", "6")
    with MlflowLog(tracking, replace(config, seed=1), manifest, logged.append):
        pass
    assert len(runs(tracking)) == 2
    assert not logged


def test_failed_entries_are_sent_later_and_the_failure_is_logged_once(
    tracking: Tracking, config: TrainConfig, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    with MlflowLog(tracking, config, manifest, logged.append) as log:
        with monkeypatch.context() as broken:

            def refuse(*_: object, **__: object) -> None:
                raise mlflow.MlflowException("no room\nand more")

            broken.setattr(mlflow.MlflowClient, "log_batch", refuse)
            for number in (1, 2):
                log(epoch(number))
                log._sending.result()
        assert logged == [f"MLflow at {tracking.uri}: no room. The training continues without it."]
        log(epoch(4))
        log.saved("", [asdict(epoch(number)) for number in (1, 2, 3, 4)])
    assert sorted(logged_steps(tracking)) == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0)]
    assert len(logged) == 1


@pytest.mark.parametrize("request_name", ["log_batch", "log_inputs"])
def test_run_whose_first_entries_failed_gets_settings_and_data_later(
    tracking: Tracking, config: TrainConfig, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, request_name: str
) -> None:
    logged: list[str] = []
    with monkeypatch.context() as broken:

        def time_out(*_: object, **__: object) -> None:
            raise mlflow.MlflowException("timed out")

        broken.setattr(mlflow.MlflowClient, request_name, time_out)
        log = MlflowLog(tracking, config, manifest, logged.append).__enter__()
        log._sending.result()
    with log:
        log(epoch(1))
    assert len(logged) == 1
    [run] = runs(tracking)
    assert run.data.params == {name: str(value) for name, value in config.to_json().items()}
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["first"]
    assert logged_steps(tracking) == [(1, 10.0)]


def test_unreachable_server_does_not_delay_or_end_the_training(config: TrainConfig, manifest: Manifest) -> None:
    logged: list[str] = []
    started_s = time.monotonic()
    with MlflowLog(Tracking(CLOSED_PORT, "tests"), config, manifest, logged.append) as log:
        log(epoch(1))
        log(epoch(2))
        log.saved("/nowhere/model.keras")
        assert time.monotonic() - started_s < 1
    assert len(logged) == 1
    assert CLOSED_PORT in logged[0]


def test_find_without_mlflow_or_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED_PORT)
    with pytest.raises(StorageError, match=f"MLflow at {CLOSED_PORT} cannot be used"):
        Tracking.find()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI is not set"):
        Tracking.find()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[mlflow\]'"):
        Tracking.find()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:secret@host:5000/path?a=b@c", "http://host:5000/path?a=b@c"),
        ("postgresql://me:se@cret@host/db", "postgresql://host/db"),
        ("GET https://token@host/api failed: http://me:secret@proxy", "GET https://host/api failed: http://proxy"),
        ("http://host/a@b", "http://host/a@b"),
        ("file:///home/me@host/runs", "file:///home/me@host/runs"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_without_login_removes_user_and_password_only(text: str, expected: str) -> None:
    assert without_login(text) == expected


def test_password_is_neither_printed_nor_pickled(
    config: TrainConfig, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    login_uri = CLOSED_PORT.replace("://", "://me:secret@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", login_uri)
    with pytest.raises(StorageError, match=f"MLflow at {CLOSED_PORT} cannot be used") as failure:
        Tracking.find()
    assert "secret" not in str(failure.value)
    with monkeypatch.context() as answering:
        answering.setattr(Tracking, "experiment_id", lambda *_: "0")
        tracking = Tracking.find()
    assert "secret" not in repr(tracking)
    assert b"secret" not in pickle.dumps(tracking)
    assert tracking.client().tracking_uri == login_uri
    logged: list[str] = []
    with MlflowLog(tracking, config, manifest, logged.append):
        pass
    [line] = logged
    assert CLOSED_PORT in line
    assert "secret" not in line


def test_worker_without_the_password_logs_how_to_give_it(
    config: TrainConfig, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logged: list[str] = []
    with MlflowLog(Tracking(CLOSED_PORT, "tests", needs_login=True), config, manifest, logged.append):
        pass
    [line] = logged
    assert "Set it on every node" in line
