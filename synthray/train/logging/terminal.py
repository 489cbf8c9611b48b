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
        self._shown = ""
        self._step: StepReport | None = None
        self._epoch: StepReport | None = None
        self._epoch_s = self._told_s = time.monotonic()

    def reading(self, rows: int, total: int) -> None:
        """How much of the data set is in memory, before there is a step to show."""
        self._show(f"reading {rows:,} of {total:,} examples")

    def show(self, now: StepReport) -> None:
        """Where it is; may be called as often as one likes."""
        here_s = time.monotonic()
        if self._epoch is None or now.epoch != self._epoch.epoch or now.step < self._epoch.step:
            self._epoch, self._epoch_s = now, here_s
        if now != self._step:
            self._step = now
            self._show(self._text(now, here_s))

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
            self._shown = ""

    def _show(self, text: str) -> None:
        now_s = time.monotonic()
        if text == self._shown or (not self._terminal and now_s - self._told_s <= _SECONDS_BETWEEN_LINES):
            return
        sys.stderr.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        sys.stderr.flush()
        self._shown, self._told_s = text, now_s

    def _text(self, now: StepReport, here_s: float) -> str:
        done = _BAR_COLUMNS * now.step // now.steps
        text = f"epoch {now.epoch}/{now.epochs} [{'#' * done}{'.' * (_BAR_COLUMNS - done)}] step {now.step}/{now.steps}"
        text += f"  loss {now.loss:.4f}" if math.isfinite(now.loss) else ""  # the first step's is not known yet
        steps, spent_s = now.step - self._epoch.step, here_s - self._epoch_s
        if steps and spent_s:
            pace = steps / spent_s
            text += f"  {pace * now.examples:,.0f} examples/s  {duration((now.steps - now.step) / pace)} left"
        return text
