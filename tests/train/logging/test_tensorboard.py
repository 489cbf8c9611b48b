"""TensorBoard reads the event files."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from synthray.data.dataset import Dataset
from synthray.train.logging.tensorboard import EpochLog
from synthray.train.reports import EpochReport
from tests.train.training import make_config


def test_tensorboard_reads_every_number_of_each_epoch(dataset: Dataset, tmp_path: Path) -> None:
    with EpochLog(make_config(dataset, tmp_path), dataset.manifest) as log:
        for epoch in (1, 2):
            log(EpochReport(epoch, 2, 3.0 / epoch, 2.0, 0.5, 0.25, 1000.0, 0.1))
    [folder] = (tmp_path / "logs").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {
        "loss", "val_loss", "val_accuracy", "val_error", "examples_per_s", "input_wait", "step_s", "restarts",
    }  # fmt: skip
    values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")]
    assert values == [3.0, 1.5]
