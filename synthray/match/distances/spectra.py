"""Spectrograms, mel bands and decibels as librosa computes them, for many sounds at once.

Distances between spectrograms are in ``spectral.py`` and ``warping.py``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from synthray.synth.dsp.lanes import Floats, f32
from synthray.synth.instrument import SAMPLE_RATE_HZ
from synthray.synth.spectra import power_spectra

SMALLEST_POWER = 1e-10
"""Smaller powers are raised to this before the logarithm. A full-scale sine has the power (frame length / 4)²."""
DYNAMIC_RANGE_DB = 80.0

# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1000 Hz, which is 15 mel, then logarithmic.
_HZ_PER_MEL = 200.0 / 3.0
_LINEAR_MEL = 15.0
_LINEAR_HZ = _LINEAR_MEL * _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def frames(audio: Floats, length: int, hop: int) -> Floats:
    """Return a read-only view of overlapping frames, centred on samples 0, ``hop``, 2 ``hop``, …

    Args:
        audio: float32 (sounds, samples).
        length: samples of a frame.
        hop: samples between the centres of frames.

    Returns:
        float32 (sounds, frames, length). The audio is padded with ``length // 2`` zeros on both sides.
    """
    padded = np.pad(audio, ((0, 0), (length // 2, length // 2)))
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)[:, ::hop]


def power_spectrogram(audio: Floats, length: int, hop: int) -> Floats:
    """Return the squared magnitudes of a short-time Fourier transform with a Hann window.

    Args:
        audio: float32 (sounds, samples).
        length: samples of a frame, and of the FFT.
        hop: samples between frames.

    Returns:
        float32 (sounds, frames, bins), bins from 0 Hz to the Nyquist frequency.
    """
    return power_spectra(audio, length, hop, 1 + (audio.shape[1] - length % 2) // hop, 0)


def mel_spectrogram(audio: Floats, length: int, hop: int, bands: int) -> Floats:
    """Return the power in mel bands, float32 (sounds, frames, bands)."""
    return np.asarray(power_spectrogram(audio, length, hop) @ mel_filters(length, bands).T)


def decibels(power: Floats, reference: npt.ArrayLike) -> Floats:
    """Return powers in dB, no more than 80 dB below the maximum of their sound.

    Args:
        power: float32 (sounds, frames, bands), changed in place.
        reference: the power that is 0 dB, one number or one for each sound. It is raised to at least
            ``SMALLEST_POWER``.

    Returns:
        float32 (sounds, frames, bands). Silence has the level of ``SMALLEST_POWER``.
    """
    reference = np.maximum(np.asarray(reference, np.float32), f32(SMALLEST_POWER)).reshape(-1, 1, 1)
    np.maximum(power, f32(SMALLEST_POWER), out=power)
    loudest = power.max(axis=(1, 2), keepdims=True)
    np.maximum(power, loudest * f32(10.0 ** (-DYNAMIC_RANGE_DB / 10.0)), out=power)
    power /= reference
    np.log(power, out=power)  # NumPy has vector instructions for log, but not for log10
    power *= f32(10.0 / np.log(10.0))
    return power


@cache
def mel_filters(length: int, bands: int) -> Floats:
    """Return Slaney's triangular filters, float32 (bands, bins), each of the same area.

    Args:
        length: samples of the FFT.
        bands: number of filters between 0 Hz and the Nyquist frequency.
    """
    nyquist_hz = SAMPLE_RATE_HZ / 2.0
    bins_hz = np.arange(length // 2 + 1) * SAMPLE_RATE_HZ / length
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(nyquist_hz), bands + 2))
    lower, centre, upper = (edges_hz[first : first + bands, None] for first in range(3))
    rising, falling = (bins_hz - lower) / (centre - lower), (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), np.float32)


def _hz_to_mel(hz: float) -> float:
    """Return a frequency of at least 1000 Hz in mel."""
    return _LINEAR_MEL + float(np.log(hz / _LINEAR_HZ)) / float(_LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _LINEAR_HZ * np.exp(_LOG_STEP * (mel - _LINEAR_MEL))
    return np.asarray(np.where(mel < _LINEAR_MEL, mel * _HZ_PER_MEL, above))
