"""Training progress on the terminal: formats step reports. The status line itself is in ``synthray.progress``."""

from __future__ import annotations

import math
import time

from synthray.progress import StatusLine, duration
from synthray.train.reports import StepReport

_BAR_COLUMNS = 24
# Longer than for other commands: each epoch has a line of its own.
_LOG_INTERVAL_S = 30.0


class Display:
    """The progress of a training on stderr, and its lasting lines on stdout."""

    def __init__(self) -> None:
        self._status = StatusLine(_LOG_INTERVAL_S)
        self._last: StepReport | None = None
        self._epoch_start: StepReport | None = None
        self._epoch_start_s = time.monotonic()

    def reading(self, rows: int, total: int) -> None:
        """Show how many examples are in memory, before the first step."""
        self._status.show(f"reading {rows:,} of {total:,} examples")

    def show(self, step: StepReport) -> None:
        """Show the newest step. May be called again with the same step."""
        now_s = time.monotonic()
        start = self._epoch_start
        if start is None or step.epoch != start.epoch or step.step < start.step:
            start = self._epoch_start = step
            self._epoch_start_s = now_s
        if step != self._last:
            self._last = step
            self._status.show(_format(step, step.step - start.step, now_s - self._epoch_start_s))

    def line(self, text: str) -> None:
        """Print a lasting line on stdout."""
        self.clear()
        self._status.restart_interval()
        print(text, flush=True)

    def clear(self) -> None:
        """Remove the status line from a terminal."""
        self._status.clear()


def _format(step: StepReport, steps_done: int, elapsed_s: float) -> str:
    """Return epoch, bar, loss and the rate since the first step of the epoch."""
    filled = _BAR_COLUMNS * step.step // step.steps
    bar = f"{'#' * filled}{'.' * (_BAR_COLUMNS - filled)}"
    text = f"epoch {step.epoch}/{step.epochs} [{bar}] step {step.step}/{step.steps}"
    if math.isfinite(step.loss):  # the loss of the first step is not known yet
        text += f"  loss {step.loss:.4f}"
    if steps_done and elapsed_s:
        steps_per_s = steps_done / elapsed_s
        left_s = (step.steps - step.step) / steps_per_s
        text += f"  {steps_per_s * step.examples:,.0f} examples/s  {duration(left_s)} left"
    return text
