"""Reports of a training after a step and after an epoch.

They are shown and stored by ``synthray.train.logging`` and ``synthray.cluster.training``.
"""

from __future__ import annotations

from dataclasses import dataclass

POSITION = ("epoch", "epochs")
"""Fields of ``EpochReport`` that are not results, so logs have no curve of them."""


@dataclass(frozen=True)
class StepReport:
    """Progress within an epoch."""

    epoch: int
    """The epoch, from 1."""
    epochs: int
    """Epochs of the training."""
    step: int
    """Steps of the epoch that are done."""
    steps: int
    """Steps of an epoch."""
    examples: int
    """Examples of the last step."""
    loss: float
    """Mean loss of the examples of the newest step that has been read; NaN before there is one."""
    step_s: float
    """Seconds that the last step took."""
    wait_s: float
    """Seconds of ``step_s`` that the worker waited for its input."""


@dataclass(frozen=True)
class EpochReport:
    """Results of one epoch."""

    epoch: int
    """The epoch, from 1."""
    epochs: int
    """Epochs of the training."""
    loss: float
    """Mean loss of a training example, summed over the heads."""
    val_loss: float
    """Mean loss of a validation example, summed over the heads."""
    val_accuracy: float
    """Mean accuracy of the choices."""
    val_error: float
    """Mean absolute error of the ranges."""
    examples_per_s: float
    """Training examples per second, over all workers."""
    input_wait: float
    """Share of the time that the worker waited for its input, from 0 to 1."""
    step_s: float = 0.0
    """Mean seconds of a step."""

    def line(self) -> str:
        """Return one line for a terminal or a log."""
        return (
            f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {self.loss:.4f}  "
            f"val_loss {self.val_loss:.4f}  val_accuracy {self.val_accuracy:.4f}  val_error {self.val_error:.4f}  "
            f"{self.examples_per_s:,.0f} examples/s"
        )
