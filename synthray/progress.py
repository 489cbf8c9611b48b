"""Progress of long work on standard error: a moving line on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

PROCESS_STARTED_S = time.time()
"""When this module was first imported, which every command does at its start. Unix seconds."""

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.1
_SHARE_THAT_TELLS = 0.15


class Progress:
    """Counts up to ``total`` and tells how far it is, how fast, and how long it will still take.

    >>> with Progress("converting", 3500, "batches") as progress:
    ...     progress.advance(32)
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self._terminal = sys.stderr.isatty()
        self._started_s = self._told_s = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            self._tell(last=True)
        elif self._terminal:
            sys.stderr.write("\n")

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more, and tell it when it is time to."""
        self.done += count
        pause_s = _SECONDS_BETWEEN_UPDATES if self._terminal else _SECONDS_BETWEEN_LINES
        if time.monotonic() - self._told_s >= pause_s:
            self._tell()

    def _tell(self, *, last: bool = False) -> None:
        now_s = time.monotonic()
        spent_s = max(now_s - self._started_s, 1e-9)
        rate = self.done / spent_s
        text = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}"
        if last:
            text += f" in {duration(spent_s)}"
        elif self.done and self.done >= self.total * _SHARE_THAT_TELLS:  # what comes first also pays for starting up
            text += f", {rate:,.1f}/s, {duration((self.total - self.done) / rate)} left"
        ending = "\n" if last or not self._terminal else ""
        sys.stderr.write(f"\r{text}\x1b[K{ending}" if self._terminal else f"{text}\n")
        sys.stderr.flush()
        self._told_s = now_s


def duration(seconds: float) -> str:
    """For people: ``4.2 s``, ``3 min 05 s``, ``2 h 00 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
