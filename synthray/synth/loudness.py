"""Loudness of sounds, computed from their features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def loudness_dbfs(features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the RMS of each sound's loudest chunk, in dB relative to full scale.

    Parseval's theorem gives the power of a chunk from its magnitudes, without the sound.

    Args:
        features: float (sounds, chunks, bins), magnitudes of the FFT of chunks of ``2 * bins`` samples, without the
            bin at the Nyquist frequency.

    Returns:
        float64 (sounds,): 0 for a square wave at full scale, -3 for a sine, -inf for silence.
    """
    chunk_samples = 2 * features.shape[-1]
    magnitudes = np.asarray(features, np.float32)
    # Every bin but the one at 0 Hz counts twice, for its positive and its negative frequency.
    power = (2.0 * np.vecdot(magnitudes, magnitudes).astype(np.float64) - magnitudes[..., 0] ** 2) / chunk_samples**2
    with np.errstate(divide="ignore"):
        decibels: npt.NDArray[np.float64] = 10.0 * np.log10(power.max(axis=-1))
    return decibels
