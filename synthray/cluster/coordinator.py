"""The actor through which the workers of a training report to the driver. It does not train and starts no workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from synthray.errors import SynthrayError, TrainingError

if TYPE_CHECKING:
    from synthray.train.reports import StepReport

_UNKNOWN_CAUSE = "a worker exited without an error (killed, out of memory, or node lost)"


@dataclass
class RunStatus:
    """The workers' reports since the driver's previous request."""

    lines: list[str] = field(default_factory=list)
    """Log lines, each of which is returned once."""
    now: StepReport | None = None
    """The newest step."""
    saved: str = ""
    """URI of the saved model."""
    stopped: str = ""
    """The point at which the training stopped on request."""
    failure: SynthrayError | None = None
    """An error that a retry would not fix."""


class RunCoordinator:
    """An actor on the driver's node that collects reports and decides whether lost workers are restarted."""

    def __init__(self, max_failures: int, started_s: float) -> None:
        """Create the coordinator of one training.

        Args:
            max_failures: restarts without progress before the training fails.
            started_s: when the driver's process started, Unix seconds.
        """
        self._max_failures, self._started_s = max_failures, started_s
        self._status, self._stop = RunStatus(), False
        self._starts = self._failures = self._workers = 0
        self._position = (0, 0)
        self._cause = ""

    def register_group(self, workers: int) -> int | None:
        """Return the number of this start, from 0, or None if the group of workers must not train."""
        cause = self._cause or _UNKNOWN_CAUSE
        if self._status.failure:
            return None
        if self._stop:
            self._status.stopped = self._status.stopped or f"stopped without a new checkpoint ({cause})"
            return None
        if self._starts and workers <= self._workers:  # a larger group is a rescale, not a loss
            self._failures += 1
            if self._failures > self._max_failures:
                times = f" {self._max_failures} times in a row" if self._max_failures else ""
                self.fail(TrainingError(f"workers were lost{times} without progress: {cause}"))
                return None
        if self._starts and workers == self._workers:
            self.log(f"{cause}; resuming from the last checkpoint ({self._failures} of {self._max_failures})")
        elif self._starts:
            reason = f"{self._cause}; " if self._cause else ""
            group = f"{workers} worker{'s' if workers > 1 else ''} instead of {self._workers}"
            self.log(f"{reason}resuming from the last checkpoint with {group}")
        self._starts, self._workers, self._cause = self._starts + 1, workers, ""
        return self._starts - 1

    def resumed(self, position: tuple[int, int]) -> None:
        """Record the epoch and step at which the workers start; progress resets the count of failures."""
        if position > self._position:
            self._position, self._failures = position, 0

    def heartbeat(self, now: StepReport | None) -> bool:
        """Record the newest step and return whether the training shall stop."""
        self._status.now = now
        return self._stop

    def first_step(self, phases: list[tuple[str, float]]) -> None:
        """Log the duration of each phase up to the first step.

        Args:
            phases: name and end of each phase in order, Unix seconds.
        """
        spans, before_s = [], self._started_s
        for name, ended_s in phases:
            spans.append(f"{name} {ended_s - before_s:.1f} s")
            before_s = ended_s
        self.log(f"first step after {before_s - self._started_s:.1f} s ({', '.join(spans)})")

    def log(self, line: str) -> None:
        """Add a line to the driver's output."""
        self._status.lines.append(line)

    def saved(self, uri: str) -> None:
        """Record the URI of the saved model."""
        self._status.saved = uri

    def note_failure(self, text: str) -> None:
        """Record why a worker ended. Later reports are ignored because they follow from the first."""
        self._cause = self._cause or text

    def fail(self, error: SynthrayError) -> None:
        """Record an error that a retry would not fix."""
        self._status.failure = self._status.failure or error

    def stop(self) -> bool:
        """Ask the workers to stop and return whether any have started."""
        self._stop = True
        return bool(self._starts)

    def stopped(self, text: str) -> None:
        """Record where the training stopped."""
        self._status.stopped = text

    def drain(self) -> RunStatus:
        """Return the reports since the call before."""
        status, self._status = self._status, replace(self._status, lines=[])
        return status
