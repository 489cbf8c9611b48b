"""The actor through which the workers of a training report to the driver. It does not train and starts no workers."""

from __future__ import annotations

import time
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
    started: bool = False
    """True once workers have started."""
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
            started_s: when the driver's process started, on this machine's monotonic clock.
        """
        self._max_failures, self._started_s = max_failures, started_s
        self._status, self._stop = RunStatus(), False
        self._starts = self._failures = self._workers = 0
        self._position, self._until_workers_s = (0, 0), 0.0
        self._leaving = False  # a node announced its end, and the workers shall write a checkpoint
        self._causes: list[str] = []  # these three lists are in the order of the reports
        self._deaths: list[str] = []
        self._consequences: list[str] = []

    def register_group(self, workers: int) -> int | None:
        """Return the number of this start, from 0, or None if the group of workers must not train."""
        cause, leaving = self._cause(), self._leaving
        self._leaving = False
        if self._status.failure:
            return None
        if self._stop:
            self._status.stopped = (
                self._status.stopped or f"stopped without a new checkpoint ({cause or _UNKNOWN_CAUSE})"
            )
            return None
        if self._starts and workers <= self._workers and not leaving:  # a larger group is a rescale, not a loss
            self._failures += 1
            if self._failures > self._max_failures:
                times = f" {self._max_failures} times in a row" if self._max_failures else ""
                self.fail(TrainingError(f"workers were lost{times} without progress: {cause or _UNKNOWN_CAUSE}"))
                return None
        if self._starts:
            self._log_restart(workers, "" if leaving else cause, counts=not leaving)
        else:
            self._until_workers_s = time.monotonic() - self._started_s
        for reports in (self._causes, self._deaths, self._consequences):
            reports.clear()
        self._starts, self._workers, self._status.started = self._starts + 1, workers, True
        return self._starts - 1

    def _cause(self) -> str:
        """Return why the workers ended; '' if there was no report."""
        return next(iter([*self._causes, *self._deaths, *self._consequences]), "")

    def _log_restart(self, workers: int, cause: str, *, counts: bool) -> None:
        text = "resuming from the last checkpoint"
        if workers != self._workers:
            text += f" with {workers} worker{'s' if workers > 1 else ''} instead of {self._workers}"
        elif counts:
            cause = cause or _UNKNOWN_CAUSE
            text += f" ({self._failures} of {self._max_failures})"
        self.log(f"{cause}; {text}" if cause else text)

    def resumed(self, position: tuple[int, int]) -> None:
        """Record the epoch and step at which the workers start; progress resets the count of failures."""
        if position > self._position:
            self._position, self._failures = position, 0

    def heartbeat(self, now: StepReport | None) -> bool:
        """Record the newest step and return whether the workers shall stop with a checkpoint."""
        self._status.now = now
        return self._stop or self._leaving

    def first_step(self, phases: list[tuple[str, float]]) -> None:
        """Log the duration of each phase up to the first step.

        Args:
            phases: name and seconds of each phase of the chief worker, in order.
        """
        phases = [("workers", self._until_workers_s), *phases]
        spans = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases)
        self.log(f"first step after {sum(seconds for _, seconds in phases):.1f} s ({spans})")

    def log(self, line: str) -> None:
        """Add a line to the driver's output."""
        self._status.lines.append(line)

    def saved(self, uri: str) -> None:
        """Record the URI of the saved model."""
        self._status.saved = uri

    def note_failure(self, text: str, *, is_maybe_consequence: bool = False) -> None:
        """Record the reason for its end that a worker reported itself.

        Args:
            text: the reason.
            is_maybe_consequence: the end of another worker, which only Ray sees, may have caused the error.
        """
        (self._consequences if is_maybe_consequence else self._causes).append(text)

    def note_death(self, text: str) -> None:
        """Record the reason for the loss of a worker's process that Ray reported."""
        self._deaths.append(text)

    def node_ends(self, ranks: list[int]) -> None:
        """Let the workers write a checkpoint and start again, because the node of some of them announced its end."""
        self._leaving = True
        names = ", ".join(map(str, ranks))
        self.log(f"the node of worker {names} will shut down; writing a checkpoint to continue on another node")

    def fail(self, error: SynthrayError) -> None:
        """Record an error that a retry would not fix."""
        self._status.failure = self._status.failure or error

    def stop(self) -> bool:
        """Ask the workers to stop and return whether any have started."""
        self._stop = True
        return bool(self._starts)

    def stopped(self, text: str) -> bool:
        """Record where the workers stopped and return whether the training ends there."""
        if self._stop:
            self._status.stopped = text
        return self._stop

    def drain(self) -> RunStatus:
        """Return the reports since the previous call."""
        status, self._status = self._status, replace(self._status, lines=[])
        return status
