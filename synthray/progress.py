"""Progress on stderr: a moving line on a terminal, a line every few seconds in a log. Results are not printed here."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

PROCESS_STARTED_S = time.monotonic()
"""Time of the first import of this module, at the start of each command. On this machine's monotonic clock."""

_TERMINAL_INTERVAL_S = 0.1
_LOG_INTERVAL_S = 5.0
_SILENT_S = 60.0
# The first items also pay for starting up, so their rate is too low for an estimate.
_MIN_SHARE_FOR_ESTIMATE = 0.15


class StatusLine:
    """One line on stderr: replaced on a terminal, printed at intervals in a log."""

    def __init__(self, log_interval_s: float = _LOG_INTERVAL_S) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._is_terminal else log_interval_s
        self._text = ""
        self.restart_interval()

    @property
    def is_due(self) -> bool:
        """Return whether the interval since the last text is over."""
        return time.monotonic() - self._shown_s > self._interval_s

    def show(self, text: str) -> None:
        """Show a new text: at once on a terminal, and in a log only when it is due."""
        if text != self._text and (self._is_terminal or self.is_due):
            self._write(f"\r{text}\x1b[K" if self._is_terminal else f"{text}\n")
            self._text = text
            self.restart_interval()

    def finish(self, text: str) -> None:
        """Show a last text, which stays."""
        self._write(f"\r{text}\x1b[K\n" if self._is_terminal else f"{text}\n")
        self._text = ""

    def clear(self) -> None:
        """Remove the text from a terminal."""
        if self._is_terminal and self._text:
            self._write("\r\x1b[K")
            self._text = ""

    def leave(self) -> None:
        """Keep the text on a terminal and continue below it."""
        if self._is_terminal and self._text:
            self._write("\n")
            self._text = ""

    def restart_interval(self) -> None:
        """Count the interval from now on."""
        self._shown_s = time.monotonic()

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Progress:
    """A counter up to ``total`` that shows count, rate and remaining time.

    If nothing is counted for a minute, a thread reports that, so that the work does not seem to hang.

    >>> with Progress("converting", 3500, "batches") as progress:
    ...     progress.advance(32)
    """

    def __init__(self, activity: str, total: int, unit: str) -> None:
        self.activity, self.total, self.unit = activity, total, unit
        self.done = 0
        self._line = StatusLine()
        self._started_s = self._counted_s = time.monotonic()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="progress")

    def __enter__(self) -> Progress:
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._watcher.join()
        if kind is None:
            self._line.finish(f"{self._count()} in {duration(self._elapsed_s())}")
        else:
            self._line.leave()

    def advance(self, count: int = 1) -> None:
        """Add ``count`` and show the progress when it is due."""
        self.done += count
        self._counted_s = time.monotonic()
        if self._line.is_due:
            self._line.show(self._count() + self._estimate())

    def _watch(self) -> None:
        while not self._ended.wait(_SILENT_S / 4):
            silences = int((time.monotonic() - self._counted_s) / _SILENT_S)
            if silences:
                waited = f"none finished for {duration(silences * _SILENT_S)}"
                self._line.show(f"{self._count()}, {waited}. Storage may be slow, or no CPU is free.")

    def _count(self) -> str:
        return f"{self.activity}: {self.done:,} of {self.total:,} {self.unit}"

    def _estimate(self) -> str:
        if not self.done or self.done < self.total * _MIN_SHARE_FOR_ESTIMATE:
            return ""
        rate = self.done / self._elapsed_s()
        return f", {rate:,.1f}/s, {duration((self.total - self.done) / rate)} left"

    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._started_s, 1e-9)


def duration(seconds: float) -> str:
    """Return a duration as text: ``4.2 s``, ``3 min 05 s`` or ``2 h 00 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
