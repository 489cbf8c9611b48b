"""An evaluation as a text table and as JSON.

Scores are computed in ``scores.py``, distances in ``synthray.match.distance``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synthray.evaluate.scores import Score
from synthray.synth.parameters import Choice, Range

FORMAT = "synthray-evaluation/1"


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on examples of a data set."""

    model: str
    data: str
    """URI of the data set."""
    data_digest: str
    examples: str
    """``"holdout"`` for the examples that the model was not trained on, else ``"all"``."""
    rows: int
    scores: tuple[Score, ...]
    distance: dict[str, Any] | None = None
    """``Distances.to_json()``, for models of synthray's own instrument."""

    def mean(self, kind: str) -> Score | None:
        """Return the mean over all parameters of a kind, or None if there are none."""
        found = [score for score in self.scores if score.kind == kind]
        if not found:
            return None
        value = sum(score.value for score in found) / len(found)
        baseline = sum(score.baseline for score in found) / len(found)
        return Score(f"mean of {len(found)}", kind, value, baseline)

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
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
        """Return an aligned table: one line per parameter, then the means."""
        means = [mean for kind in (Choice.kind, Range.kind) if (mean := self.mean(kind))]
        header = ("parameter", "measure", "model", "baseline", "")
        rows = [header, *map(_cells, self.scores), ("",) * len(header), *map(_cells, means)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        origin = {"holdout": "not used for training", "all": "all examples, possibly used for training"}
        title = f"{self.model} on {self.rows} examples of {self.data} ({origin[self.examples]})"
        lines = [title, "", *(_align(row, widths) for row in rows)]
        if self.distance:
            predicted_db, random_db = self.distance["predicted_db"], self.distance["random_db"]
            presets = f"{predicted_db:.2f} dB for predicted presets, {random_db:.2f} dB for random presets"
            lines += ["", f"log-spectral distance: {presets} ({self.distance['sounds']} sounds)"]
        return "\n".join(lines)


def measure(kind: str) -> str:
    """Return the name of the score of a kind of parameter."""
    return "accuracy" if kind == Choice.kind else "error"


def _cells(score: Score) -> tuple[str, ...]:
    mark = "better" if score.is_better else "-"
    return score.name, measure(score.kind), f"{score.value:.3f}", f"{score.baseline:.3f}", mark


def _align(row: tuple[str, ...], widths: list[int]) -> str:
    sides = (str.ljust, str.ljust, str.rjust, str.rjust, str.ljust)
    return "  ".join(pad(cell, width) for pad, cell, width in zip(sides, row, widths, strict=True)).rstrip()
