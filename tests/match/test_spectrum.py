"""Mel spectra of interleaved sounds, against a literal implementation of the transform and the filters."""

import numpy as np
import pytest

from synthray.match.distances.spectra import mel_filters
from synthray.match.spectrum import LOWEST_DB, Resolution, Spectrograph
from synthray.synth.dsp.lanes import LANES
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

SHORT = Resolution(window=110, size=128, hop=441, bands=32)
"""A window that is shorter than the transform, whose size is an odd power of two."""
LONG = Resolution(window=1024, size=1024, hop=2205, bands=128)


@pytest.fixture(scope="module")
def sounds() -> np.ndarray:
    return render(INSTRUMENT.labels_to_settings(random_presets(5, 0, LANES)), np.arange(LANES), threads=1)


def literal_levels(sound: np.ndarray, resolution: Resolution) -> np.ndarray:
    """Return levels (frames, bands) in dB, one frame at a time."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(resolution.window) / resolution.window)
    half = resolution.window // 2
    padded = np.concatenate([np.zeros(half), sound, np.zeros(resolution.window)])
    frames = [padded[k * resolution.hop :][: resolution.window] * window for k in range(resolution.frames)]
    power = np.abs([np.fft.rfft(frame, resolution.size) for frame in frames]) ** 2
    mel = np.maximum(power @ mel_filters(resolution.size, resolution.bands).T.astype(np.float64), 1e-10)
    return np.maximum(10 * np.log10(mel / mel.max()), LOWEST_DB)


def levels_of(sounds: np.ndarray, *resolutions: Resolution) -> np.ndarray:
    spectrograph = Spectrograph(resolutions)
    spectrograph.samples[:] = sounds.T
    return spectrograph.levels().copy()


def test_levels_of_every_lane_equal_a_literal_transform(sounds):
    levels = levels_of(sounds, SHORT, LONG)
    literal = [np.concatenate([literal_levels(sound, r).ravel() for r in (SHORT, LONG)]) for sound in sounds]
    assert levels.shape == (SHORT.frames * SHORT.bands + LONG.frames * LONG.bands, LANES)
    error = np.abs(levels - np.stack(literal, axis=1))
    assert error.max() < 0.1  # near -80 dB, float32 has an error of its own
    assert error.mean() < 1e-3


def test_levels_do_not_depend_on_gain_or_lane(sounds):
    levels = levels_of(sounds, SHORT)
    changed = levels_of(np.roll(sounds, 5, axis=0) * 4, SHORT)
    # Quieter parts may be below the smallest power that counts, which is absolute.
    changed, levels = np.maximum(changed, -60), np.maximum(levels, -60)
    np.testing.assert_allclose(changed, np.roll(levels, 5, axis=1), atol=0.01)


def test_levels_of_silence_are_finite():
    assert (levels_of(np.zeros((LANES, N_SAMPLES), np.float32), SHORT) == 0).all()


def test_mel_filters_peak_at_slaneys_frequencies():
    # 15 mels are 1000 Hz, and 27 more are a factor of 6.4.
    filters = mel_filters(2048, 32)
    peaks_hz = filters.argmax(axis=1) * SAMPLE_RATE_HZ / 2048
    highest = 15 + 27 * np.log(SAMPLE_RATE_HZ / 2000) / np.log(6.4)
    mels = np.arange(1, 33) * highest / 33
    expected_hz = np.where(mels < 15, mels * 1000 / 15, 1000 * 6.4 ** ((mels - 15) / 27))
    np.testing.assert_allclose(peaks_hz, expected_hz, atol=SAMPLE_RATE_HZ / 2048)
    np.testing.assert_allclose(filters.sum(axis=1) * SAMPLE_RATE_HZ / 2048, 1.0, atol=0.05)
