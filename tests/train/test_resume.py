"""Stopping and resuming a training: the result equals that of an uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.errors import ConfigError, Stopped, StorageError
from synthray.train import loop
from synthray.train.checkpoint import Checkpoint, CheckpointFolder
from synthray.train.config import with_recipe
from synthray.train.reports import EpochReport
from synthray.train.step import TrainState
from tests.train.training import assert_same, checkpoints, make_config, train, train_until_killed

WITHIN_EPOCH = {"batch_size": 32, "epochs": 2}
"""Six steps an epoch."""


@pytest.fixture(scope="module")
def uninterrupted(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> loop.TrainResult:
    """A training of three epochs with the settings of ``make_config``."""
    return train(make_config(dataset, tmp_path_factory.mktemp("uninterrupted")), dataset)


@pytest.fixture(scope="module")
def uninterrupted_within(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> loop.TrainResult:
    """A training of two epochs that saves no checkpoint within one."""
    return train(make_config(dataset, tmp_path_factory.mktemp("uninterrupted"), **WITHIN_EPOCH), dataset)


@pytest.mark.slow
def test_killed_within_an_epoch_and_resumed_is_the_same(
    dataset: Dataset, tmp_path: Path, uninterrupted_within: loop.TrainResult
) -> None:
    config = make_config(dataset, tmp_path, checkpoint_steps=1, **WITHIN_EPOCH)
    done = 0
    for step in (1, 5):
        train_until_killed(config, dataset, step=step - done)
        assert checkpoints(tmp_path)[-1] == f"000000-{step:08d}.npz"
        done = step
    assert_same(train(config, dataset), uninterrupted_within)


RECIPES = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "warmup_steps": 3},
    "averages": {"ema": 0.9, "clip_norm": 1.0, "warmup_steps": 2},
    "bfloat16": {"precision": "mixed_bfloat16", "optimizer": "adamw"},
    "jit": {"jit": True},
    "muon": {"optimizer": "muon", "network": "histogram", "width": 32, "clip_norm": 5.0, "precision": "mixed_bfloat16"},
    "log": {"network": "log", "width": 32},
    "normalised": {"normalise": True, "width": 32},
    "unnamed": with_recipe({"width": 16}),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns_and_resumes_exactly(recipe: str, dataset: Dataset, tmp_path: Path) -> None:
    settings = {"batch_size": 32, "epochs": 3, "checkpoint_steps": 1, **RECIPES[recipe]}
    uninterrupted = train(make_config(dataset, tmp_path / "uninterrupted", **settings), dataset)
    assert uninterrupted.history[-1]["loss"] < uninterrupted.history[0]["loss"]
    config = make_config(dataset, tmp_path / "killed", **settings)
    train_until_killed(config, dataset, step=10)
    assert_same(train(config, dataset), uninterrupted, "val_loss")


OLD_CHECKPOINTS = Path(__file__).with_name("checkpoints")
OLD_RECIPES = {
    "notebook": {},
    "histogram": {
        "network": "histogram", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 3, "clip_norm": 5.0
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recipe", OLD_RECIPES)
def test_checkpoint_of_version_0_1_resumes(recipe: str, dataset: Dataset, tmp_path: Path) -> None:
    """The files are of the first epoch of three, written by version 0.1 for settings that named the network."""
    config = make_config(dataset, tmp_path, width=2, **OLD_RECIPES[recipe])
    raw = (OLD_CHECKPOINTS / f"0.1-{recipe}.npz").read_bytes()
    folder = tmp_path / "checkpoints" / config.run_digest(dataset.manifest)
    folder.mkdir(parents=True)
    (folder / "000001-00000000.npz").write_bytes(raw)
    [first] = Checkpoint.decode(raw).progress.history
    resumed = train(config, dataset)
    assert resumed.history[0] == first
    assert [epoch["epoch"] for epoch in resumed.history] == [1, 2, 3]
    assert resumed.history[-1]["loss"] < first["loss"]


@pytest.mark.slow
def test_killed_before_the_first_step_and_resumed_has_the_same_statistics(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path / "killed", normalise=True, width=4)
    train_until_killed(config, dataset, step=0)
    assert checkpoints(tmp_path / "killed") == ["000000-00000000.npz"]
    uninterrupted = train(make_config(dataset, tmp_path / "uninterrupted", normalise=True, width=4), dataset)
    assert_same(train(config, dataset), uninterrupted)


@pytest.mark.slow
def test_stop_request_writes_a_checkpoint_to_resume_from(
    dataset: Dataset, tmp_path: Path, uninterrupted_within: loop.TrainResult
) -> None:
    config = make_config(dataset, tmp_path, **WITHIN_EPOCH)
    requests = iter([False] * 8)
    with pytest.raises(Stopped, match=r"stopped in epoch 2 after step 4 of 6"):
        train(config, dataset, stop=lambda: next(requests, True))
    assert checkpoints(tmp_path)[-1] == "000001-00000004.npz"
    assert_same(train(config, dataset), uninterrupted_within)


@pytest.mark.parametrize("batch_size", [200, 100])
def test_stop_request_in_a_short_epoch_stops_after_it(batch_size: int, dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path, batch_size=batch_size)
    assert config.order(dataset.manifest).steps == 200 // batch_size
    with pytest.raises(Stopped, match="stopped after epoch 1 of 3"):
        train(config, dataset, stop=lambda: True)
    assert checkpoints(tmp_path) == ["000001-00000000.npz"]


def test_stop_request_without_a_written_checkpoint_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file in the place of a folder")
    with pytest.raises(StorageError, match="checkpoints"):
        train(make_config(dataset, tmp_path, batch_size=32), dataset, stop=lambda: True)


@pytest.mark.slow
def test_epochs_may_be_raised_later_but_not_lowered(
    dataset: Dataset, tmp_path: Path, uninterrupted: loop.TrainResult
) -> None:
    train(make_config(dataset, tmp_path, epochs=2), dataset)
    with pytest.raises(ConfigError, match="2 epochs of this training are done, more than --epochs 1"):
        train(make_config(dataset, tmp_path, epochs=1), dataset)
    raised = train(make_config(dataset, tmp_path), dataset)
    assert len(raised.history) == 3
    assert_same(raised, uninterrupted)


@pytest.mark.slow
@pytest.mark.faults
def test_corrupt_newest_checkpoint_is_skipped(
    dataset: Dataset, tmp_path: Path, uninterrupted: loop.TrainResult, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_config(dataset, tmp_path, epochs=2), dataset)
    newest = sorted((tmp_path / "checkpoints").rglob("*.npz"))[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    reports: list[EpochReport] = []
    resumed = train(make_config(dataset, tmp_path), dataset, report=reports.append)
    assert "000002-00000000.npz: corrupt or missing checkpoint" in caplog.text
    assert len(reports) == 2  # from the checkpoint before it, not anew
    assert_same(resumed, uninterrupted)


class Group:
    """Two workers that take turns in this process: what the chief broadcasts is kept for the other one."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def chief(self) -> loop.WorkerContext:
        def broadcast(value: object) -> object:
            self.sent.append(value)
            return value

        return loop.WorkerContext(0, 2, broadcast)

    def other(self, before: Callable[[], None]) -> loop.WorkerContext:
        """Return the other worker; ``before`` is called when it has got a path, and before it reads the file."""

        def broadcast(_: object) -> object:
            before()
            return self.sent.pop(0)

        return loop.WorkerContext(1, 2, broadcast)


@pytest.mark.slow
@pytest.mark.faults
def test_worker_falls_back_if_an_equal_training_deletes_the_checkpoint(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chief finds epoch 1, and the equal training, two epochs later, has deleted it before the other reads it."""
    monkeypatch.setattr(loop, "_RESUME_PAUSE_S", 0.0)
    config = make_config(dataset, tmp_path, epochs=3, keep_checkpoints=1, normalise=True, width=4)
    train(replace(config, epochs=1), dataset)
    digest, strategy, group = config.run_digest(dataset.manifest), tf.distribute.get_strategy(), Group()
    with CheckpointFolder(config.out, digest, 1) as folder:
        state = TrainState(config, dataset, strategy)
        first = loop._newest(state, folder, group.chief())
        assert first is not None
        assert first.progress.epoch == 1

        def finish_equal_training() -> None:
            if group.sent == ["000001-00000000.npz"]:
                train(config, dataset)
                assert loop._newest(state, folder, group.chief())

        second = loop._newest(state, folder, group.other(finish_equal_training))
    assert second is not None
    assert second.progress.epoch == 3


@pytest.mark.faults
def test_worker_that_can_read_no_checkpoint_ends_with_one_line(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RESUME_PAUSE_S", 0.0)
    config, group = make_config(dataset, tmp_path, width=4, epochs=1), Group()
    group.sent = ["000001-00000000.npz"] * 9
    with CheckpointFolder(config.out, config.run_digest(dataset.manifest), 1) as folder:
        state = TrainState(config, dataset, tf.distribute.get_strategy())
        with pytest.raises(StorageError, match=r"a worker cannot read the checkpoint .*Run the same command again"):
            loop._newest(state, folder, group.other(lambda: None))
    train(config, dataset)


@pytest.mark.slow
def test_other_settings_start_anew_and_log_the_other_checkpoints(
    dataset: Dataset, tmp_path: Path, uninterrupted: loop.TrainResult, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_config(dataset, tmp_path, learning_rate=0.1, epochs=1)
    train(first, dataset)
    other = train(make_config(dataset, tmp_path), dataset)
    message = f"no checkpoint of these settings in {tmp_path}/checkpoints; found checkpoints of other settings: 1"
    assert caplog.text.count("other settings") == 1
    assert message in caplog.text
    assert_same(other, uninterrupted)
    train(replace(first, epochs=2), dataset)
    assert caplog.text.count("other settings") == 1
