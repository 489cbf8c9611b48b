"""Trainings on the suite's Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from synthray.data.dataset import Dataset
from synthray.model.saved import load_model
from synthray.train.config import TrainConfig

EPOCHS = 36


def train(
    dataset: Dataset, out: Path, workers: int, lines: list[str] | None = None, epochs: int = EPOCHS, **options: Any
) -> tuple[str, list[str]]:
    """Return the URI of the model, and the lines that the driver printed."""
    from synthray.cluster.training import trainer

    lines = [] if lines is None else lines
    settings = {"batch_size": 48} | options.pop("config", {})
    config = TrainConfig(dataset.uri, str(out), epochs=epochs, **settings)
    return trainer.train(config, trainer.Workers(workers, **options), lines.append), lines


def epoch_lines(lines: list[str]) -> list[str]:
    """Return the lines that report an epoch."""
    return [line for line in lines if line.startswith("epoch")]


def assert_same_weights(a: str, b: str) -> None:
    """Fail unless two saved models have equal weights, bit for bit."""
    for one, other in zip(load_model(a)[0].get_weights(), load_model(b)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
