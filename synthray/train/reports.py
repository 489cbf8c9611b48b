"""What a training says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """Where a training is: ``step`` of ``steps`` of an epoch are done, with this mean loss of the last one's examples.

    step_s, wait_s: how long the step took, and of that how long it waited for its input.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    examples: int
    loss: float
    step_s: float
    wait_s: float


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to. Losses are sums over the heads; accuracy and error are means over the parameters.

    input_wait: the share of the time that was spent waiting for input. step_s: mean seconds of a step.
    """

    epoch: int
    epochs: int
    loss: float
    val_loss: float
    val_accuracy: float
    val_error: float
    examples_per_s: float
    input_wait: float
    step_s: float = 0.0

    def line(self) -> str:
        """For people."""
        return (
            f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {self.loss:.4f}  "
            f"val_loss {self.val_loss:.4f}  val_accuracy {self.val_accuracy:.4f}  val_error {self.val_error:.4f}  "
            f"{self.examples_per_s:,.0f} examples/s"
        )
