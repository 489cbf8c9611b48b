"""The training loop: the same on one process and on each of many workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from synthray.data.batch import Batch
from synthray.data.dataset import Dataset
from synthray.data.order import PADDING, Order
from synthray.errors import ConfigError, TrainingError
from synthray.train.checkpoint import CheckpointFolder, Progress
from synthray.train.config import TrainConfig
from synthray.train.prefetch import prefetch
from synthray.train.steps import Steps

Value = TypeVar("Value")
Share = tuple[Batch, np.ndarray]
Tensors = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Which worker this is, of how many, and how they agree on a value: all get that of rank 0."""

    rank: int = 0
    workers: int = 1
    agree: Callable[[Value], Value] = lambda value: value

    @property
    def leads(self) -> bool:
        """Whether this worker writes and reports for all."""
        return self.rank == 0


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to. Losses are sums over the heads; accuracy and error are means over the parameters."""

    epoch: int
    epochs: int
    loss: float
    val_loss: float
    val_accuracy: float
    val_error: float
    examples_per_s: float
    input_wait: float

    def line(self) -> str:
        """For people."""
        return (
            f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {self.loss:.4f}  "
            f"val_loss {self.val_loss:.4f}  val_accuracy {self.val_accuracy:.4f}  val_error {self.val_error:.4f}  "
            f"{self.examples_per_s:,.0f} examples/s"
        )


def run(
    config: TrainConfig,
    dataset: Dataset,
    strategy: tf.distribute.Strategy,
    place: Place,
    batches: Callable[[tuple[int, int]], Iterator[Share]],
    report: Callable[[EpochReport], None],
) -> tuple[Steps, list[dict[str, Any]]]:
    """Train from the newest checkpoint, or from the beginning, to the last epoch.

    Args:
        strategy: how workers add up gradients; TensorFlow's default one for a single worker.
        batches: gives this worker's shares from an epoch and step on.
        report: called by the leading worker after each epoch.

    Returns:
        the trained state, and the reports of all epochs.

    Raises:
        TrainingError: the loss is not a number any more.
    """
    order = config.order(dataset.manifest)
    steps = Steps(config, dataset.manifest, strategy)
    folder = CheckpointFolder(config.out, config.run_digest(dataset.manifest), config.keep_checkpoints)
    state = _resume(config, steps, folder, place)
    held_out = _held_out(config, dataset, steps, place)
    shares = prefetch(lambda share: _tensors(*share), batches((state.epoch, state.step)))

    def keep(state: Progress) -> None:
        if place.leads:
            folder.save(steps.checkpoint(state))

    for epoch in range(state.epoch, config.epochs):
        began_s, first_step = time.perf_counter(), state.step
        state, wait_s = _train_epoch(config, steps, order, shares, state, keep)
        spent_s = time.perf_counter() - began_s
        val_loss, accuracy, error = _means(steps.add_up(_validate(steps, held_out)))
        result = EpochReport(
            epoch=epoch + 1,
            epochs=config.epochs,
            loss=_means(state.sums)[0],
            val_loss=val_loss,
            val_accuracy=accuracy,
            val_error=error,
            examples_per_s=sum(map(order.examples, range(first_step, order.steps))) / spent_s,
            input_wait=wait_s / spent_s,
        )
        state = Progress(epoch + 1, history=[*state.history, asdict(result)])
        keep(state)
        if place.leads:
            report(result)
    return steps, state.history


def _resume(config: TrainConfig, steps: Steps, folder: CheckpointFolder, place: Place) -> Progress:
    """Take up the newest checkpoint, the same one on all workers; or begin."""
    path = place.agree(folder.newest_whole() if place.leads else None)
    if path is None:
        return Progress()
    checkpoint = folder.load(path)
    if (checkpoint.progress.epoch, checkpoint.progress.step) > (config.epochs, 0):
        raise ConfigError(
            f"{config.out} holds {checkpoint.progress.epoch} epochs of this training already, more than the "
            f"{config.epochs} asked for: give --epochs {checkpoint.progress.epoch} or another --out"
        )
    steps.restore(checkpoint)
    return checkpoint.progress


def _train_epoch(
    config: TrainConfig,
    steps: Steps,
    order: Order,
    shares: Iterator[Tensors],
    state: Progress,
    keep: Callable[[Progress], None],
) -> tuple[Progress, float]:
    """Train from ``state`` to the end of its epoch; gives the state there, and the seconds of waiting for input."""
    sums, wait_s = tf.zeros(4), 0.0
    for step in range(state.step, order.steps):
        began_s = time.perf_counter()
        try:
            tensors = next(shares)
        except StopIteration:
            where = f"epoch {state.epoch + 1} ended at step {step} of {order.steps}"
            raise TrainingError(f"{where}: examples are missing") from None
        wait_s += time.perf_counter() - began_s
        sums += steps.train(*tensors, tf.constant(order.examples(step), tf.float32))
        last = step + 1 == order.steps
        if last or (step + 1) % config.checkpoint_steps == 0:
            # all workers' sums, so that a checkpoint holds for any number of them
            state = replace(state, step=step + 1, sums=state.sums + steps.add_up(sums).numpy())
            sums = tf.zeros(4)
            if not np.isfinite(state.sums).all():
                where = f"epoch {state.epoch + 1}, by step {step + 1}"
                raise TrainingError(f"{where}: the loss is {_means(state.sums)[0]}; lower --learning-rate")
            if not last:
                keep(state)
    return state, wait_s


def _validate(steps: Steps, held_out: list[Tensors]) -> tf.Tensor:
    sums = tf.zeros(4)
    for tensors in held_out:
        sums += steps.validate(*tensors)
    return sums


def _held_out(config: TrainConfig, dataset: Dataset, steps: Steps, place: Place) -> list[Tensors]:
    """This worker's part of the validation examples, in memory, in batches of one size."""
    first, count = config.holdout(dataset.manifest.rows)
    mine = np.array_split(np.arange(first, first + count), place.workers)[place.rank]
    rows = np.full(-(-len(mine) // steps.share) * steps.share, PADDING, np.int64)
    rows[: len(mine)] = mine
    batch = dataset.take(rows)
    parts = [slice(start, start + steps.share) for start in range(0, len(rows), steps.share)]
    return [_tensors(Batch(batch.features[part], batch.labels[part]), rows[part]) for part in parts]


def _tensors(batch: Batch, rows: np.ndarray) -> Tensors:
    weights = (rows != PADDING).astype(np.float32)
    return tf.constant(batch.features), tf.constant(batch.labels, tf.float32), tf.constant(weights)


def _means(sums: np.ndarray | tf.Tensor) -> list[float]:
    *totals, examples = np.asarray(sums).tolist()
    return [total / examples for total in totals]
