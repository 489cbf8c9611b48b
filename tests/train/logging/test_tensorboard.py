"""TensorBoard reads the event files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from synthray.data.dataset import Dataset
from synthray.train.logging import tensorboard
from synthray.train.logging.tensorboard import EpochLog
from synthray.train.reports import EpochReport
from tests.train.training import make_config


def report(epoch: int) -> EpochReport:
    return EpochReport(epoch, 2, 3.0 / epoch, 2.0, 0.5, 0.25, 1000.0, 0.1)


def test_tensorboard_follows_a_training_and_its_resumption(dataset: Dataset, tmp_path: Path, monkeypatch) -> None:
    clock = [1_800_000_000.5]
    monkeypatch.setattr(tensorboard, "time", SimpleNamespace(time=lambda: clock[0]))
    config = make_config(dataset, tmp_path)
    events, seen = None, []

    def read() -> list[int]:
        nonlocal events
        if events is None:
            [folder] = (tmp_path / "logs").iterdir()
            events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
        events.Reload()
        return [event.step for event in events.Tensors("loss")]

    for epochs in (range(1, 12), range(12, 14)):
        log = EpochLog(config, dataset.manifest)
        for epoch in epochs:
            log(report(epoch))
            seen.append(epoch)
            assert read() == seen
        clock[0] += 100


def test_tensorboard_reads_every_number_of_each_epoch(dataset: Dataset, tmp_path: Path) -> None:
    log = EpochLog(make_config(dataset, tmp_path), dataset.manifest)
    for epoch in (1, 2):
        log(report(epoch))
    [folder] = (tmp_path / "logs").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {
        "loss", "val_loss", "val_accuracy", "val_error", "examples_per_s", "input_wait", "step_s", "restarts",
    }  # fmt: skip
    values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")]
    assert values == [3.0, 1.5]
