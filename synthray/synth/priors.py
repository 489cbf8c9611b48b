"""Random presets of the instrument to learn from: uniform, musical, or a mixture of both, in canonical order.

``presets.py`` draws uniform numbers, and ``musical.py`` turns them into musical presets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.errors import ConfigError
from synthray.synth.instrument import INSTRUMENT, ROUTINGS
from synthray.synth.musical import musical_labels
from synthray.synth.presets import random_labels, random_words

SWAPPED = ("waveform", "pitch", "level", "pulse_width")
"""Parameters that are exchanged to put the oscillators into canonical order."""
MIXTURE_STREAM, MUSICAL_STREAM = 2**32, 2**32 + 1
"""Streams of random words, far from those of ``presets.py``. Redrawn presets use the streams after the second one."""
_EXAMPLES = "Use uniform, musical, or a share of musical presets such as musical:0.5."


@dataclass(frozen=True)
class Prior:
    """Distribution of random presets: a share of them is musical, the others are uniform."""

    musical_share: float = 0.0
    """Share in [0, 1]. A random number for each preset decides whether it is musical."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.musical_share <= 1.0:
            raise ConfigError(f"prior: the share of musical presets is {self.musical_share:g}. It must be from 0 to 1.")

    @classmethod
    def parse(cls, text: str) -> Prior:
        """Return the prior that a text such as ``musical:0.5`` describes.

        Raises:
            ConfigError: the text has another form, or the share is not in [0, 1].
        """
        name, colon, share = text.partition(":")
        if name == "uniform" and not colon:
            return cls(0.0)
        if name != "musical":
            raise ConfigError(f"prior: unknown value ({text!r}). {_EXAMPLES}")
        try:
            musical_share = float(share) if colon else 1.0
        except ValueError:
            raise ConfigError(f"prior: {share!r} in {text!r} is not a number. {_EXAMPLES}") from None
        return cls(musical_share)

    def __str__(self) -> str:
        """Return the shortest text that ``parse`` accepts."""
        if self.musical_share == 0.0:
            return "uniform"
        return "musical" if self.musical_share == 1.0 else f"musical:{self.musical_share!r}"


UNIFORM, MUSICAL = Prior(0.0), Prior(1.0)


def random_presets(
    seed: int, first: int, count: int, redrawn: int = 0, prior: Prior = UNIFORM
) -> npt.NDArray[np.float32]:
    """Return the labels of random presets of the instrument, float32 (count, learned).

    Whether a preset is musical depends only on the seed and its number, not on ``redrawn``. The other arguments and the
    errors are those of ``random_labels``.
    """
    labels = random_labels(INSTRUMENT, seed, first, count, redrawn)
    if prior.musical_share > 0.0:
        musical = musical_labels(uniform_numbers(seed, MUSICAL_STREAM + redrawn, first, count, labels.shape[1]))
        is_musical = uniform_numbers(seed, MIXTURE_STREAM, first, count, 1) < prior.musical_share
        labels = np.where(is_musical, musical, labels)
    return in_canonical_order(labels)


def uniform_numbers(seed: int, stream: int, first: int, count: int, width: int) -> npt.NDArray[np.float64]:
    """Return rows of an endless table of random numbers in [0, 1), in steps of 2**-53, (count, width)."""
    words = random_words(seed, stream, first, count, width)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def in_canonical_order(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return presets in which the louder of two mixed oscillators is the first.

    Two mixed oscillators sound the same in either order, so nothing could tell which one is the first. Presets with a
    modulated oscillator stay as they are. The detune is not exchanged: if it is not 0, it now detunes the oscillator
    that was the first.

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
