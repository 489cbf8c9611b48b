"""The driver's side of a training, without a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.train
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.controller.state import ReschedulingState, RunningState

from synthray.cluster.signals import StopRequest
from synthray.cluster.training import startup, trainer
from synthray.cluster.training.coordinator import RunStatus
from synthray.errors import CorruptShard, TrainingError

START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def failed_start() -> ReschedulingState:
    cause = WorkerGroupStartupFailedError("One of the worker actors failed to initialize")
    cause.__cause__ = RuntimeError("the setup hook failed")
    return ReschedulingState(ray.train.ControllerError(cause))


@pytest.mark.faults
def test_startup_limit_ends_a_training_whose_workers_never_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(startup, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    limit = startup.StartupLimit(max_failures=2)
    for _ in range(5):  # a lost node may cause some failures at first
        limit.after_controller_state_update(None, failed_start())
    limit.after_controller_state_update(None, RunningState())
    limit.after_controller_state_update(None, failed_start())
    clock.now_s += 200
    limit.after_controller_state_update(None, failed_start())
    waiting = ReschedulingState(ray.train.ControllerError(WorkerGroupStartupTimeoutError(2)))
    limit.after_controller_state_update(None, waiting)
    with pytest.raises(TrainingError, match="workers failed to start 3 times in a row: the setup hook failed"):
        limit.after_controller_state_update(None, failed_start())


@pytest.mark.parametrize(("elastic", "during"), [(True, "10.0"), (False, None)])
def test_start_timeout_is_set_during_an_elastic_training_only(
    elastic: bool, during: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(START_TIMEOUT, raising=False)
    with trainer._start_timeout(elastic=elastic):
        assert os.environ.get(START_TIMEOUT) == during
    assert START_TIMEOUT not in os.environ


def test_start_timeout_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(START_TIMEOUT, "33")
    with trainer._start_timeout(elastic=True):
        assert os.environ[START_TIMEOUT] == "33"
    assert os.environ[START_TIMEOUT] == "33"


def test_storage_probe_exists_during_the_training_only(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with trainer._storage_probe(str(tmp_path)) as probe:
        assert (tmp_path / probe).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    with trainer._storage_probe("s3://bucket/models") as probe:
        assert probe == ""


def test_model_or_raise_prefers_the_error_of_the_worker() -> None:
    ray_error = ray.train.WorkerGroupError("a worker failed", {})
    assert trainer._model_or_raise(RunStatus(saved="model_1_1.keras"), ray_error, StopRequest()) == "model_1_1.keras"
    with pytest.raises(CorruptShard, match="shard 3"):
        trainer._model_or_raise(RunStatus(failure=CorruptShard("shard 3")), ray_error, StopRequest())
    with pytest.raises(KeyboardInterrupt, match="after epoch 2; run the same command again to resume"):
        trainer._model_or_raise(RunStatus(stopped="after epoch 2"), None, StopRequest())
    with pytest.raises(TrainingError, match="ended without a model: Training failed"):
        trainer._model_or_raise(RunStatus(), ray_error, StopRequest())
    with pytest.raises(TrainingError, match="ended without a model: no worker saved a model"):
        trainer._model_or_raise(RunStatus(), None, StopRequest())
    limit = startup.cause_of(ray.train.ControllerError(TrainingError("workers failed to start")))
    with pytest.raises(TrainingError, match=r"^workers failed to start$"):
        trainer._model_or_raise(RunStatus(), limit, StopRequest())


WAITING = {
    False: "no report for 120 s; waiting until the cluster has room for 4 workers with",
    True: "no report for 120 s; the workers wait for storage or for each other, or the cluster has no room",
}


@pytest.mark.faults
@pytest.mark.parametrize("started", WAITING)
def test_silence_names_what_the_training_may_wait_for(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    silence = trainer._Silence(ray.train.ScalingConfig(num_workers=4), lines.append)
    silence.check(reported=False, started=started)
    assert lines == []
    now_s = time.monotonic()
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: now_s + 121))
    silence.check(reported=False, started=started)
    silence.check(reported=False, started=started)
    [line] = lines
    assert line.startswith(WAITING[started])
