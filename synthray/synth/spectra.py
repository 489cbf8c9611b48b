"""The analysis ``spectra``: levels of a sound at two resolutions, one for pitch and one for time.

Each row belongs to 0.1 s. It begins with the levels of one long window: single bins of 5.4 Hz up to 1.08 kHz, then
bands of 1/24 octave. The levels of 40 mel bands in five short windows, 20 ms apart, follow. Levels are logarithmic and
scaled: -1 is silence, and a sine at full scale is near 1.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from synthray.synth.dsp.lanes import Floats, compiled
from synthray.synth.instrument import N_SAMPLES, SAMPLE_RATE_HZ

Doubles = npt.NDArray[np.float64]

N_FRAMES = 20
FRAME_SAMPLES = N_SAMPLES // N_FRAMES  # 1102, 0.1 s
LONG_WINDOW, SHORT_WINDOW = 2048, 256
SINGLE_BINS = 200
BANDS_PER_OCTAVE = 24
MEL_BANDS = 40
LOWEST_MEL_HZ = 40.0
SHORT_PER_FRAME = 5
SHORT_HOP = FRAME_SAMPLES // SHORT_PER_FRAME  # 220
N_SHORT = N_FRAMES * SHORT_PER_FRAME
SOUNDS = 2
"""Sounds that are analysed together. Their memory is small enough to be reused; 8 at once take 1.7 times as long."""
# A sine at full scale has magnitude window / 4 under a Hann window. The floors are far below the noise of 16 bits.
LONG_FLOOR, SHORT_FLOOR = np.float32(0.005**2), np.float32(0.002**2)
LONG_FULL, SHORT_FULL = (LONG_WINDOW / 4) ** 2, (SHORT_WINDOW / 4) ** 2


def spectra(audio: Floats) -> Floats:
    """Return the scaled levels of sounds.

    Args:
        audio: float32 (sounds, 22050), 2 s at 11025 Hz.

    Returns:
        float32 (sounds, frames of 0.1 s, levels) = (sounds, 20, 456).
    """
    rows = np.empty((len(audio), *SPECTRA_SHAPE), np.float32)
    for first in range(0, len(audio), SOUNDS):
        _analyse_few(audio[first : first + SOUNDS], rows[first : first + SOUNDS])
    return rows


def _analyse_few(audio: Floats, rows: Floats) -> None:
    """Write the scaled levels of a few sounds into ``rows`` (sounds, 20, 456)."""
    long = power_spectra(audio, LONG_WINDOW, FRAME_SAMPLES, N_FRAMES, FRAME_SAMPLES // 2)
    short = power_spectra(audio, SHORT_WINDOW, SHORT_HOP, N_SHORT, SHORT_HOP // 2)
    # One product for each sound, because the rounding of a larger product depends on the number of sounds.
    bands = np.stack([each @ _FINE_BANDS[_FIRST_BAND_BIN:] for each in long[..., _FIRST_BAND_BIN:]])
    mels = np.stack([each @ _MEL_BANDS for each in short])
    n_fine = SINGLE_BINS + bands.shape[-1]
    rows[..., :SINGLE_BINS] = _levels(long[..., :SINGLE_BINS], LONG_FLOOR, LONG_FULL)
    rows[..., SINGLE_BINS:n_fine] = _levels(bands, LONG_FLOOR, LONG_FULL)
    rows[..., n_fine:] = _levels(mels, SHORT_FLOOR, SHORT_FULL).reshape(len(audio), N_FRAMES, -1)


def power_spectra(audio: Floats, window: int, hop: int, frames: int, centre: int) -> Floats:
    """Return the power spectra of Hann windows, float32 (sounds, frames, bins from 0 Hz to the Nyquist frequency).

    Args:
        audio: float32 (sounds, samples); silence is assumed before and after.
        window: samples of a window.
        hop: samples between two windows.
        frames: number of windows.
        centre: sample in the middle of the first window.
    """
    windowed = np.empty((len(audio), frames, window), np.float32)
    _cut_windows(audio, hann(window), hop, centre - window // 2, windowed)
    return _squared_magnitudes(fft.rfft(windowed, axis=-1))


@compiled
def _cut_windows(audio: Floats, shape: Floats, hop: int, start: int, windowed: Floats) -> None:
    """Write windows of the sounds, the first one from sample ``start`` on, into ``windowed``."""
    for sound in range(windowed.shape[0]):
        for frame in range(windowed.shape[1]):
            first = start + frame * hop
            for i in range(windowed.shape[2]):
                at = first + i
                inside = 0 <= at < audio.shape[1]
                windowed[sound, frame, i] = audio[sound, at] * shape[i] if inside else np.float32(0.0)


@compiled
def _squared_magnitudes(spectrum: npt.NDArray[np.complex64]) -> Floats:
    """Return the squared magnitudes of a spectrum of three axes."""
    power = np.empty(spectrum.shape, np.float32)
    for sound in range(spectrum.shape[0]):
        for frame in range(spectrum.shape[1]):
            for k in range(spectrum.shape[2]):
                value = spectrum[sound, frame, k]
                power[sound, frame, k] = value.real * value.real + value.imag * value.imag
    return power


def _levels(power: Floats, floor: np.float32, full: float) -> Floats:
    """Return logarithmic levels: -1 for no power, 1 for ``full``."""
    scale = np.float32(2.0 / np.log(full / float(floor)))
    return np.asarray(np.log(power + floor) * scale - (np.log(floor) * scale + np.float32(1.0)), np.float32)


@cache
def hann(samples: int) -> Floats:
    """Return a periodic Hann window, float32 (samples,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)).astype(np.float32)


def hz_to_mel(frequency_hz: npt.ArrayLike) -> Doubles:
    """Return mels by O'Shaughnessy's formula (1987), which HTK uses."""
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency_hz) / 700))


def mel_to_hz(mel: npt.ArrayLike) -> Doubles:
    """Return the inverse of ``hz_to_mel``."""
    return np.asarray(700 * (10 ** (np.asarray(mel) / 2595) - 1))


def _triangles(corners_hz: Doubles, window: int) -> Floats:
    """Return weights (bins, bands) of triangular bands with a sum of 1 each.

    Args:
        corners_hz: of neighbouring bands; band *i* rises from corner *i* to *i* + 1 and falls to *i* + 2.
        window: samples of the window.
    """
    hertz = np.arange(window // 2 + 1)[:, None] * SAMPLE_RATE_HZ / window
    low, centre, high = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    weights = np.clip(np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)), 0, None)
    return np.asarray(weights / np.maximum(weights.sum(axis=0), 1e-6), np.float32)


def _fine_corners_hz() -> Doubles:
    """Return the corners of the bands of 1/24 octave, from one below the first band on."""
    first_hz = SINGLE_BINS * SAMPLE_RATE_HZ / LONG_WINDOW
    bands = int(np.floor(np.log2(0.999 * SAMPLE_RATE_HZ / 2 / first_hz) * BANDS_PER_OCTAVE))
    return np.asarray(first_hz * 2.0 ** (np.arange(-1, bands + 1) / BANDS_PER_OCTAVE))


def _mel_corners_hz() -> Doubles:
    """Return corners at equal distances in mel."""
    return mel_to_hz(np.linspace(hz_to_mel(LOWEST_MEL_HZ), hz_to_mel(SAMPLE_RATE_HZ / 2), MEL_BANDS + 2))


_FINE_BANDS, _MEL_BANDS = _triangles(_fine_corners_hz(), LONG_WINDOW), _triangles(_mel_corners_hz(), SHORT_WINDOW)
_FIRST_BAND_BIN = int(_FINE_BANDS.any(axis=1).argmax())
SPECTRA_SHAPE = (N_FRAMES, SINGLE_BINS + _FINE_BANDS.shape[1] + SHORT_PER_FRAME * MEL_BANDS)
