"""A probability distribution over the presets of one sound, as a network predicts it.

Parameters are independent of each other. Networks that predict it are in ``networks.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range

PITCHES = [INSTRUMENT.label_index[f"oscillator_{number}_pitch"] for number in (1, 2)]
EQUAL_PITCHES = 0.1
"""Weight of a pair of equal pitches. Only 2 % of random presets have equal pitches."""
CONFIDENCE_WIDTH = 0.1
"""The confidence in a range's label is the probability of an interval of this width around it, cut at 0 and 1."""


@dataclass(frozen=True)
class PresetDistribution:
    """Probabilities of the classes of choices, of the steps of stepped ranges, and of the bins of other ranges."""

    table: ParameterTable
    probabilities: tuple[np.ndarray, ...]
    """For each learned parameter float64 ``(classes,)``, ``(steps + 1,)`` or ``(bins,)``, which sum to 1.

    The bins are equal parts of [0, 1].
    """

    @cached_property
    def _cumulative(self) -> tuple[np.ndarray, ...]:
        return tuple(np.cumsum(p) / p.sum() for p in self.probabilities)

    def likeliest(self) -> np.ndarray:
        """Return the labels of ``likeliest_labels``, float32 ``(learned,)``."""
        [labels] = likeliest_labels(self.table, [probabilities[None] for probabilities in self.probabilities])
        return np.asarray(labels)

    def sample(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Return random labels float32 ``(count, learned)``, each parameter drawn by itself."""
        edges, scales = self._edges
        shares = random.random((count, len(edges)))
        index = (shares[:, :, None] >= edges[:, 1:]).sum(axis=2)
        row = np.arange(len(edges))
        low, high = edges[row, index], edges[row, index + 1]
        # The density is constant within a bin; classes and steps are whole numbers.
        index = index + np.where(self._has_bins, (shares - low) / (high - low), 0.0)
        return np.asarray(index / scales, np.float32)

    @cached_property
    def _has_bins(self) -> np.ndarray:
        return np.array([not _scale(parameter) for parameter in self.table.learned])

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability below each bin's edge ``(learned, edges)``, and the number that divides an index to give a label.

        Rows are padded with infinity.
        """
        most = max(len(probabilities) for probabilities in self.probabilities)
        edges = np.full((len(self.probabilities), most + 1), np.inf)
        for row, cumulative in zip(edges, self._cumulative, strict=True):
            row[: len(cumulative)] = [0.0, *cumulative[:-1]]
            row[len(cumulative)] = 1.0  # exactly, because shares are below 1
        scales = [_scale(p) or len(self.probabilities[column]) for column, p in enumerate(self.table.learned)]
        return edges, np.array(scales)

    def confidence(self, column: int, label: float) -> float:
        """Return the probability of a label's class or step; for other ranges, of an interval around the label.

        Args:
            column: number of the learned parameter.
            label: class, or position in [0, 1].
        """
        if scale := _scale(self.table.learned[column]):
            return float(self.probabilities[column][round(label * scale)])
        low, high = np.clip([label - CONFIDENCE_WIDTH / 2, label + CONFIDENCE_WIDTH / 2], 0.0, 1.0)
        edges = np.linspace(0.0, 1.0, len(self.probabilities[column]) + 1)
        cumulative = np.concatenate([[0.0], self._cumulative[column]])
        return float(np.interp(high, edges, cumulative) - np.interp(low, edges, cumulative))


def likeliest_labels(table: ParameterTable, probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the likeliest class of each choice and the median of each range, float32 ``(sounds, learned)``.

    For the instrument's two oscillators, the likeliest pair of pitches is chosen instead.

    Args:
        table: the parameters.
        probabilities: of each learned parameter, as in ``PresetDistribution``, but ``(sounds, classes)``.
    """
    labels = np.empty((len(probabilities[0]), len(table.learned)), np.float32)
    for column, parameter in enumerate(table.learned):
        found = probabilities[column]
        labels[:, column] = found.argmax(axis=1) if isinstance(parameter, Choice) else medians(found, parameter)
    if table.learned == INSTRUMENT.learned:
        labels[:, PITCHES] = _likeliest_pairs(*(probabilities[column] for column in PITCHES))
    return labels


def _likeliest_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the likeliest positions of two parameters with the same steps, ``(sounds, 2)``.

    If a network cannot tell which oscillator has which of two pitches, both pitches are likely for both oscillators.
    Chosen separately, both oscillators would get the same pitch.

    Args:
        first: probabilities of the first parameter's steps ``(sounds, steps + 1)``.
        second: the same for the second parameter.
    """
    one, other = (np.argsort(-histograms, axis=1, kind="stable").T for histograms in (first, second))
    # If both parameters have the same likeliest step, the likeliest pair of different steps contains it.
    pairs = np.stack([(one[0], other[0]), (one[0], other[1]), (one[1], other[0])])
    sounds = np.arange(len(first))
    weights = first[sounds, pairs[:, 0]] * second[sounds, pairs[:, 1]]
    weights *= np.where(pairs[:, 0] == pairs[:, 1], EQUAL_PITCHES, 1.0)
    return np.asarray(pairs[weights.argmax(axis=0), :, sounds] / (first.shape[1] - 1))


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
