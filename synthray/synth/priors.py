"""Random presets of the instrument, in the form in which they are learned.

The random numbers are in ``presets.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthray.synth.instrument import INSTRUMENT, ROUTINGS
from synthray.synth.presets import random_labels

SWAPPED = ("waveform", "pitch", "level", "pulse_width")
"""What both oscillators have, and what is exchanged to put them into canonical order."""


def random_presets(seed: int, first: int, count: int, redrawn: int = 0) -> npt.NDArray[np.float32]:
    """Return the labels of random presets of the instrument, float32 (count, learned).

    Arguments and errors are those of ``random_labels``.
    """
    return in_canonical_order(random_labels(INSTRUMENT, seed, first, count, redrawn))


def in_canonical_order(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return presets with the louder oscillator first where both are only mixed.

    Two mixed oscillators sound the same the other way round, so that nothing could tell which one is the first.
    The detune stays with the second oscillator. If it is not 0, it then detunes the other one of the two.

    Args:
        labels: float32 (sounds, learned).

    Returns:
        float32 (sounds, learned), a copy.
    """
    labels = labels.copy()
    column = INSTRUMENT.label_index
    mixed = labels[:, column["oscillator_2_routing"]] == ROUTINGS.index("mix")
    swapped = mixed & (labels[:, column["oscillator_2_level"]] > labels[:, column["oscillator_1_level"]])
    for name in SWAPPED:
        pair = [column[f"oscillator_1_{name}"], column[f"oscillator_2_{name}"]]
        labels[:, pair] = np.where(swapped[:, None], labels[:, pair[::-1]], labels[:, pair])
    return labels
