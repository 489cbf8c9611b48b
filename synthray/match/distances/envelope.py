"""Similarity of the loudness of two sounds over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthray.match.distances.spectra import frames
from synthray.synth.dsp.lanes import Floats
from synthray.synth.instrument import SAMPLE_RATE_HZ

WINDOW, HOP = int(0.05 * SAMPLE_RATE_HZ), int(0.025 * SAMPLE_RATE_HZ)


def rms_envelope(audio: Floats) -> npt.NDArray[np.float64]:
    """Return the RMS of frames of 50 ms, one every 25 ms, float64 (sounds, frames), of audio (sounds, samples)."""
    found = frames(np.asarray(audio, np.float32), WINDOW, HOP)
    return np.asarray(np.sqrt(np.vecdot(found, found) / WINDOW), np.float64)


def envelope_similarity(envelope: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cosine between two envelopes, float64 (pairs,), in [0, 1].

    The cosine ignores the level of the sounds. It is 0 if one of them is silent, and 1 if both are.

    Args:
        envelope: the result of ``rms_envelope``.
        other: the same for as many other sounds.
    """
    norm, other_norm = np.linalg.norm(envelope, axis=1), np.linalg.norm(other, axis=1)
    product = norm * other_norm
    cosine = np.vecdot(envelope, other) / np.where(product > 0.0, product, 1.0)
    return np.where((norm == 0.0) & (other_norm == 0.0), 1.0, cosine)
