"""Scores per parameter, from sums that do not depend on the split of examples.

A choice scores by accuracy (higher is better). A range scores by the mean absolute error of its position in [0, 1]
(lower is better). The baseline always predicts the data set's mean or its most common class.
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
    """Sums over examples: hits of choices, absolute errors of ranges."""

    rows: int
    model: np.ndarray
    """Sums of the model, float64 ``(learned,)``."""
    baseline: np.ndarray
    """Sums of the baseline, float64 ``(learned,)``."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows, self.model + other.model, self.baseline + other.baseline)

    @classmethod
    def zero(cls, table: ParameterTable) -> Sums:
        """Return the sums over no examples."""
        return cls(0, np.zeros(len(table.learned)), np.zeros(len(table.learned)))


@dataclass(frozen=True)
class Score:
    """The score of one parameter."""

    name: str
    kind: str
    value: float
    """Accuracy of a choice, mean absolute error of a range."""
    baseline: float
    """Score of the baseline on the same examples."""

    @property
    def is_better(self) -> bool:
        """True if the model beats the baseline."""
        return self.value > self.baseline if self.kind == Choice.kind else self.value < self.baseline


def constant_guess(table: ParameterTable, statistics: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """Return the baseline's labels, float64 ``(learned,)``.

    They are the mean of a range and the most common class of a choice.

    Args:
        table: of the data set.
        statistics: of its manifest. For each learned parameter ``{"mean": …}`` or ``{"counts": {value: count}}``.

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
    """Return the sums over one part of the examples.

    Args:
        table: whose learned parameters are the columns.
        truth: labels ``(examples, learned)``.
        predicted: labels of the model, ``(examples, learned)``.
        guess: labels of the baseline, ``(learned,)``.

    Raises:
        DataError: the shapes do not match.
    """
    shape = (len(truth), len(table.learned))
    if truth.shape != shape or predicted.shape != shape or guess.shape != shape[1:]:
        raise DataError(
            f"labels {truth.shape}, predicted {predicted.shape} and guess {guess.shape} do not match {shape}"
        )
    is_choice = np.array([isinstance(parameter, Choice) for parameter in table.learned])
    truth = truth.astype(np.float64)

    def total(labels: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(is_choice, truth == labels, np.abs(truth - labels)).sum(axis=0))

    return Sums(len(truth), total(predicted.astype(np.float64)), total(guess))


def scores(table: ParameterTable, sums: Sums) -> tuple[Score, ...]:
    """Return the mean scores, in the table's order.

    Raises:
        DataError: there are no examples.
    """
    if sums.rows == 0:
        raise DataError("there are no examples to score")
    model, baseline = sums.model / sums.rows, sums.baseline / sums.rows
    return tuple(
        Score(parameter.name, parameter.kind, float(model[column]), float(baseline[column]))
        for column, parameter in enumerate(table.learned)
    )
