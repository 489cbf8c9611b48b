"""What the workers of a training and the job that started them have to say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthray.train.reports import StepReport

_SILENT_DEATH = "a worker died without a word: killed, out of memory, or its machine is gone"


@dataclass(frozen=True)
class RunStatus:
    """News for the job.

    lines: for people. now: where the training is. saved: URI of the model. stopped: where it ended as it was asked to.
    failure: something that another try would not mend, as the name of an error of ours and its message.
    """

    lines: list[str] = field(default_factory=list)
    begun: bool = False
    now: StepReport | None = None
    saved: str = ""
    stopped: str = ""
    failure: tuple[str, str] | None = None


class RunCoordinator:
    """An actor, kept with the job. It also decides whether the workers are to be started once more.

    max_failures: how often they are started again without getting further than before. started_s: Unix seconds.
    """

    def __init__(self, max_failures: int, started_s: float) -> None:
        self._max_failures, self._started_s = max_failures, started_s
        self._lines: list[str] = []
        self._now: StepReport | None = None
        self._saved = self._stopped = ""
        self._failure: tuple[str, str] | None = None
        self._stop = False
        self._starts = self._failures = self._workers = 0
        self._position = (0, 0)
        self._trouble = ""

    def register_group(self, workers: int) -> int | None:
        """A group of so many workers is about to work; which start this is, from 0, or None: it shall not."""
        trouble = self._trouble or _SILENT_DEATH
        if self._failure:
            return None
        if self._stop:
            self._stopped = self._stopped or f"stopped without a checkpoint of that moment ({trouble})"
            return None
        if self._starts and workers <= self._workers:  # more of them are no loss
            self._failures += 1
            if self._failures > self._max_failures:
                again = f" {self._max_failures} times in a row" if self._max_failures else ""
                self.fail("TrainingError", f"the workers were lost{again} without getting further: {trouble}")
                return None
        if self._starts and workers == self._workers:
            self.log(f"{trouble}; going on from the last checkpoint ({self._failures} of {self._max_failures})")
        elif self._starts:
            why = f"{self._trouble}; " if self._trouble else ""
            self.log(f"{why}going on from the last checkpoint with {workers} workers, {self._workers} before")
        self._starts, self._workers, self._trouble = self._starts + 1, workers, ""
        return self._starts - 1

    def resumed(self, position: tuple[int, int]) -> None:
        """Epoch and step that the workers go on from: past where they did before, so the failures so far are over."""
        if position > self._position:
            self._position, self._failures = position, 0

    def heartbeat(self, now: StepReport | None) -> bool:
        """Where the training is; whether it is to stop."""
        self._now = now
        return self._stop

    def first_step(self, marks: list[tuple[str, float]]) -> None:
        """When what was done on the way to the first step was done, Unix seconds."""
        spans, before_s = [], self._started_s
        for name, done_s in marks:
            spans.append(f"{name} {done_s - before_s:.1f} s")
            before_s = done_s
        self.log(f"first step after {before_s - self._started_s:.1f} s ({', '.join(spans)})")

    def log(self, line: str) -> None:
        self._lines.append(line)

    def saved(self, uri: str) -> None:
        self._saved = uri

    def note_failure(self, text: str) -> None:
        """Why a worker ended; the first to say so knows best."""
        self._trouble = self._trouble or text

    def fail(self, kind: str, text: str) -> None:
        """Something that another try would not mend: the name of an error of ours, and its message."""
        self._failure = self._failure or (kind, text)

    def stop(self) -> bool:
        """Ask the workers to stop; whether there are any that could."""
        self._stop = True
        return bool(self._starts)

    def stopped(self, text: str) -> None:
        self._stopped = text

    def drain(self) -> RunStatus:
        """The news; lines are told once."""
        lines, self._lines = self._lines, []
        return RunStatus(lines, bool(self._starts), self._now, self._saved, self._stopped, self._failure)
