"""A probability distribution over the presets of one sound, as a network predicts it.

Parameters are independent of each other. Networks that predict it are in ``networks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.synth.parameters import Choice, ParameterTable, Range


@dataclass(frozen=True)
class PresetDistribution:
    """Probabilities of the classes of each choice, of the steps of a range, and of equal parts of other ranges."""

    table: ParameterTable
    probabilities: tuple[np.ndarray, ...]
    """For each learned parameter float64 ``(classes,)``, ``(steps + 1,)`` or ``(bins,)``, which sum to 1.

    The bins are equal parts of [0, 1].
    """

    @cached_property
    def _cumulative(self) -> tuple[np.ndarray, ...]:
        return tuple(np.cumsum(p) / p.sum() for p in self.probabilities)

    def likeliest(self) -> np.ndarray:
        """Return the labels float32 ``(learned,)``: the likeliest class of a choice, and the median of a range."""
        labels = np.empty(len(self.table.learned), np.float32)
        for column, parameter in enumerate(self.table.learned):
            probabilities = self.probabilities[column]
            if isinstance(parameter, Choice):
                labels[column] = probabilities.argmax()
            else:
                labels[column] = medians(probabilities[None], parameter)[0]
        return labels

    def sample(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Return random labels float32 ``(count, learned)``, each parameter drawn by itself."""
        columns = [self.quantiles(column, random.random(count)) for column in range(len(self.table.learned))]
        return np.stack(columns, axis=1).astype(np.float32)

    def quantiles(self, column: int, shares: np.ndarray) -> np.ndarray:
        """Return the labels of one parameter below which the given shares of the probability lie.

        Uniform random shares give random labels.

        Args:
            column: number of the learned parameter.
            shares: ``(count,)`` in [0, 1).
        """
        if not (scale := _scale(self.table.learned[column])):
            return self._positions(column, shares)
        index = np.searchsorted(self._cumulative[column], shares, side="right")
        return np.minimum(index, len(self._cumulative[column]) - 1) / scale

    def confidence(self, column: int, label: float, width: float = 0.1) -> float:
        """Return the probability of a label's class or step, or that another range lies within ``width`` / 2 of it.

        Args:
            column: number of the learned parameter.
            label: class, or position in [0, 1].
            width: of the interval, cut at 0 and 1.
        """
        if scale := _scale(self.table.learned[column]):
            return float(self.probabilities[column][round(label * scale)])
        low, high = np.clip([label - width / 2, label + width / 2], 0.0, 1.0)
        edges = np.linspace(0.0, 1.0, len(self.probabilities[column]) + 1)
        cumulative = np.concatenate([[0.0], self._cumulative[column]])
        return float(np.interp(high, edges, cumulative) - np.interp(low, edges, cumulative))

    def _positions(self, column: int, quantiles: np.ndarray) -> np.ndarray:
        """Return the positions in [0, 1] of quantiles of a range; the density is constant within a bin."""
        cumulative = np.concatenate([[0.0], self._cumulative[column]])
        return np.asarray(np.interp(quantiles, cumulative, np.linspace(0.0, 1.0, len(cumulative))))


def medians(histograms: np.ndarray, parameter: Range) -> np.ndarray:
    """Return the median positions of histograms ``(sounds, bins)``, float32 ``(sounds,)``, as a saved model does."""
    after = histograms.cumsum(axis=1)
    if parameter.step:
        return np.asarray((after < 0.5).sum(axis=1) / parameter.num_steps, np.float32)
    parts = np.clip((0.5 - after + histograms) / np.maximum(histograms, 1e-9), 0.0, 1.0)
    return np.asarray(parts.mean(axis=1), np.float32)


def _scale(parameter: Choice | Range) -> int:
    """Return the number by which an index is divided to get a label; 0 for a range without steps."""
    return 1 if isinstance(parameter, Choice) else parameter.num_steps
