"""Scores per parameter, from sums that do not depend on the split of examples.

A choice scores by accuracy (higher is better). A range scores by the mean absolute error of its position in [0, 1]
(lower is better). Both are over all sounds, and over the sounds in which the parameter can be heard. Chance is the
answer that always predicts the data set's mean or its most common class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.errors import DataError
from synthray.evaluate.bootstrap import REPLICATES, Estimate, estimate, row_weights
from synthray.synth.parameters import Choice, ParameterTable

BLOCK_ROWS = 1024
"""Rows that are summed together, to bound the memory of their weights."""


@dataclass(frozen=True)
class Sums:
    """Sums over examples of several answers: hits of choices, absolute errors of ranges.

    Along the axis of replicates, the plain sum comes first, then the sums weighted by ``bootstrap.row_weights``.
    """

    over_all: npt.NDArray[np.float64]
    """``(answers, 1 + replicates, learned)``."""
    where_audible: npt.NDArray[np.float64]
    """``(answers, 1 + replicates, learned)``, of the examples in which a parameter can be heard."""
    rows: npt.NDArray[np.float64]
    """Weights ``(1 + replicates,)`` of the examples."""
    audible_rows: npt.NDArray[np.float64]
    """Weights ``(1 + replicates, learned)`` of the examples in which a parameter can be heard."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.over_all + other.over_all,
            self.where_audible + other.where_audible,
            self.rows + other.rows,
            self.audible_rows + other.audible_rows,
        )

    @classmethod
    def zero(cls, table: ParameterTable, answers: int) -> Sums:
        """Return the sums over no examples."""
        shape = (1 + REPLICATES, len(table.learned))
        totals = np.zeros((answers, *shape))
        return cls(totals, totals, np.zeros(shape[0]), np.zeros(shape))


@dataclass(frozen=True)
class Score:
    """The score of one parameter, or a mean over parameters."""

    name: str
    kind: str
    over_all: Estimate
    """Accuracy of a choice, mean absolute error of a range."""
    where_audible: Estimate | None
    """The same over the examples in which the parameter can be heard; None if there are none."""

    @property
    def main(self) -> Estimate:
        """The score where the parameter can be heard, or over all examples if there are none."""
        return self.where_audible or self.over_all

    def beats(self, chance: Score) -> bool:
        """Return whether the whole ``where_audible`` interval is better than the value of ``chance``."""
        if self.where_audible is None or chance.where_audible is None:
            return False
        limit = chance.where_audible.value
        return self.where_audible.low > limit if self.kind == Choice.kind else self.where_audible.high < limit


def constant_guess(table: ParameterTable, statistics: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """Return the labels that chance predicts, float64 ``(learned,)``.

    They are the mean of a range and the most common class of a choice.

    Args:
        table: the data set's parameters.
        statistics: from its manifest. For each learned parameter ``{"mean": …}`` or ``{"counts": {value: count}}``.

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


def sum_scores(
    table: ParameterTable, first_row: int, truth: np.ndarray, answers: np.ndarray, audible: np.ndarray
) -> Sums:
    """Return the sums over consecutive examples.

    Args:
        table: its learned parameters are the columns of the labels.
        first_row: number of the first example in the data set.
        truth: labels ``(examples, learned)``.
        answers: labels ``(answers, examples, learned)``.
        audible: bool ``(examples, learned)``, whether a parameter can be heard.

    Raises:
        DataError: the shapes do not match.
    """
    shape = (len(truth), len(table.learned))
    if truth.shape != shape or answers.shape[1:] != shape or audible.shape != shape:
        raise DataError(f"labels {truth.shape}, answers {answers.shape} and audible {audible.shape} do not fit {shape}")
    is_choice = np.array([isinstance(parameter, Choice) for parameter in table.learned])
    truth, answers = truth.astype(np.float64), answers.astype(np.float64)
    results = np.where(is_choice, truth == answers, np.abs(truth - answers))
    sums = Sums.zero(table, len(answers))
    for start in range(0, len(truth), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        heard = audible[rows].astype(np.float64)
        weights = row_weights(first_row + start, len(heard)).astype(np.float64)
        block = results[:, rows]
        sums += Sums(weights @ block, weights @ (block * heard), weights.sum(axis=1), weights @ heard)
    return sums


def scores(table: ParameterTable, sums: Sums, answer: int) -> tuple[Score, ...]:
    """Return the scores of an answer, in the table's order.

    Raises:
        DataError: there are no examples.
    """
    if not sums.rows[0]:
        raise DataError("there are no examples to score")
    return tuple(_score(p.name, p.kind, sums, answer, [column]) for column, p in enumerate(table.learned))


def mean_scores(table: ParameterTable, sums: Sums, answer: int) -> tuple[Score, ...]:
    """Return the mean score of all choices and the mean score of all ranges, each if the table has any.

    ``where_audible`` leaves out parameters that can be heard in no example.
    """
    columns: dict[str, list[int]] = {}
    for column, parameter in enumerate(table.learned):
        columns.setdefault(parameter.kind, []).append(column)
    ordered = sorted(columns.items())  # choices before ranges
    return tuple(_score(f"mean of {len(found)}", kind, sums, answer, found) for kind, found in ordered)


def _score(name: str, kind: str, sums: Sums, answer: int, columns: list[int]) -> Score:
    """Return the mean of the scores of some columns."""
    every_row = np.broadcast_to(sums.rows[:, None], sums.audible_rows.shape)
    audible = [column for column in columns if sums.audible_rows[0, column]]
    over_all = _estimate(sums.over_all[answer], every_row, columns)
    where_audible = _estimate(sums.where_audible[answer], sums.audible_rows, audible) if audible else None
    return Score(name, kind, over_all, where_audible)


def _estimate(totals: np.ndarray, rows: np.ndarray, columns: list[int]) -> Estimate:
    """Return the mean over columns of totals divided by rows, both ``(1 + replicates, learned)``."""
    with np.errstate(invalid="ignore"):  # a replicate may have no rows
        replicates = (totals[:, columns] / rows[:, columns]).mean(axis=1)
    return estimate(replicates, int(rows[0, columns].sum()))
