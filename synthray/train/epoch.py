"""Train the steps of one epoch.

Validation, reports and the order of epochs are in ``synthray.train.loop``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import tensorflow as tf

from synthray.data.order import EpochOrder
from synthray.errors import Stopped, TrainingError
from synthray.train.checkpoint import TrainProgress
from synthray.train.config import TrainConfig
from synthray.train.reports import StepReport
from synthray.train.step import Tensors, TrainState, means


@dataclass(frozen=True)
class Hooks:
    """What an epoch calls while it trains."""

    stop: Callable[[], bool]
    """Returns True once this worker was asked to stop."""
    save: Callable[[TrainProgress], None]
    """Starts to write a checkpoint."""
    heartbeat: Callable[[StepReport | None], None]
    """Gets a report after each step."""


class Epoch:
    """One epoch, or the rest of one that a checkpoint interrupted.

    A step's result is read one step later, so that an accelerator need not wait for this process.
    """

    def __init__(
        self, config: TrainConfig, state: TrainState, order: EpochOrder, progress: TrainProgress, hooks: Hooks
    ) -> None:
        self._config, self._state, self._order = config, state, order
        self._progress, self._hooks = progress, hooks
        self._unread: list[tuple[int, tf.Tensor]] = []
        self.sums = progress.sums.copy()
        """As in ``TrainProgress``."""
        self.wait_s = 0.0
        """Seconds of waiting for input."""
        self.stop_requested = False
        """True if a worker has voted to stop. All workers read the same votes at the same step."""

    def run(self, shares: Iterator[Tensors]) -> None:
        """Train to the end of the epoch.

        Raises:
            TrainingError: a loss is not finite, or shares are missing.
            Stopped: a worker was asked to stop within the epoch, and a checkpoint is being written.
        """
        started_s = time.perf_counter()
        for step in range(self._progress.step, self._order.steps):
            tensors = self._next(shares, step)
            wait_s = time.perf_counter() - started_s
            self._train(tensors, step)
            loss = self._read_results(leave=1)
            self._save_if_due(tensors, step + 1)
            now_s = time.perf_counter()
            self._report(step, loss, now_s - started_s, wait_s)
            self.wait_s += wait_s
            started_s = now_s
        self._read_results()

    def _next(self, shares: Iterator[Tensors], step: int) -> Tensors:
        try:
            return next(shares)
        except StopIteration:
            raise TrainingError(
                f"epoch {self._progress.epoch + 1}: no examples after step {step} of {self._order.steps}"
            ) from None

    def _train(self, tensors: Tensors, step: int) -> None:
        examples = tf.constant(self._order.examples(step), tf.float32)
        stop_vote = tf.constant(float(self._hooks.stop()))
        self._unread.append((step, self._state.train(*tensors, examples, stop_vote)))

    def _report(self, step: int, loss: float, step_s: float, wait_s: float) -> None:
        report = StepReport(
            epoch=self._progress.epoch + 1,
            epochs=self._config.epochs,
            step=step + 1,
            steps=self._order.steps,
            examples=self._order.examples(step),
            loss=loss,
            step_s=step_s,
            wait_s=wait_s,
        )
        self._hooks.heartbeat(report)

    def _save_if_due(self, tensors: Tensors, done: int) -> None:
        """Save a checkpoint within the epoch if a stop or ``checkpoint_steps`` asks for it."""
        due = self.stop_requested or done % self._config.checkpoint_steps == 0
        if not due or done == self._order.steps:
            return
        self._read_results()
        self._check_weights(tensors, done)
        self._hooks.save(replace(self._progress, step=done, sums=self.sums.copy()))
        if self.stop_requested:
            raise Stopped(f"stopped in epoch {self._progress.epoch + 1} after step {done} of {self._order.steps}")

    def _check_weights(self, tensors: Tensors, done: int) -> None:
        """Check the weights that a checkpoint will hold: a step's own loss is that of the weights before it.

        Raises:
            TrainingError: their loss on the step's examples is not finite.
        """
        loss = means(self._state.all_reduce_sum(self._state.validate(*tensors)))[0]
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self._position(done)}: the loss after it is {loss}. Lower --learning-rate or give --clip-norm."
            )

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
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self._position(step + 1)}: the loss is {loss}. Lower --learning-rate or give --clip-norm."
                )
            self.sums += total, examples
            self.stop_requested |= stop_votes > 0
        return loss

    def _position(self, done: int) -> str:
        return f"epoch {self._progress.epoch + 1}, step {done} of {self._order.steps}"
