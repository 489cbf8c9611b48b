"""Tracking of running trials: collects their epochs and writes each result. ``cluster/tuning`` sends events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from synthray.tune.results import FINISHED, STOPPED, UNFINISHED, SearchFolder, Trial, varied_settings

_LOG_INTERVAL_S = 30.0


@dataclass(frozen=True)
class TrialEvent:
    """A finished epoch of a trial, or its end."""

    number: int
    """Index of the trial."""
    report: dict[str, Any] | None = None
    """Report of the epoch; None for the end."""
    ended: str = ""
    """Outcome of the trial."""
    reason: str = ""
    """Reason of a failure."""
    seconds: float = 0.0
    """Computing time of the trial."""


class ResultTracker:
    """The results of the running trials. Writes and logs each one when its trial ends."""

    def __init__(
        self, trials: list[Trial], folder: SearchFolder, log: Callable[[str], None], deadline_s: float
    ) -> None:
        self._trials, self._folder, self._log, self._deadline_s = trials, folder, log, deadline_s
        self._histories: dict[int, dict[int, dict[str, Any]]] = {}
        self._varied = varied_settings(trials)
        self._logged_s = time.monotonic()
        self.count = 0

    def take_all(self, events: deque[TrialEvent]) -> None:
        """Handle all queued events."""
        while events:
            event = events.popleft()
            if event.report:
                # by epoch, because a restarted trial reports its first epochs again
                self._histories.setdefault(event.number, {})[event.report["epoch"]] = event.report
            else:
                self._end(event)

    def _end(self, event: TrialEvent) -> None:
        history = list(self._histories.pop(event.number, {}).values())
        ended, reason = event.ended, event.reason
        if ended == STOPPED and len(history) == self._trials[event.number].settings["epochs"]:
            ended = FINISHED
        elif ended == STOPPED and time.monotonic() > self._deadline_s:
            ended, reason = UNFINISHED, "the time limit was reached"
            if not history:
                return
        trial = replace(self._trials[event.number], history=history, ended=ended, reason=reason, seconds=event.seconds)
        self._folder.add(trial)
        self.count += 1
        total = len(self._trials)
        settings = "  ".join(f"{name} {trial.settings[name]}" for name in self._varied)
        self._write(f"trial {event.number + 1:>{len(str(total))}}/{total}  {trial.line()}  {settings}")

    def log_if_silent(self) -> None:
        """Log the running trials if nothing was logged for ``_LOG_INTERVAL_S``."""
        if time.monotonic() - self._logged_s > _LOG_INTERVAL_S:
            running = ", ".join(f"trial {number + 1} epoch {len(h)}" for number, h in sorted(self._histories.items()))
            self._write(f"running: {running or 'waiting for free resources or for the first epoch'}")

    def _write(self, line: str) -> None:
        self._log(line)
        self._logged_s = time.monotonic()
