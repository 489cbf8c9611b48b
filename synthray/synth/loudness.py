"""How loud a sound is, from its features alone."""

from __future__ import annotations

import numpy as np


def loudness_dbfs(features: np.ndarray) -> np.ndarray:
    """How loud each sound is where it is loudest: RMS of its loudest chunk, in dB below full scale.

    Parseval's theorem gives the power of a chunk from its magnitudes; the sound itself is not needed.

    Args:
        features: float (sounds, chunks, bins), magnitudes of the FFT of chunks of ``2 * bins`` samples, without the
            bin at the Nyquist frequency.

    Returns:
        float64 (sounds,): 0 for a square wave at full scale, -3 for a sine, -inf for silence.
    """
    chunk_samples = 2 * features.shape[-1]
    magnitudes = np.asarray(features, np.float32)
    # every bin but the one at 0 Hz stands for two, of positive and of negative frequency
    power = (2.0 * np.vecdot(magnitudes, magnitudes).astype(np.float64) - magnitudes[..., 0] ** 2) / chunk_samples**2
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(power.max(axis=-1))
