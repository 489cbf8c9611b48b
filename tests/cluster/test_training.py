"""Training on several workers: the same examples, the same result, and a lost worker does not matter."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.ray_head import RayHead
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import ConfigError, CorruptShard, TrainingError
from synthray.model.saved import load_model
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport
from tests import foreign
from tests.conftest import convert_here, train_here

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("cluster")
    convert_here(foreign.write(folder / "training_data"), folder / "data")
    return open_dataset(str(folder / "data"))


EPOCHS = 30


def train(
    dataset: Dataset, out: Path, workers: int, lines: list[str] | None = None, epochs: int = EPOCHS, **options: int
) -> tuple[str, list[str]]:
    from synthray.cluster import trainer

    lines = [] if lines is None else lines
    config = TrainConfig(dataset.uri, str(out), epochs=epochs, batch_size=48)
    return trainer.train(config, trainer.Workers(workers, **options), lines.append), lines


@pytest.fixture(scope="module")
def by_two(ray_cluster: RayHead, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    saved, lines = train(dataset, tmp_path_factory.mktemp("two"), workers=2)
    assert len(epoch_lines(lines)) == EPOCHS
    return saved, lines


def epoch_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("epoch")]


def test_ray_knows_what_is_left_out_by_these_names() -> None:
    """Another Ray may call it otherwise, and would start it."""
    import ray.train
    from ray.train.v2._internal import constants

    from synthray.cluster.tf_backend import UNUSED_CALLBACKS, WITHOUT_WATCHER, LeanTrainer

    def callbacks(kind: type) -> set[str]:
        trainer = kind(print, scaling_config=ray.train.ScalingConfig(num_workers=1))
        return {type(each).__name__ for each in trainer._create_default_callbacks()}

    assert callbacks(LeanTrainer.__base__) - callbacks(LeanTrainer) == UNUSED_CALLBACKS
    assert set(WITHOUT_WATCHER) == {constants.ENABLE_PREEMPTION_WATCHER_ENV_VAR}


def test_the_way_to_the_first_step_is_told(by_two: tuple[str, list[str]]) -> None:
    [line] = [line for line in by_two[1] if line.startswith("first step after")]
    whole, *parts = (float(number) for number in re.findall(r"([\d.]+) s", line))
    assert re.search(r"\(workers .*, TensorFlow .*, data .*, compiling and the first step ", line)
    assert whole == pytest.approx(sum(parts), abs=0.3)


def test_one_worker_and_two_learn_the_same(by_two: tuple[str, list[str]], dataset: Dataset, tmp_path: Path) -> None:
    _, by_one = train(dataset, tmp_path, workers=1, epochs=4)
    assert_same_losses(epoch_lines(by_one), epoch_lines(by_two[1])[:4])


def test_another_number_of_workers_goes_on_where_two_stopped(
    by_two: tuple[str, list[str]], dataset: Dataset, tmp_path: Path
) -> None:
    train(dataset, tmp_path, workers=2, epochs=2)
    alone = train_here(TrainConfig(dataset.uri, str(tmp_path), epochs=5, batch_size=48))
    assert_same_losses([EpochReport(**epoch).line() for epoch in alone], epoch_lines(by_two[1])[:5])


def assert_same_losses(ours: list[str], theirs: list[str]) -> None:
    for one, two in zip(ours, theirs, strict=True):
        for name in ("loss", "val_loss", "val_error"):
            values = [float(re.search(rf" {name} ([\d.]+)", line)[1]) for line in (one, two)]
            assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-4)


def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    by_two: tuple[str, list[str]], ray_head: RayHead, dataset: Dataset, tmp_path: Path
) -> None:
    lines: list[str] = []
    killed_after: list[int] = []
    over = threading.Event()

    def kill_one_worker_after_the_first_checkpoint() -> None:
        while not list(tmp_path.rglob("*.npz")):
            if over.wait(0.02):
                return
        os.kill(one_training_worker(ray_head), signal.SIGKILL)
        killed_after.append(len(lines))

    thread = threading.Thread(target=kill_one_worker_after_the_first_checkpoint, daemon=True)
    thread.start()
    try:
        saved, _ = train(dataset, tmp_path, 2, lines, max_failures=2)
    finally:
        over.set()
        thread.join()
    [told] = [line for line in lines if line.endswith("going on from the last checkpoint (1 of 2)")]
    assert re.match(r"worker \d on [\d.]+: \w+: \w", told) or told.startswith("a worker died")
    assert "Graph execution" not in told
    assert killed_after
    assert killed_after[0] < EPOCHS
    assert_same_weights(saved, by_two[0])


def assert_same_weights(a: str, b: str) -> None:
    for one, other in zip(load_model(a)[0].get_weights(), load_model(b)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_streaming_from_shards_trains_to_the_same_weights(
    by_two: tuple[str, list[str]], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster import loader

    monkeypatch.setattr(loader, "hold", lambda *_: None)
    saved, _ = train(dataset, tmp_path, 2)
    assert_same_weights(saved, by_two[0])


@pytest.mark.parametrize("way", ["held", "stream_batches"])
def test_a_harmed_shard_is_named(
    way: str, ray_cluster: RayHead, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthray.cluster import loader

    shutil.copytree(dataset.uri, tmp_path / "data")
    shard = tmp_path / "data" / dataset.manifest.shards[2].path
    shard.write_bytes(shard.read_bytes()[:-1])
    harmed = open_dataset(str(tmp_path / "data"))
    if way == "stream_batches":
        monkeypatch.setattr(loader, "hold", lambda *_: None)
    with pytest.raises(CorruptShard, match=f"{shard.name} has changed since it was published"):
        train(harmed, tmp_path / "out", 2, epochs=2)


def one_training_worker(head: RayHead) -> int:
    """Process id of a training worker of the suite's own Ray."""
    from ray.util.state import list_actors

    for actor in list_actors(head.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True):
        if "RayTrainWorker" in actor.class_name:
            return actor.pid
    raise AssertionError("no training worker is alive")


def test_what_a_worker_finds_wrong_is_told_as_it_is(ray_cluster: RayHead, dataset: Dataset, tmp_path: Path) -> None:
    from synthray.cluster import trainer

    config = TrainConfig(dataset.uri, str(tmp_path), epochs=3, batch_size=48, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"the loss is .*Lower --learning-rate"):
        trainer.train(config, trainer.Workers(2), lambda _: None)


def test_what_one_worker_alone_finds_wrong_does_not_leave_the_others_waiting(
    ray_cluster: RayHead, dataset: Dataset, tmp_path: Path
) -> None:
    from synthray.cluster import trainer

    # the leading worker cannot write its first checkpoint, while the other one waits for it in the next step
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").write_text("a file where a folder should be")
    config = TrainConfig(dataset.uri, str(tmp_path / "out"), epochs=3, batch_size=48)
    with pytest.raises(TrainingError, match=r"StorageError: .*checkpoints.* cannot be written"):
        trainer.train(config, trainer.Workers(2, max_failures=0), lambda _: None)


def test_three_workers_share_what_is_not_divisible_by_three(
    by_two: tuple[str, list[str]], dataset: Dataset, tmp_path: Path
) -> None:
    from synthray.cluster import trainer

    config = TrainConfig(dataset.uri, str(tmp_path), epochs=2, batch_size=32, ema=0.5, clip_norm=1.0, optimizer="adamw")
    saved = [
        trainer.train(replace(config, out=str(tmp_path / str(count))), trainer.Workers(count), lambda _: None)
        for count in (1, 3)
    ]
    for one, three in zip(*(load_model(uri)[0].get_weights() for uri in saved), strict=True):
        np.testing.assert_allclose(one, three, rtol=1e-3, atol=1e-5)


def test_a_place_that_the_workers_do_not_share_is_told(
    ray_cluster: RayHead, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    from synthray.cluster import trainer

    monkeypatch.setattr(trainer, "_marked", lambda _: contextlib.nullcontext("what was written on another machine"))
    with pytest.raises(ConfigError, match=r"is another folder on .* than where the job runs: give an --out that all"):
        train(dataset, tmp_path / "out", 2, epochs=1)


def test_more_workers_than_examples_in_a_batch_are_refused_at_once(ray_cluster: RayHead, dataset: Dataset) -> None:
    from synthray.cluster import trainer

    config = TrainConfig(dataset.uri, "out", batch_size=2)
    with pytest.raises(ConfigError, match="a batch of 2 cannot be shared by 3 workers"):
        trainer.train(config, trainer.Workers(3), lambda _: None)


@pytest.mark.parametrize("text", ["many", "1:2:3", "-1", "4:2", "0:2"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    from synthray.cluster import trainer

    with pytest.raises(ConfigError, match=f"workers is .?{text}.?; it must be"):
        trainer.Workers.parse(text)
