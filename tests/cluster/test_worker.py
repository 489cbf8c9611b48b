"""One worker of a training, with the coordinator in this process and no cluster."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train
from ray.train import collective

from synthray.cluster.training import worker
from synthray.cluster.training.coordinator import RunCoordinator
from synthray.cluster.training.worker import WorkerConfig, work
from synthray.cluster.tuning import trial
from synthray.errors import ConfigError, CorruptShard, NotFound, Stopped, StorageError, SynthrayError, TrainingError
from synthray.train.config import TrainConfig


class LocalActor:
    """A coordinator in this process, called as an actor is."""

    def __init__(self, max_failures: int = 0) -> None:
        self.target = RunCoordinator(max_failures, 0.0)

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.target, name))


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> LocalActor:
    """The coordinator of this process's only worker, the chief."""
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1, get_local_world_size=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray, "get", lambda result: result)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    monkeypatch.setattr(collective, "broadcast_from_rank_zero", lambda value: value)
    return LocalActor()


def run(coordinator: LocalActor, out: str = "out", probe: str = "") -> None:
    config = TrainConfig("data", out)
    work({"worker": WorkerConfig(config, coordinator, None, 60.0, None, probe)})


def raising(error: Exception) -> Any:
    def train(*_: object) -> None:
        raise error

    return train


RETRYABLE = [StorageError("out/checkpoints: cannot be written"), ConnectionError("reset by peer")]


@pytest.mark.parametrize("error", RETRYABLE, ids=lambda error: type(error).__name__)
def test_work_with_a_retryable_error_raises_and_counts_as_lost(
    error: Exception, coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_train", raising(error))
    # Raised, so that Ray ends the workers that wait for this one in the next step.
    with pytest.raises(type(error)):
        run(coordinator)
    assert coordinator.target.drain().failure is None
    run(coordinator)  # the second start is refused, since max_failures is 0
    failure = coordinator.target.drain().failure
    assert isinstance(failure, TrainingError)
    assert str(failure) == (
        f"workers were lost without progress: worker 0 on 10.0.0.7: {type(error).__name__}: {error}"
    )


PERMANENT = [CorruptShard("shards/00002 has changed"), NotFound("no data set"), ConfigError("epochs is 0")]


@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: type(error).__name__)
def test_work_with_a_permanent_error_passes_it_to_the_driver(
    error: SynthrayError, coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_train", raising(error))
    with pytest.raises(type(error)):
        run(coordinator)
    assert coordinator.target.drain().failure is error


def test_work_with_an_unknown_error_becomes_a_training_error(
    coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_train", raising(ZeroDivisionError("division by zero")))
    with pytest.raises(ZeroDivisionError):
        run(coordinator)
    failure = coordinator.target.drain().failure
    assert isinstance(failure, TrainingError)
    assert str(failure) == "worker 0 on 10.0.0.7: ZeroDivisionError: division by zero"


def test_work_that_is_stopped_reports_where(coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        coordinator.target.stop()
        raise Stopped("stopped after epoch 3 of 9")

    monkeypatch.setattr(worker, "_train", train)
    run(coordinator)
    assert coordinator.target.drain().stopped == "stopped after epoch 3 of 9"


@pytest.mark.faults
def test_work_that_is_stopped_for_another_node_raises_so_that_it_starts_again(
    coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object) -> None:
        coordinator.target.node_ends([0])
        raise Stopped("stopped after epoch 3 of 9")

    monkeypatch.setattr(worker, "_train", train)
    for _ in range(3):  # which max_failures 0 would not allow
        with pytest.raises(Stopped):
            run(coordinator)
    status = coordinator.target.drain()
    assert (status.stopped, status.failure) == ("", None)


@pytest.mark.faults
def test_work_without_shared_storage_fails_before_training(coordinator: LocalActor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run(coordinator, str(tmp_path), probe="a file on the driver's node")
    failure = coordinator.target.drain().failure
    assert isinstance(failure, ConfigError)
    assert str(failure).startswith(f"{tmp_path}: not the same folder on 10.0.0.7 as on the driver. Set --out to")


@pytest.mark.faults
def test_work_passes_warnings_about_storage_to_the_driver(
    coordinator: LocalActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("synthray.storage.s3")

    def train(*_: object) -> None:
        log.info("not worth a line")
        log.warning("%s: the store is slow", "s3://bucket/x")

    monkeypatch.setattr(worker, "_train", train)
    run(coordinator)
    log.warning("after the training")
    assert coordinator.target.drain().lines == ["worker 0 on 10.0.0.7: s3://bucket/x: the store is slow"]


@pytest.mark.parametrize("is_linux", [True, False])
def test_threads_are_counted_without_the_system_call_of_linux(is_linux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    if is_linux:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    node = SimpleNamespace(get_node_id=lambda: "here", get_assigned_resources=lambda: {"CPU": 8})
    monkeypatch.setattr(ray, "get_runtime_context", lambda: node)
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "here", "Resources": {"CPU": 8.0}}])
    cores = 3 if is_linux else 4
    assert worker._threads(workers_here=1) == cores
    set_threads: list[int] = []
    threading = SimpleNamespace(
        get_intra_op_parallelism_threads=lambda: 0,
        set_intra_op_parallelism_threads=set_threads.append,
        set_inter_op_parallelism_threads=set_threads.append,
    )
    trial._limit_threads(SimpleNamespace(config=SimpleNamespace(threading=threading)))
    assert set_threads == [cores, cores]
