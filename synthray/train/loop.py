"""Train from the newest checkpoint to the last epoch, in one process or in each of many workers.

Starting workers and reading data are in ``synthray.cluster``; one step is in ``synthray.train.step``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.order import PADDING, EpochOrder
from synthray.errors import ConfigError, Stopped, TrainingError
from synthray.train.checkpoint import CheckpointFolder, TrainProgress
from synthray.train.config import TrainConfig
from synthray.train.epoch import Epoch, Hooks
from synthray.train.prefetch import prefetch
from synthray.train.reports import EpochReport, StepReport
from synthray.train.step import Share, Tensors, TrainState, means, to_tensors

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class WorkerContext:
    """The part of one worker in a training."""

    rank: int = 0
    """Index of this worker, from 0."""
    workers: int = 1
    """Number of workers."""
    broadcast: Callable[[Value], Value] = lambda value: value
    """Returns the value of rank 0 on all workers."""
    stop: Callable[[], bool] = lambda: False
    """Returns True once this worker was asked to stop."""
    log: Callable[[str], None] = logger.warning
    """Gets lines for the user."""

    @property
    def is_chief(self) -> bool:
        """True for the worker that writes and reports for all."""
        return self.rank == 0


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a training."""

    state: TrainState
    """The trained state; on the chief, that of the best epoch."""
    history: list[dict[str, Any]]
    """Reports of all epochs."""
    report: dict[str, Any]
    """Report of the epoch whose weights ``state`` holds."""


def run(
    config: TrainConfig,
    dataset: Dataset,
    strategy: tf.distribute.Strategy,
    worker: WorkerContext,
    batches: Callable[[tuple[int, int]], Iterator[Share]],
    report: Callable[[EpochReport], None],
    heartbeat: Callable[[StepReport | None], None] = lambda _: None,
) -> TrainResult:
    """Train from the newest checkpoint, or from the start, to the last epoch.

    Args:
        strategy: how workers sum gradients; TensorFlow's default one for a single worker.
        batches: returns this worker's shares from an epoch and a step on.
        report: called by the chief after each epoch.
        heartbeat: called by each worker with a report after each step, and with None in between.

    Raises:
        ConfigError: the checkpoints have more epochs than ``config``.
        TrainingError: a loss is not finite, or shares are missing.
        Stopped: a worker was asked to stop, and a checkpoint is written.
    """
    state = TrainState(config, dataset.manifest, strategy)
    digest = config.run_digest(dataset.manifest)
    with CheckpointFolder(config.out, digest, config.keep_checkpoints, worker.log) as folder:
        progress = _resume(config, state, folder, worker)
        order = config.order(dataset.manifest)
        validation = _validation_batches(config, dataset, state, worker)
        training = _Training(config, order, state, folder, worker, validation, report, heartbeat)
        shares = prefetch(lambda share: to_tensors(*share), batches((progress.epoch, progress.step)))
        with contextlib.closing(shares):
            while progress.epoch < config.epochs:
                progress = training.train_epoch(shares, progress)
        folder.wait()
        return _best_result(state, progress, folder, worker)


def _resume(config: TrainConfig, state: TrainState, folder: CheckpointFolder, worker: WorkerContext) -> TrainProgress:
    """Restore the newest checkpoint, the same one on all workers; return the start if there is none."""
    path = worker.broadcast(folder.latest_valid() if worker.is_chief else None)
    if path is None:
        if worker.is_chief:
            folder.log_others()
        return TrainProgress()
    checkpoint = folder.load(path)
    progress = checkpoint.progress
    if (progress.epoch, progress.step) > (config.epochs, 0):
        raise ConfigError(
            f"{config.out}: {progress.epoch} epochs of this training are done, more than --epochs {config.epochs}. "
            f"Give --epochs {progress.epoch} or another --out."
        )
    state.restore(checkpoint)
    return progress


def _validation_batches(
    config: TrainConfig, dataset: Dataset, state: TrainState, worker: WorkerContext
) -> list[Tensors]:
    """Return this worker's part of the validation examples, in batches of one size."""
    first, count = config.holdout(dataset.manifest.rows)
    mine = np.array_split(np.arange(first, first + count), worker.workers)[worker.rank]
    rows = np.full(-(-len(mine) // state.share) * state.share, PADDING, np.int64)
    rows[: len(mine)] = mine
    batch = dataset.take(rows)
    parts = [slice(start, start + state.share) for start in range(0, len(rows), state.share)]
    return [to_tensors(Examples(batch.features[part], batch.labels[part]), rows[part]) for part in parts]


def _best_result(
    state: TrainState, progress: TrainProgress, folder: CheckpointFolder, worker: WorkerContext
) -> TrainResult:
    """Restore the best epoch on the chief, which saves the model."""
    report = progress.history[-1]
    if worker.is_chief and progress.best != progress.epoch and (best := folder.load_best(progress)):
        state.restore(best)
        report = best.progress.history[-1]
    return TrainResult(state, progress.history, report)


@dataclass(frozen=True)
class _Training:
    """The parts that all epochs of a run share."""

    config: TrainConfig
    order: EpochOrder
    state: TrainState
    folder: CheckpointFolder
    worker: WorkerContext
    validation: list[Tensors]
    report: Callable[[EpochReport], None]
    heartbeat: Callable[[StepReport | None], None]

    def train_epoch(self, shares: Iterator[Tensors], progress: TrainProgress) -> TrainProgress:
        """Train, validate, save and report one epoch, or the rest of one; return the progress after it."""
        hooks = Hooks(self.worker.stop, self._save, self.heartbeat)
        epoch = Epoch(self.config, self.state, self.order, progress, hooks)
        started_s = time.perf_counter()
        try:
            epoch.run(shares)
        except Stopped:
            # The message promises a checkpoint.
            self.folder.wait()
            raise
        spent_s = time.perf_counter() - started_s
        report = self._epoch_report(epoch, progress, spent_s)
        progress = TrainProgress(report.epoch, history=[*progress.history, asdict(report)])
        self._save(progress)
        if self.worker.is_chief:
            self.report(report)
        if epoch.stop_requested and report.epoch < self.config.epochs:
            self.folder.wait()
            raise Stopped(f"stopped after epoch {report.epoch} of {self.config.epochs}")
        return progress

    def _save(self, progress: TrainProgress) -> None:
        if self.worker.is_chief:
            self.folder.save(self.state.checkpoint(progress))
        self.heartbeat(None)

    def _epoch_report(self, epoch: Epoch, progress: TrainProgress, spent_s: float) -> EpochReport:
        number, steps = progress.epoch + 1, range(progress.step, self.order.steps)
        val_loss, accuracy, error = means(self.state.all_reduce_sum(self._validate()))
        if not math.isfinite(val_loss):
            raise TrainingError(f"epoch {number}: the validation loss is {val_loss}. Lower --learning-rate.")
        return EpochReport(
            epoch=number,
            epochs=self.config.epochs,
            loss=means(epoch.sums)[0],
            val_loss=val_loss,
            val_accuracy=accuracy,
            val_error=error,
            examples_per_s=sum(map(self.order.examples, steps)) / spent_s,
            input_wait=epoch.wait_s / spent_s,
            step_s=spent_s / len(steps),
        )

    def _validate(self) -> tf.Tensor:
        """Return the sums of this worker's validation scores, as ``TrainState.validate`` does."""
        sums = tf.zeros(4)
        with self.state.averaged():
            for tensors in self.validation:
                sums += self.state.validate(*tensors)
                self.heartbeat(None)
        return sums
