"""Trainings in this process for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.train import loop
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport

STEPS = 4
"""Steps of an epoch with ``make_config``'s batch size."""


def make_config(dataset: Dataset, out: Path, **changes: object) -> TrainConfig:
    """Return the settings of a short training."""
    return TrainConfig(dataset.store.uri, str(out), **{"epochs": 3, "batch_size": 48, **changes})


def train(
    config: TrainConfig,
    dataset: Dataset,
    *,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[EpochReport], None] = lambda _: None,
    batches: Callable[[tuple[int, int]], Iterator[loop.Share]] | None = None,
) -> loop.TrainResult:
    """Train in this process, with batches straight from the order unless given."""
    worker = loop.WorkerContext(stop=stop)
    shares = batches or (lambda start: read(config, dataset, start))
    return loop.run(config, dataset, tf.distribute.get_strategy(), worker, shares, report)


def train_until_killed(config: TrainConfig, dataset: Dataset, step: int) -> None:
    """Train until before a step counted over all epochs; end as a kill would."""

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        for number, share in enumerate(read(config, dataset, start)):
            if number == step:
                raise KeyboardInterrupt
            yield share

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, batches=batches)


def read(config: TrainConfig, dataset: Dataset, start: tuple[int, int]) -> Iterator[loop.Share]:
    """Yield the shares of a single worker from an epoch and step on."""
    order = config.order(dataset.manifest)
    return ((dataset.take(rows), rows) for rows in order.worker_batches(start, config.epochs, 0, 1))


def weights(result: loop.TrainResult) -> list[np.ndarray]:
    """Return the trained weights."""
    return result.state.model.get_weights()


def assert_same(one: loop.TrainResult, other: loop.TrainResult, metric: str = "loss") -> None:
    """Fail unless two trainings have equal weights, bit for bit, and equal losses."""
    for left, right in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(left, right)
    assert [row[metric] for row in one.history] == [row[metric] for row in other.history]


def checkpoints(folder: Path) -> list[str]:
    """Return the names of all checkpoints below a folder, oldest first."""
    return sorted(path.name for path in folder.rglob("*.npz"))
