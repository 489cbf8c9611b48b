"""Train one epoch: its steps, the validation after them, and the checkpoints.

The order of epochs and the choice of the best one are in ``synthray.train.loop``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import tensorflow as tf

from synthray.data.order import EpochOrder
from synthray.errors import Stopped, TrainingError
from synthray.train.checkpoint import TrainProgress
from synthray.train.config import TrainConfig
from synthray.train.reports import EpochReport, StepReport
from synthray.train.step import Tensors, TrainState, means


@dataclass(frozen=True)
class Hooks:
    """Functions that an epoch calls."""

    stop: Callable[[], bool]
    """Returns True once this worker was asked to stop."""
    save: Callable[[TrainProgress], None]
    """Starts to write a checkpoint."""
    report: Callable[[EpochReport], None]
    """Gets the results of the epoch."""
    heartbeat: Callable[[StepReport | None], None]
    """Gets a report after each step, and None in between."""


class Epoch:
    """One epoch, or the rest of one that a checkpoint interrupted.

    A step's result is read one step later, so that an accelerator need not wait for this process.
    """

    def __init__(
        self, config: TrainConfig, state: TrainState, order: EpochOrder, progress: TrainProgress, hooks: Hooks
    ) -> None:
        self._config, self._state, self._order = config, state, order
        self._progress, self._hooks, self._number = progress, hooks, progress.epoch + 1
        self._unread: list[tuple[int, tf.Tensor]] = []
        self._sums = progress.sums.copy()  # as in TrainProgress
        self._wait_s = 0.0  # for input
        # True if a worker has voted to stop. All workers read the same votes at the same step.
        self._stop_requested = False

    def run(self, shares: Iterator[Tensors], validation: list[Tensors]) -> TrainProgress:
        """Train to the end of the epoch, validate, save and report; return the progress after it.

        Raises:
            TrainingError: a loss is not finite, or shares are missing.
            Stopped: a worker was asked to stop, and a checkpoint is being written.
        """
        started_s = time.perf_counter()
        self._train(shares)
        report = self._validate(validation, time.perf_counter() - started_s)
        progress = TrainProgress(report.epoch, history=[*self._progress.history, asdict(report)])
        self._hooks.save(progress)
        self._hooks.report(report)
        if self._stop_requested and report.epoch < self._config.epochs:
            raise Stopped(f"stopped after epoch {report.epoch} of {self._config.epochs}")
        return progress

    def _train(self, shares: Iterator[Tensors]) -> None:
        steps = self._order.steps
        started_s = time.perf_counter()
        for step in range(self._progress.step, steps):
            tensors = next(shares, None)
            if tensors is None:
                raise TrainingError(f"epoch {self._number}: no examples after step {step} of {steps}")
            wait_s = time.perf_counter() - started_s
            self._wait_s += wait_s
            examples = self._order.examples(step)
            stop_vote = tf.constant(float(self._hooks.stop()))
            sums = self._state.train(*tensors, tf.constant(examples, tf.float32), stop_vote)
            self._unread.append((step, sums))
            loss = self._read_results(leave=1)
            self._save_if_due(tensors, step + 1)
            now_s = time.perf_counter()
            times_s = now_s - started_s, wait_s
            report = StepReport(self._number, self._config.epochs, step + 1, steps, examples, loss, *times_s)
            self._hooks.heartbeat(report)
            started_s = now_s
        self._read_results()

    def _save_if_due(self, tensors: Tensors, done: int) -> None:
        """Save a checkpoint within the epoch if a stop or ``checkpoint_steps`` asks for it."""
        due = self._stop_requested or done % self._config.checkpoint_steps == 0
        if not due or done == self._order.steps:
            return
        self._read_results()
        # A step reports the loss of its old weights, so score the new weights, which the checkpoint will hold.
        loss = means(self._state.all_reduce_sum(self._state.validate(*tensors)))[0]
        self._require_finite(loss, done, "the loss after it")
        self._hooks.save(replace(self._progress, step=done, sums=self._sums.copy()))
        if self._stop_requested:
            raise Stopped(f"stopped in epoch {self._number} after step {done} of {self._order.steps}")

    def _read_results(self, leave: int = 0) -> float:
        """Add up the results of all steps but the last ``leave``.

        Returns:
            the mean loss of the newest step read, NaN if none was.

        Raises:
            TrainingError: a loss is not finite.
        """
        loss = math.nan
        while len(self._unread) > leave:
            step, sums = self._unread.pop(0)
            total, examples, stop_votes = sums.numpy().tolist()
            loss = total / examples
            self._require_finite(loss, step + 1, "the loss")
            self._sums += total, examples
            self._stop_requested |= stop_votes > 0
        return loss

    def _require_finite(self, loss: float, done: int, name: str) -> None:
        if not math.isfinite(loss):
            position = f"epoch {self._number}, step {done} of {self._order.steps}"
            raise TrainingError(f"{position}: {name} is {loss}. Lower --learning-rate or give --clip-norm.")

    def _validate(self, batches: list[Tensors], spent_s: float) -> EpochReport:
        """Score this worker's validation examples, and return the results of an epoch that took ``spent_s``."""
        sums = tf.zeros(4)
        with self._state.averaged():
            for tensors in batches:
                sums += self._state.validate(*tensors)
                self._hooks.heartbeat(None)
        val_loss, accuracy, error = means(self._state.all_reduce_sum(sums))
        if not math.isfinite(val_loss):
            raise TrainingError(f"epoch {self._number}: the validation loss is {val_loss}. Lower --learning-rate.")
        steps = range(self._progress.step, self._order.steps)
        return EpochReport(
            epoch=self._number,
            epochs=self._config.epochs,
            loss=means(self._sums)[0],
            val_loss=val_loss,
            val_accuracy=accuracy,
            val_error=error,
            examples_per_s=sum(map(self._order.examples, steps)) / spent_s,
            input_wait=self._wait_s / spent_s,
            step_s=spent_s / len(steps),
        )
