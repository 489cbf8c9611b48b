"""How far a training is, on standard error: a moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import sys
import time

from synthray.progress import duration
from synthray.train.reports import StepReport

_BAR_COLUMNS = 24
# An epoch that is shorter than this has a line of its own soon enough.
_SECONDS_BETWEEN_LINES = 30.0


class Display:
    """Shows where a training is, and keeps out of the way of the lines that stay."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown: StepReport | None = None
        self._epoch: StepReport | None = None
        self._epoch_s = self._told_s = time.monotonic()

    def show(self, now: StepReport | None) -> None:
        """Where it is; may be called as often as one likes."""
        if now is None or now == self._shown:
            return
        here_s = time.monotonic()
        if self._epoch is None or now.epoch != self._epoch.epoch or now.step < self._epoch.step:
            self._epoch, self._epoch_s = now, here_s
        self._shown = now
        if self._terminal:
            sys.stderr.write(f"\r{self._text(now, here_s)}\x1b[K")
        elif here_s - self._told_s > _SECONDS_BETWEEN_LINES:
            sys.stderr.write(f"{self._text(now, here_s)}\n")
        else:
            return
        self._told_s = here_s
        sys.stderr.flush()

    def line(self, text: str) -> None:
        """A line that stays, on standard output."""
        self.clear()
        self._told_s = time.monotonic()
        print(text, flush=True)

    def clear(self) -> None:
        """Take the moving line away."""
        if self._terminal and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _text(self, now: StepReport, here_s: float) -> str:
        done = _BAR_COLUMNS * now.step // now.steps
        text = f"epoch {now.epoch}/{now.epochs} [{'#' * done}{'.' * (_BAR_COLUMNS - done)}] step {now.step}/{now.steps}"
        text += f"  loss {now.loss:.4f}" if math.isfinite(now.loss) else ""  # the first step's is not known yet
        steps, spent_s = now.step - self._epoch.step, here_s - self._epoch_s
        if steps and spent_s:
            pace = steps / spent_s
            text += f"  {pace * now.examples:,.0f} examples/s  {duration((now.steps - now.step) / pace)} left"
        return text
