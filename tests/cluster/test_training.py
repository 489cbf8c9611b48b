"""Training on several workers: the result does not depend on their number, nor on a lost worker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.ray_head import RayHead
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import CorruptShard
from synthray.train.checkpoint import CheckpointFolder
from synthray.train.config import TrainConfig
from tests.cluster.trainings import EPOCHS, assert_same_weights, epoch_lines, train
from tests.conftest import train_here

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def test_train_logs_its_decision_and_the_way_to_the_first_step(by_two: tuple[str, list[str]]) -> None:
    assert [line for line in by_two[1] if line.startswith("caching ")]
    [line] = [line for line in by_two[1] if line.startswith("first step after")]
    whole, *parts = (float(number) for number in re.findall(r"([\d.]+) s", line))
    assert re.search(r"\(workers .*, TensorFlow .*, data .*, compiling and the first step ", line)
    assert whole == pytest.approx(sum(parts), abs=0.3)


def test_two_workers_train_as_one_process_does(by_two: tuple[str, list[str]], dataset: Dataset, tmp_path: Path) -> None:
    alone = train_here(TrainConfig(dataset.uri, str(tmp_path), epochs=5, batch_size=48))
    assert_same_losses(alone, epoch_lines(by_two[1])[:5])


def assert_same_losses(history: list[dict[str, Any]], lines: list[str]) -> None:
    for report, line in zip(history, lines, strict=True):
        for name in ("loss", "val_loss", "val_error"):
            value = float(re.search(rf" {name} ([\d.]+)", line)[1])
            assert report[name] == pytest.approx(value, rel=1e-4, abs=1e-4)


@pytest.mark.faults
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    by_two: tuple[str, list[str]],
    ray_head: RayHead,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This training streams its data. The undisturbed one had them in its cache, and ends with the same weights."""
    from synthray.cluster import loader

    monkeypatch.setattr(loader, "cache_dataset", lambda *_: None)
    lines: list[str] = []
    killed_after: list[int] = []
    over = threading.Event()

    def kill_one_worker_after_the_first_checkpoint() -> None:
        while not list(tmp_path.rglob("*.npz")):
            if over.wait(0.02):
                return
        os.kill(one_training_worker(ray_head), signal.SIGKILL)
        killed_after.append(len(epoch_lines(lines)))

    thread = threading.Thread(target=kill_one_worker_after_the_first_checkpoint, daemon=True)
    thread.start()
    try:
        saved, _ = train(dataset, tmp_path, 2, lines, max_failures=2)
    finally:
        over.set()
        thread.join()
    [restart] = [line for line in lines if line.endswith("resuming from the last checkpoint (1 of 2)")]
    assert re.match(r"worker \d: its process was killed or crashed; it may have run out of memory; ", restart)
    assert killed_after
    assert killed_after[0] < EPOCHS
    assert not [line for line in lines if line.startswith("caching ")]
    assert_same_weights(saved, by_two[0])


def one_training_worker(head: RayHead) -> int:
    """Return the process id of a training worker of the suite's Ray."""
    from ray.util.state import list_actors

    for actor in list_actors(head.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True):
        if "RayTrainWorker" in actor.class_name:
            return actor.pid
    raise AssertionError("no training worker is alive")


@pytest.mark.faults
def test_a_corrupt_shard_ends_the_training_and_is_named(ray_cluster: RayHead, dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.uri, tmp_path / "data")
    shard = tmp_path / "data" / dataset.manifest.shards[2].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CorruptShard, match=f"{shard.name} has changed since it was published"):
        train(open_dataset(str(tmp_path / "data")), tmp_path / "out", 2, epochs=2)


def test_three_workers_train_as_one_process_does(ray_cluster: RayHead, dataset: Dataset, tmp_path: Path) -> None:
    """Neither the batch nor the data set is divisible by three."""
    settings = {"batch_size": 32, "ema": 0.5, "clip_norm": 1.0, "optimizer": "adamw"}
    _, lines = train(dataset, tmp_path / "three", 3, epochs=2, config=settings)
    config = TrainConfig(dataset.uri, str(tmp_path / "alone"), epochs=2, **settings)
    assert_same_losses(train_here(config), epoch_lines(lines))
    three, alone = newest_arrays(replace(config, out=str(tmp_path / "three"))), newest_arrays(config)
    for shared, single in zip(three, alone, strict=True):
        np.testing.assert_allclose(shared, single, rtol=1e-3, atol=1e-5)


def newest_arrays(config: TrainConfig) -> list[np.ndarray]:
    """Return the weights and the optimizer's state of the newest checkpoint."""
    with CheckpointFolder(config.out, config.run_digest(open_dataset(config.data).manifest), keep=1) as folder:
        _, checkpoint = folder.newest()
    return [*checkpoint.weights, *checkpoint.optimizer]
