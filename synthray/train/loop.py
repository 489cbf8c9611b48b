"""Train from the newest checkpoint to the last epoch, in one process or in each of many workers.

Starting workers and reading data are in ``synthray.cluster``; one step is in ``synthray.train.step``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.order import PADDING
from synthray.data.sample import sample_rows
from synthray.errors import ConfigError, StorageError
from synthray.model.normalisation import set_statistics
from synthray.synth.instrument import INSTRUMENT
from synthray.train.checkpoint import Checkpoint, CheckpointFolder, TrainProgress
from synthray.train.config import TrainConfig
from synthray.train.epoch import Epoch, Hooks
from synthray.train.prefetch import prefetch
from synthray.train.reports import EpochReport, StepReport
from synthray.train.step import Share, TrainState, to_tensors

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

# Attempts to agree on a checkpoint to resume from. A mounted folder may show new files to other nodes late.
_RESUME_ATTEMPTS = 5
_RESUME_PAUSE_S = 1.0


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
        batches: returns this worker's shares, beginning at an epoch and a step.
        report: called after each epoch.
        heartbeat: called by each worker with a report after each step, and with None in between.

    Raises:
        ConfigError: the checkpoints have more epochs than ``config``.
        StorageError: the workers cannot read the same checkpoint.
        TrainingError: a loss is not finite, or shares are missing.
        Stopped: a worker was asked to stop, and a checkpoint is written.
    """
    state = TrainState(config, dataset, strategy)
    digest = config.run_digest(dataset.manifest)
    with CheckpointFolder(config.out, digest, config.keep_checkpoints, worker.log) as folder:
        progress = _resume(config, dataset, state, folder, worker)
        save = partial(_save, state, folder, worker, heartbeat)
        as_tensors = partial(to_tensors, audible_only=hides_inaudible(config, dataset))
        order, hooks = config.order(dataset.manifest), Hooks(worker.stop, save, report, heartbeat)
        validation = [as_tensors(*share) for share in _validation_shares(config, dataset, state, worker)]
        shares = prefetch(lambda share: as_tensors(*share), batches((progress.epoch, progress.step)))
        with contextlib.closing(shares):
            while progress.epoch < config.epochs:
                progress = Epoch(config, state, order, progress, hooks).run(shares, validation)
        folder.wait()
        return _best_result(state, progress, folder, worker)


def _save(
    state: TrainState,
    folder: CheckpointFolder,
    worker: WorkerContext,
    heartbeat: Callable[[StepReport | None], None],
    progress: TrainProgress,
) -> None:
    """Save a checkpoint on the chief, and send a heartbeat on each worker."""
    if worker.is_chief:
        folder.save(state.checkpoint(progress))
    heartbeat(None)


def _resume(
    config: TrainConfig, dataset: Dataset, state: TrainState, folder: CheckpointFolder, worker: WorkerContext
) -> TrainProgress:
    """Restore the newest checkpoint, the same one on all workers; return the start if there is none."""
    checkpoint = _newest(state, folder, worker)
    if checkpoint is None:
        if worker.is_chief:
            folder.log_others()
        if not config.normalises(dataset):
            return TrainProgress()
        # All workers read the statistics from the first checkpoint, so that they are equal bit for bit.
        if worker.is_chief:
            _save_statistics(config, dataset, state, folder)
        checkpoint = _newest(state, folder, worker)
        if checkpoint is None:
            raise StorageError(f"{folder.uri}: the first checkpoint is gone. Run the same command again.")
    progress = checkpoint.progress
    if (progress.epoch, progress.step) > (config.epochs, 0):
        raise ConfigError(
            f"{config.out}: {progress.epoch} epochs of this training are done, more than --epochs {config.epochs}. "
            f"Give --epochs {progress.epoch} or another --out."
        )
    state.restore(checkpoint)
    return progress


def _newest(state: TrainState, folder: CheckpointFolder, worker: WorkerContext) -> Checkpoint | None:
    """Return the newest checkpoint, the same one on all workers, or None if there is none.

    Raises:
        StorageError: a worker repeatedly failed to read the checkpoint that the chief had found.
    """
    for _ in range(_RESUME_ATTEMPTS):
        found = folder.newest() if worker.is_chief else None
        path = worker.broadcast(found and found[0])
        if path is None:
            return None
        # Another job of the same training may delete the checkpoint meanwhile.
        checkpoint = found[1] if found else folder.load(path, "Looking for another one.")
        missing = state.all_reduce_sum(tf.constant([float(checkpoint is None), 0.0, 0.0, 0.0]))
        if float(missing[0]) == 0:
            return checkpoint
        time.sleep(_RESUME_PAUSE_S)
    raise StorageError(
        f"{folder.uri}: a worker cannot read the checkpoint that another worker has found. Run the same command "
        "again. If another training writes to the same --out, wait until it has ended."
    )


def _save_statistics(config: TrainConfig, dataset: Dataset, state: TrainState, folder: CheckpointFolder) -> None:
    """Set the statistics of the training examples, and save a checkpoint of the start with them."""
    first_held_out, _ = config.holdout(dataset.manifest)
    set_statistics(state.model, dataset.take(sample_rows(dataset, first_held_out)).features)
    folder.save(state.checkpoint(TrainProgress()))
    folder.wait()


def _validation_shares(config: TrainConfig, dataset: Dataset, state: TrainState, worker: WorkerContext) -> list[Share]:
    """Return this worker's part of the validation examples, in shares of one size."""
    first, count = config.holdout(dataset.manifest)
    mine = np.array_split(np.arange(first, first + count), worker.workers)[worker.rank]
    rows = np.pad(mine, (0, -len(mine) % state.share), constant_values=PADDING)
    batch = dataset.take(rows)
    parts = [slice(start, start + state.share) for start in range(0, len(rows), state.share)]
    return [(Examples(batch.features[part], batch.labels[part]), rows[part]) for part in parts]


def hides_inaudible(config: TrainConfig, dataset: Dataset) -> bool:
    """Return whether inaudible parameters are left out; they are known for synthray's own instrument only."""
    return config.audible_only and dataset.manifest.table == INSTRUMENT


def _best_result(
    state: TrainState, progress: TrainProgress, folder: CheckpointFolder, worker: WorkerContext
) -> TrainResult:
    """Restore the best epoch on the chief, which saves the model."""
    report = progress.history[-1]
    if worker.is_chief and progress.best != progress.epoch and (best := folder.load_best(progress)):
        state.restore(best)
        report = best.progress.history[-1]
    return TrainResult(state, progress.history, report)
