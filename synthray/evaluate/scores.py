"""Scores per parameter, as sums that add up however the examples are cut into parts. NumPy only.

A choice scores by accuracy (higher is better), a range by mean absolute error of its position in [0, 1] (lower is
better). Beside each stands its baseline on the same examples: always the data set's mean, or its commonest class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthray.errors import DataError
from synthray.synth.parameters import Choice, ParameterTable


@dataclass(frozen=True)
class Sums:
    """What a part of the examples adds: ``rows``, and for each learned parameter, float64 ``(learned,)``:

    hits or absolute errors of the model (``model``) and of the guess (``baseline``).
    """

    rows: int
    model: np.ndarray
    baseline: np.ndarray

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows, self.model + other.model, self.baseline + other.baseline)

    @classmethod
    def zero(cls, table: ParameterTable) -> Sums:
        """The sums of no examples at all."""
        return cls(0, np.zeros(len(table.learned)), np.zeros(len(table.learned)))


@dataclass(frozen=True)
class Score:
    """One parameter's line: accuracy of a choice or mean absolute error of a range, and the baseline's."""

    name: str
    kind: str
    value: float
    baseline: float

    @property
    def is_better(self) -> bool:
        """Whether the model beats the guess."""
        return self.value > self.baseline if self.kind == Choice.kind else self.value < self.baseline


def constant_guess(table: ParameterTable, statistics: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """What the baseline always says, labels float64 ``(learned,)``: the mean of a range, a choice's commonest class.

    Args:
        table: the data set's.
        statistics: its manifest's, for each learned parameter ``{"mean": …}`` or ``{"counts": {value: count}}``.

    Raises:
        DataError: a parameter has no statistics.
    """
    guess = np.empty(len(table.learned))
    for column, parameter in enumerate(table.learned):
        try:
            found = statistics[parameter.name]
            if isinstance(parameter, Choice):
                guess[column] = np.argmax([found["counts"].get(value, 0) for value in parameter.values])
            else:
                guess[column] = found["mean"]
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"the data set's manifest has no statistics of {parameter.name!r}") from None
    return guess


def sum_scores(table: ParameterTable, truth: np.ndarray, predicted: np.ndarray, guess: np.ndarray) -> Sums:
    """Sums over one part of the examples.

    Args:
        table: whose learned parameters are the columns.
        truth: labels ``(examples, learned)``.
        predicted: labels ``(examples, learned)`` that the model gave.
        guess: labels ``(learned,)`` of the baseline.

    Raises:
        DataError: the shapes do not fit together.
    """
    shape = (len(truth), len(table.learned))
    if truth.shape != shape or predicted.shape != shape or guess.shape != shape[1:]:
        raise DataError(f"labels {truth.shape}, predicted {predicted.shape}, guess {guess.shape} do not fit {shape}")
    is_choice = np.array([isinstance(parameter, Choice) for parameter in table.learned])
    truth = truth.astype(np.float64)

    def total(answer: np.ndarray) -> np.ndarray:
        return np.where(is_choice, truth == answer, np.abs(truth - answer)).sum(axis=0)

    return Sums(len(truth), total(predicted.astype(np.float64)), total(guess))


def scores(table: ParameterTable, sums: Sums) -> tuple[Score, ...]:
    """The means, in the table's order; raises DataError when there was no example."""
    if sums.rows == 0:
        raise DataError("there is no example to score")
    model, baseline = sums.model / sums.rows, sums.baseline / sums.rows
    return tuple(
        Score(parameter.name, parameter.kind, float(model[column]), float(baseline[column]))
        for column, parameter in enumerate(table.learned)
    )
