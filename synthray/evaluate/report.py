"""An evaluation as a table for a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synthray.evaluate.scores import Score
from synthray.synth.parameters import Choice, Range

FORMAT = "synthray-evaluation/1"
BETTER, NOT_BETTER = "better", "-"


@dataclass(frozen=True)
class Evaluation:
    """What was scored, on which examples, and how it went.

    examples: ``"holdout"`` when only those that the model did not see in training, else ``"all"``.
    distance: optional, see ``listen.py``: how far the predicted settings' sounds are from the originals.
    """

    model: str
    data: str
    data_digest: str
    examples: str
    rows: int
    scores: tuple[Score, ...]
    distance: dict[str, Any] | None = None

    def mean(self, kind: str) -> Score | None:
        """The mean over all parameters of one kind (``range`` or ``choice``); None where there is none."""
        found = [score for score in self.scores if score.kind == kind]
        if not found:
            return None
        value = sum(score.value for score in found) / len(found)
        baseline = sum(score.baseline for score in found) / len(found)
        return Score(f"mean of {len(found)}", kind, value, baseline)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        means = {kind: mean for kind in (Choice.kind, Range.kind) if (mean := self.mean(kind))}
        return {
            "format": FORMAT,
            "model": self.model,
            "data": {"uri": self.data, "digest": self.data_digest, "examples": self.examples, "rows": self.rows},
            "mean": {kind: {"value": mean.value, "baseline": mean.baseline} for kind, mean in means.items()},
            "parameters": [
                {**asdict(score), "measure": measure(score.kind), "better": score.is_better} for score in self.scores
            ],
            **({"distance": self.distance} if self.distance else {}),
        }

    def to_text(self) -> str:
        """A table, aligned: one line a parameter, then the means."""
        means = [mean for kind in (Choice.kind, Range.kind) if (mean := self.mean(kind))]
        header = ("parameter", "measure", "model", "baseline", "")
        rows = [header, *map(_cells, self.scores), ("",) * 5, *map(_cells, means)]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [_align(row, widths) for row in rows]
        return "\n".join([f"{self.model} on {self._examples_in_words()}", "", *lines, *self._distance_in_words()])

    def _examples_in_words(self) -> str:
        seen = {"holdout": "that it was not trained on", "all": "(all; it may have been trained on some of them)"}
        return f"{self.rows} examples of {self.data} {seen[self.examples]}"

    def _distance_in_words(self) -> list[str]:
        if not self.distance:
            return []
        found = self.distance
        return [
            "",
            f"distance of the sounds: {found['predicted_db']:.2f} dB predicted, {found['random_db']:.2f} dB random "
            f"preset ({found['sounds']} sounds)",
        ]


def measure(kind: str) -> str:
    """What the number of a parameter of this kind is."""
    return "accuracy" if kind == Choice.kind else "error"


def _cells(score: Score) -> tuple[str, ...]:
    mark = BETTER if score.is_better else NOT_BETTER
    return score.name, measure(score.kind), f"{score.value:.3f}", f"{score.baseline:.3f}", mark


def _align(row: tuple[str, ...], widths: list[int]) -> str:
    name, kind, value, baseline, mark = row
    cells = (name.ljust(widths[0]), kind.ljust(widths[1]), value.rjust(widths[2]), baseline.rjust(widths[3]), mark)
    return "  ".join(cells).rstrip()
