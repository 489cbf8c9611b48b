"""The channel of a recording that holds its sound, and the moment at which the sound begins.

Both come from levels of 20 ms, so a long recording need not be kept. Decoding is in ``files/decoding.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.synth.instrument import SAMPLE_RATE_HZ

Doubles = npt.NDArray[np.float64]

HOP = 220
"""Samples of one level: 20 ms, a period of the instrument's lowest tones."""
MAX_SILENCE_S = 600.0
"""Seconds within which the first sound above ``HEARD`` must come. A small file of silence may be days long."""
LOOK_S = 60.0
"""Seconds after the first sound above ``HEARD`` that are searched for the loudest sound."""
HEARD = 10 ** (-50 / 20)
"""RMS level, full scale at 1, above the noise of most recordings and below most sounds."""
SILENT = 1e-5
"""RMS level below which a recording is silent: -100 dB of full scale."""

# Relative to the loudest 20 ms, which are 3 to 16 dB below the peak of a random preset.
SURE_ONSET = 10 ** (-40 / 20)
EARLIEST_ONSET = 10 ** (-60 / 20)
ABOVE_NOISE = 10 ** (12 / 20)
"""Ratio of an onset to the noise in front of it: four standard deviations."""
NOISE_HOPS = 5
"""Levels before an onset that measure the noise: 0.1 s. Silence is assumed before the file."""
MIXED_FROM = 0.35
"""The mean of all channels is used if it has at least this share of the loudest channel's energy.

The share is 1 for equal channels, 1/2 for two unrelated ones, 1/4 if one of two is silent, and 0 for opposites.
"""


@dataclass(frozen=True)
class Onset:
    """The position of the sound in a recording."""

    channel: int | None
    """The channel that holds the sound; None for the mean of all channels."""
    first: int
    """First sample, at 11025 Hz, at which the exact onset may be."""
    sure_from: int
    """First sample of the level above the threshold: 20 ms after ``first``, or the beginning of the file."""
    last: int
    """End of the samples at which the exact onset may be."""
    threshold: float
    """Difference from the sample at ``first`` that marks the onset; full scale is 1."""


def measure_levels(blocks: Iterator[Doubles], max_silence_s: float = MAX_SILENCE_S) -> Doubles:
    """Return the level of each channel in steps of 20 ms, up to ``LOOK_S`` after the first sound.

    A level is the standard deviation, so that an offset of the recording does not count.

    Args:
        blocks: float64 (samples, channels) at 11025 Hz.
        max_silence_s: time within which the first sound must come.

    Returns:
        float64 (hops, channels and their mean), full scale at 1.
    """
    levels: list[Doubles] = []
    kept: Doubles | None = None
    heard_at = None
    hops = 0
    for block in blocks:
        kept = block if kept is None else np.concatenate([kept, block])
        whole = len(kept) // HOP
        if not whole:
            continue
        levels.append(_levels(kept[: whole * HOP]))
        kept = kept[whole * HOP :]
        if heard_at is None and (loud := (levels[-1] >= HEARD).any(axis=1)).any():
            heard_at = hops + int(loud.argmax())
        hops += whole
        searched_s = (hops - (heard_at or 0)) * HOP / SAMPLE_RATE_HZ
        if searched_s > (max_silence_s if heard_at is None else LOOK_S):
            return np.concatenate(levels)
    if kept is not None and len(kept):
        levels.append(_levels(np.concatenate([kept, np.repeat(kept[-1:], HOP - len(kept), axis=0)])))
    return np.concatenate(levels) if levels else np.empty((0, 2))


def _levels(samples: Doubles) -> Doubles:
    hops = np.concatenate([samples, samples.mean(axis=1, keepdims=True)], axis=1).reshape(-1, HOP, samples.shape[1] + 1)
    levels: Doubles = hops.std(axis=1)
    return levels


def find_onset(levels: Doubles) -> Onset | None:
    """Return where a recording's sound begins, or None if it is silent.

    The sound has certainly begun at the first level above -40 dB of the loudest 20 ms. Slow attacks begin earlier, so
    the onset moves back from there while the level is above -60 dB and 12 dB above the noise before it.

    Args:
        levels: the result of ``measure_levels``.
    """
    if not len(levels):
        return None
    energies = np.square(levels).sum(axis=0)
    loudest = int(energies[:-1].argmax())
    is_mixed = energies[-1] >= MIXED_FROM * energies[loudest]
    level = levels[:, -1 if is_mixed else loudest]
    top = float(level.max())
    if top < SILENT:
        return None
    sure = int((level > SURE_ONSET * top).argmax())
    in_front = np.zeros(NOISE_HOPS)
    in_front[max(0, NOISE_HOPS - sure) :] = level[max(0, sure - NOISE_HOPS) : sure]
    noise = float(np.quantile(in_front, 0.25))  # the lower quarter, because the others may be a slow attack
    threshold = float(np.clip(ABOVE_NOISE * noise, EARLIEST_ONSET * top, SURE_ONSET * top))
    hop = sure
    while hop and level[hop - 1] > threshold:
        hop -= 1
    return Onset(None if is_mixed else loudest, max(0, hop - 1) * HOP, hop * HOP, (hop + 1) * HOP, threshold)
