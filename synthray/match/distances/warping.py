"""Distance between mel-frequency cepstra, after the best stretching of time.

Distances frame by frame are in ``spectral.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from synthray.match.distances.spectra import decibels, mel_spectrogram
from synthray.synth.dsp.lanes import Floats, compiled, f32
from synthray.synth.instrument import SAMPLE_RATE_HZ

WINDOW, HOP, BANDS = int(0.05 * SAMPLE_RATE_HZ), int(0.01 * SAMPLE_RATE_HZ), 128
COEFFICIENTS = 20


def cepstra(audio: Floats) -> Floats:
    """Return mel-frequency cepstral coefficients, float32 (sounds, frames, 20).

    Levels are in dB of a power of 1, at least -100 dB and no more than 80 dB below the sound's maximum.
    The cosine transform is orthonormal. Coefficient 0 has the level, and is -1131 for silence.
    """
    levels = decibels(mel_spectrogram(audio, WINDOW, HOP, BANDS), 1.0)
    return np.ascontiguousarray(fft.dct(levels, axis=-1, norm="ortho")[..., :COEFFICIENTS])


def warped_distance(coefficients: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Return the mean difference of coefficients along the best warping path, float64 (pairs,).

    The cost of two frames is their mean absolute difference. A path takes steps of one frame in either sound or in
    both, and a step in both counts twice (Sakoe and Chiba, 1978; ``symmetric2`` of dtw-python). The sum over the best
    path is divided by the frames of both sounds. Two silent sounds have the distance 0.

    Args:
        coefficients: float32 (pairs, frames, coefficients).
        other: of the same shape.
    """
    return np.array([_warp(one, two) for one, two in zip(coefficients, other, strict=True)], np.float64)


def warped_timbre_distance(coefficients: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Return ``warped_distance`` without coefficient 0, which holds most of a difference in level."""
    return warped_distance(np.ascontiguousarray(coefficients[..., 1:]), np.ascontiguousarray(other[..., 1:]))


@compiled
def _warp(one: Floats, other: Floats) -> float:
    """Return the normalised cost of the best path between (frames, coefficients) of two sounds."""
    count, other_count = len(one), len(other)
    transposed = other.T.copy()  # so that the inner loop runs over frames, in wide registers
    costs = np.empty(other_count, np.float32)
    best = np.full(other_count + 1, np.inf)
    best[0] = 0.0  # the path starts at the first pair of frames, whose cost counts once
    for i in range(count):
        costs[:] = f32(0.0)
        for k in range(one.shape[1]):
            value = one[i, k]
            for j in range(other_count):
                costs[j] += abs(value - transposed[k, j])
        diagonal = best[0]
        best[0] = np.inf
        for j in range(other_count):
            cost = costs[j] / one.shape[1]
            weight = 1.0 if i == 0 and j == 0 else 2.0
            above = best[j + 1]
            best[j + 1] = min(diagonal + weight * cost, above + cost, best[j] + cost)
            diagonal = above
    normalised: float = best[other_count] / (count + other_count)
    return normalised
