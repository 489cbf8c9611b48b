"""Distributions over presets for tests, as a network could predict them."""

from __future__ import annotations

import numpy as np

from synthray.model.distribution import PresetDistribution
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Range

BINS = 32


def proposal_around(labels: np.ndarray, certainty: float) -> PresetDistribution:
    """Return a distribution that is certain of a preset with a probability, and else knows nothing.

    Args:
        labels: float32 ``(learned,)``.
        certainty: probability in [0, 1] of the preset's class, step or bin, beyond that of all others.
    """
    histograms = []
    for parameter, label in zip(INSTRUMENT.learned, labels, strict=True):
        count = _count(parameter)
        index = min(int(label * count), count - 1)
        if isinstance(parameter, Choice):
            index = int(label)
        elif parameter.step:
            index = round(float(label) * parameter.num_steps)
        histograms.append((1 - certainty) / count + certainty * (np.arange(count) == index))
    return PresetDistribution(INSTRUMENT, tuple(histograms))


def _count(parameter: Choice | Range) -> int:
    if isinstance(parameter, Choice):
        return parameter.num_outputs
    return parameter.num_steps + 1 if parameter.step else BINS
