"""The training loop: the same on one process and on each of many workers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.order import PADDING, EpochOrder
from synthray.errors import ConfigError, Stopped, TrainingError
from synthray.train.checkpoint import CheckpointFolder, Progress
from synthray.train.config import TrainConfig
from synthray.train.prefetch import prefetch
from synthray.train.reports import EpochReport, StepReport
from synthray.train.step import TrainState

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Share = tuple[Examples, np.ndarray]
Tensors = tuple[tf.Tensor, ...]
ALIGNMENT = 64


@dataclass(frozen=True)
class WorkerContext:
    """Which worker this is, and of how many.

    broadcast: gives all of them the value of rank 0. stop: whether this one was asked to end the training. tell: takes what
    people should know.
    """

    rank: int = 0
    workers: int = 1
    broadcast: Callable[[Value], Value] = lambda value: value
    stop: Callable[[], bool] = lambda: False
    log: Callable[[str], None] = logger.warning

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes and reports for all."""
        return self.rank == 0


@dataclass(frozen=True)
class TrainResult:
    """What came of a training: its state, the reports of all epochs, and that of the epoch whose weights these are."""

    steps: TrainState
    history: list[dict[str, Any]]
    report: dict[str, Any]


def run(
    config: TrainConfig,
    dataset: Dataset,
    strategy: tf.distribute.Strategy,
    worker: WorkerContext,
    batches: Callable[[tuple[int, int]], Iterator[Share]],
    report: Callable[[EpochReport], None],
    beat: Callable[[StepReport | None], None] = lambda _: None,
) -> TrainResult:
    """Train from the newest checkpoint, or from the beginning, to the last epoch.

    Args:
        strategy: how workers add up gradients; TensorFlow's default one for a single worker.
        batches: gives this worker's shares from an epoch and step on.
        report: called by the leading worker after each epoch.
        beat: called by each worker after each step, and with None for other signs of life.

    Returns:
        the trained state, with the weights of the best epoch.

    Raises:
        TrainingError: the loss is not a number any more.
        Stopped: a worker was asked to end; a checkpoint is written.
    """
    order = config.order(dataset.manifest)
    steps = TrainState(config, dataset.manifest, strategy)
    digest = config.run_digest(dataset.manifest)
    with CheckpointFolder(config.out, digest, config.keep_checkpoints, worker.log) as folder:
        state = _resume(config, steps, folder, worker)
        held_out = _held_out(config, dataset, steps, worker)
        shares = prefetch(lambda share: _tensors(*share), batches((state.epoch, state.step)))

        def keep(state: Progress) -> None:
            if worker.is_chief:
                folder.save(steps.checkpoint(state))
            beat(None)

        for epoch in range(state.epoch, config.epochs):
            began_s, first_step = time.perf_counter(), state.step
            trained = _Epoch(config, steps, order, state)
            try:
                wait_s, stop = trained.run(shares, worker, keep, beat)
            except Stopped:
                folder.wait()  # only then is it true
                raise
            spent_s = time.perf_counter() - began_s
            val_loss, accuracy, error = _means(steps.all_reduce_sum(_validate(steps, held_out, beat)))
            if not math.isfinite(val_loss):
                raise TrainingError(f"epoch {epoch + 1}: the validation loss is {val_loss}; lower --learning-rate")
            result = EpochReport(
                epoch=epoch + 1,
                epochs=config.epochs,
                loss=_means(trained.sums)[0],
                val_loss=val_loss,
                val_accuracy=accuracy,
                val_error=error,
                examples_per_s=sum(map(order.examples, range(first_step, order.steps))) / spent_s,
                input_wait=wait_s / spent_s,
                step_s=spent_s / (order.steps - first_step),
            )
            state = Progress(epoch + 1, history=[*state.history, asdict(result)])
            keep(state)
            if worker.is_chief:
                report(result)
            if stop and epoch + 1 < config.epochs:
                folder.wait()
                raise Stopped(f"stopped after epoch {epoch + 1} of {config.epochs}")
        folder.wait()
        published = state.history[-1]
        if worker.is_chief and state.best != state.epoch and (best := folder.load_best(state)):
            steps.restore(best)
            published = best.progress.history[-1]
    return TrainResult(steps, state.history, published)


def _resume(config: TrainConfig, steps: TrainState, folder: CheckpointFolder, worker: WorkerContext) -> Progress:
    """Take up the newest checkpoint, the same one on all workers; or begin."""
    path = worker.broadcast(folder.latest_valid() if worker.is_chief else None)
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


class _Epoch:
    """One epoch, or the rest of one that was begun before.

    What a step came to is looked at one step later, so that an accelerator need not wait for this process.
    """

    def __init__(self, config: TrainConfig, steps: TrainState, order: EpochOrder, state: Progress) -> None:
        self._config, self._steps, self._order, self._state = config, steps, order, state
        self.sums = state.sums.copy()
        self._unseen: list[tuple[int, tf.Tensor]] = []

    def run(
        self,
        shares: Iterator[Tensors],
        worker: WorkerContext,
        keep: Callable[[Progress], None],
        beat: Callable[[StepReport | None], None],
    ) -> tuple[float, bool]:
        """Train to the end of the epoch; gives the seconds of waiting for input, and whether one is to stop."""
        order, epoch, waited_s = self._order, self._state.epoch, 0.0
        began_s = time.perf_counter()
        for step in range(self._state.step, order.steps):
            try:
                tensors = next(shares)
            except StopIteration:
                where = f"epoch {epoch + 1} ended at step {step} of {order.steps}"
                raise TrainingError(f"{where}: examples are missing") from None
            wait_s = time.perf_counter() - began_s
            vote = tf.constant(float(worker.stop()))
            examples = order.examples(step)
            self._unseen.append((step, self._steps.train(*tensors, tf.constant(examples, tf.float32), vote)))
            loss, stop = self._look(leave=1)
            done = step + 1
            if (stop or done % self._config.checkpoint_steps == 0) and done < order.steps:
                self._look()
                self._check_weights(tensors, done)
                keep(replace(self._state, step=done, sums=self.sums.copy()))
                if stop:
                    raise Stopped(f"stopped in epoch {epoch + 1} after step {done} of {order.steps}")
            now_s = time.perf_counter()
            beat(StepReport(epoch + 1, self._config.epochs, done, order.steps, examples, loss, now_s - began_s, wait_s))
            began_s, waited_s = now_s, waited_s + wait_s
        return waited_s, self._look()[1]

    def _check_weights(self, tensors: Tensors, done: int) -> None:
        """A step's loss is that of the weights before it: see that those after it, which are to be kept, are good, too.

        Raises:
            TrainingError: they make something that is no number of the step's own examples.
        """
        loss = _means(self._steps.all_reduce_sum(self._steps.validate(*tensors)))[0]
        if not math.isfinite(loss):
            where = f"epoch {self._state.epoch + 1}, step {done} of {self._order.steps}"
            raise TrainingError(f"{where}: the loss after it is {loss}; lower --learning-rate or give --clip-norm")

    def _look(self, leave: int = 0) -> tuple[float, bool]:
        """Take in what the steps came to, but for the last ``leave``: the newest mean loss, and whether one is to stop.

        All workers see the same numbers of the same steps, and so do the same.
        """
        loss, stop = math.nan, False
        while len(self._unseen) > leave:
            step, sums = self._unseen.pop(0)
            total, examples, votes = sums.numpy().tolist()
            loss, stop = total / examples, stop or votes > 0
            if not math.isfinite(loss):
                where = f"epoch {self._state.epoch + 1}, step {step + 1} of {self._order.steps}"
                raise TrainingError(f"{where}: the loss is {loss}; lower --learning-rate or give --clip-norm")
            self.sums += total, examples
        return loss, stop


def _validate(steps: TrainState, held_out: list[Tensors], beat: Callable[[None], None]) -> tf.Tensor:
    sums = tf.zeros(4)
    with steps.averaged():
        for tensors in held_out:
            sums += steps.validate(*tensors)
            beat(None)
    return sums


def _held_out(config: TrainConfig, dataset: Dataset, steps: TrainState, worker: WorkerContext) -> list[Tensors]:
    """This worker's part of the validation examples, in memory, in batches of one size."""
    first, count = config.holdout(dataset.manifest.rows)
    mine = np.array_split(np.arange(first, first + count), worker.workers)[worker.rank]
    rows = np.full(-(-len(mine) // steps.share) * steps.share, PADDING, np.int64)
    rows[: len(mine)] = mine
    batch = dataset.take(rows)
    parts = [slice(start, start + steps.share) for start in range(0, len(rows), steps.share)]
    return [_tensors(Examples(batch.features[part], batch.labels[part]), rows[part]) for part in parts]


def _tensors(batch: Examples, rows: np.ndarray) -> Tensors:
    weights = (rows != PADDING).astype(np.float32)
    return _tensor(batch.features), tf.constant(batch.labels, tf.float32), tf.constant(weights)


def _tensor(array: np.ndarray) -> tf.Tensor:
    """The array's own memory as a tensor, where it begins at a fit place: nothing writes to it as long. Else a copy."""
    fit = array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable
    if not fit or tf.config.list_logical_devices("GPU"):  # to which a copy goes from here, while the step before runs
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _means(sums: np.ndarray | tf.Tensor) -> list[float]:
    *totals, examples = np.asarray(sums).tolist()
    return [total / examples for total in totals]
