"""Training in one process: learning, determinism, failures and the choice of the best epoch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.errors import TrainingError
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.train import loop
from synthray.train.reports import EpochReport
from tests.train.training import STEPS, assert_same, checkpoints, make_config, read, train, weights


def test_training_lowers_the_loss(dataset: Dataset, tmp_path: Path) -> None:
    history = train(make_config(dataset, tmp_path, epochs=8), dataset).history
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert all(np.isfinite(list(row.values())).all() for row in history)


@pytest.mark.slow
def test_same_seed_gives_same_weights_and_another_seed_others(dataset: Dataset, tmp_path: Path) -> None:
    first, second, other = (
        train(make_config(dataset, tmp_path / str(number), seed=seed), dataset) for number, seed in enumerate((1, 1, 2))
    )
    assert_same(first, second)
    assert any((a != b).any() for a, b in zip(weights(first), weights(other), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("corrupt", [False, True])
def test_result_has_weights_and_report_of_the_best_epoch(
    corrupt: bool, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # small batches and a high learning rate, so that the network overfits before the last epoch
    config = make_config(dataset, tmp_path, batch_size=8, epochs=8, learning_rate=0.1)

    def report(epoch: EpochReport) -> None:
        if corrupt and epoch.epoch == config.epochs:
            for path in tmp_path.rglob("*.npz"):
                with contextlib.suppress(FileNotFoundError):  # the writer deletes old ones at the same time
                    path.write_bytes(path.read_bytes()[:-1])

    result = train(config, dataset, report=report)
    best = min(result.history, key=lambda row: row["val_loss"])
    assert best["epoch"] < config.epochs
    assert result.report == (result.history[-1] if corrupt else best)
    assert ("Saving the last epoch's weights instead" in caplog.text) == corrupt
    first, count = config.holdout(dataset.manifest)
    held_out = dataset.take(np.arange(first, first + count))
    with result.state.averaged():
        outputs = result.state.model(held_out.features)
    layout = HeadLayout(dataset.manifest.table)
    loss = float(np.mean(score(outputs, tf.constant(held_out.labels, tf.float32), layout).loss))
    assert loss == pytest.approx(result.report["val_loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.faults
def test_loss_that_is_not_finite_ends_training_and_keeps_the_last_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path)

    def batches(start: tuple[int, int]) -> Iterator[loop.Share]:
        for number, (batch, rows) in enumerate(read(config, dataset, start)):
            if start == (0, 0) and number == 2 * STEPS + 1:
                batch.labels[:, 1] = np.nan  # the labels of a range
            yield batch, rows

    with pytest.raises(TrainingError, match=r"epoch 3, step 2 of 4: the loss is nan\. Lower --learning-rate"):
        train(config, dataset, batches=batches)
    assert checkpoints(tmp_path)[-1] == "000002-00000000.npz"
    assert [row["epoch"] for row in train(config, dataset).history] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.faults
def test_weights_with_a_loss_that_is_not_finite_are_not_saved(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 of 4: the loss after it is (nan|inf)\. Lower"):
        train(make_config(dataset, tmp_path, learning_rate=1e38, checkpoint_steps=1), dataset)
    assert not checkpoints(tmp_path)


def test_missing_shares_end_training_and_name_the_step(dataset: Dataset, tmp_path: Path) -> None:
    config = make_config(dataset, tmp_path, epochs=1)
    with pytest.raises(TrainingError, match="epoch 1: no examples after step 2 of 4"):
        train(config, dataset, batches=lambda start: itertools.islice(read(config, dataset, start), 2))
