"""Distances between spectra, frame by frame: multi-scale spectral, spectral optimal transport, log-spectral.

Distances that may stretch time are in ``warping.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthray.match.distances.spectra import decibels, mel_spectrogram, power_spectrogram
from synthray.synth.dsp.lanes import Floats, compiled, f32
from synthray.synth.features import CHUNK_SAMPLES, analyse
from synthray.synth.instrument import SAMPLE_RATE_HZ

SCALES = tuple(
    (int(window_s * SAMPLE_RATE_HZ), int(hop_s * SAMPLE_RATE_HZ), bands)
    for window_s, hop_s, bands in ((0.010, 0.005, 32), (0.025, 0.010, 64), (0.100, 0.050, 128))
)
"""Samples of a frame, samples between frames, and mel bands of each spectrogram of the multi-scale distance."""

TRANSPORT_WINDOW, TRANSPORT_HOP = int(0.05 * SAMPLE_RATE_HZ), int(0.02 * SAMPLE_RATE_HZ)
QUIETEST_FRAME = 1e-6  # sum of magnitudes

# The magnitude of a full-scale sine is half the samples of a chunk. 80 dB below that counts as silence.
LOG_SPECTRAL_FLOOR = CHUNK_SAMPLES / 2 * 10 ** (-80 / 20)


def mel_levels(audio: Floats) -> tuple[Floats, ...]:
    """Return a mel spectrogram for each of ``SCALES``, in dB of its maximum, float32 (sounds, frames, bands).

    A silent sound is 0 dB everywhere.
    """
    spectrograms = (mel_spectrogram(audio, *scale) for scale in SCALES)
    return tuple(decibels(power, power.max(axis=(1, 2))) for power in spectrograms)


def multi_scale_distance(levels: tuple[Floats, ...], other: tuple[Floats, ...]) -> npt.NDArray[np.float64]:
    """Return the mean absolute level difference over three mel spectrograms, in dB, float64 (pairs,).

    Each spectrogram is in dB of its own maximum, so the distance ignores the level of a sound. The quietest value is
    -80 dB. A silent sound is 0 dB everywhere, as in librosa, so it is far from all others. Two silent sounds have
    the distance 0.

    Args:
        levels: the result of ``mel_levels``.
        other: the same for as many other sounds.
    """
    return np.asarray(np.mean([_mean_difference(*pair) for pair in zip(levels, other, strict=True)], axis=0))


def cumulative_spectra(audio: Floats) -> Floats:
    """Return the cumulative shares of each frame's magnitudes, float32 (sounds, frames, bins): 0 to 1, or all 0."""
    magnitudes = np.sqrt(power_spectrogram(audio, TRANSPORT_WINDOW, TRANSPORT_HOP))
    magnitudes /= np.maximum(magnitudes.sum(axis=-1, keepdims=True), f32(QUIETEST_FRAME))
    return np.cumsum(magnitudes, axis=-1, out=magnitudes)


def transport_distance(cumulative: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Return the spectral optimal transport, float64 (pairs,), in [0, 1].

    It is the mean shift in frequency that turns the magnitudes of one frame into those of the other (Torres, Peeters
    and Richard, 2024). It is a share of the Nyquist frequency, averaged over frames, and ignores the level of frames. A
    silent frame has no magnitudes to shift, so its distance is the mean cumulative share of the other frame. Two silent
    frames have the distance 0.

    Args:
        cumulative: the result of ``cumulative_spectra``.
        other: the same for as many other sounds.
    """
    return _mean_difference(cumulative, other)


def chunk_levels(audio: Floats) -> Floats:
    """Return the levels of the features of ``synthray.synth.features``, in dB, float32 (sounds, chunks, bins).

    Levels below -80 dB of full scale count as -80 dB.
    """
    levels = np.maximum(analyse(audio, threads=1), f32(LOG_SPECTRAL_FLOOR))
    np.log(levels, out=levels)
    levels *= f32(20.0 / np.log(10.0))
    return np.asarray(levels)


def log_spectral_distance(levels: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Return the log-spectral distance, in dB, float64 (pairs,).

    It is the root mean square of the level differences over bins, averaged over chunks of 0.1 s (Gray and Markel,
    1976). It depends on the level of the sounds. Silence is -80 dB of full scale everywhere.

    Args:
        levels: the result of ``chunk_levels``.
        other: the same for as many other sounds.
    """
    difference = levels - other
    return np.asarray(np.sqrt(np.vecdot(difference, difference) / f32(levels.shape[-1])).mean(axis=1, dtype=np.float64))


@compiled
def _mean_difference(one: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Return the mean absolute difference of each pair, float64 (pairs,), of arrays (pairs, frames, bands)."""
    means = np.zeros(len(one), np.float64)
    for pair in range(one.shape[0]):
        for frame in range(one.shape[1]):
            total = f32(0.0)
            for band in range(one.shape[2]):
                total += abs(one[pair, frame, band] - other[pair, frame, band])
            means[pair] += total
    means /= one.shape[1] * one.shape[2]
    return means
