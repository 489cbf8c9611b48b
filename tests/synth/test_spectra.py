"""The analysis ``spectra`` against a literal implementation."""

import numpy as np
import pytest

from synthray.errors import ConfigError
from synthray.synth.features import ANALYSES, analyse, feature_shape, render_features
from synthray.synth.instrument import SAMPLE_RATE_HZ
from synthray.synth.presets import noise_seeds
from synthray.synth.spectra import SPECTRA_SHAPE, spectra
from synthray.synth.voice import render
from tests.synth.sounds import random_settings


def windowed_power(audio: np.ndarray, centre: int, size: int) -> np.ndarray:
    samples = np.zeros(size)
    for i in range(size):
        at = centre - size // 2 + i
        if 0 <= at < len(audio):
            samples[i] = audio[at] * (0.5 - 0.5 * np.cos(2 * np.pi * i / size))
    return np.abs(np.fft.rfft(samples)) ** 2


def in_triangle(power: np.ndarray, low: float, centre: float, high: float) -> float:
    """Return the mean of the power under a triangle over frequency."""
    size = 2 * (len(power) - 1)
    weights = []
    for k in range(len(power)):
        hertz = k * SAMPLE_RATE_HZ / size
        weights.append(max(0.0, min((hertz - low) / (centre - low), (high - hertz) / (high - centre))))
    return float(np.dot(weights, power) / sum(weights))


def scaled(power: float, floor: float, full: float) -> float:
    return 2 * np.log((power + floor) / floor) / np.log(full / floor) - 1


def literal_row(audio: np.ndarray, frame: int) -> list[float]:
    power = windowed_power(audio, 551 + 1102 * frame, 2048)
    long = (0.005**2, 512.0**2)
    row = [scaled(power[k], *long) for k in range(200)]
    first_hz = 200 * SAMPLE_RATE_HZ / 2048
    for band in range(56):
        low, centre, high = (first_hz * 2 ** ((band + i) / 24) for i in (-1, 0, 1))
        row.append(scaled(in_triangle(power, low, centre, high), *long))
    mels = np.linspace(*(2595 * np.log10(1 + hertz / 700) for hertz in (40.0, SAMPLE_RATE_HZ / 2)), 42)
    corners = 700 * (10 ** (mels / 2595) - 1)
    for hop in range(5):
        power = windowed_power(audio, 110 + 220 * (5 * frame + hop), 256)
        row += [scaled(in_triangle(power, *corners[i : i + 3]), 0.002**2, 64.0**2) for i in range(40)]
    return row


def test_spectra_equals_literal_levels() -> None:
    sounds = render(random_settings(2, seed=4))
    levels = spectra(sounds)
    assert levels.shape == (2, *SPECTRA_SHAPE)
    assert levels.dtype == np.float32
    for sound in range(2):
        for frame in (0, 7, 19):
            np.testing.assert_allclose(levels[sound, frame], literal_row(sounds[sound], frame), atol=2e-3)


def test_spectra_of_silence_is_minus_one_and_of_a_full_sine_near_one() -> None:
    seconds = np.arange(22050) / SAMPLE_RATE_HZ
    sine = np.sin(2 * np.pi * 100 * SAMPLE_RATE_HZ / 2048 * seconds)  # in the middle of bin 100
    silence, loud = spectra(np.stack([np.zeros(22050), sine]).astype(np.float32))
    np.testing.assert_allclose(silence, -1, atol=1e-6)
    np.testing.assert_allclose(loud[2:18, 100], 1, atol=1e-3)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_analyses_are_bit_identical_at_any_batch_size_and_number_of_threads(analysis: str) -> None:
    settings, seeds = random_settings(37), noise_seeds(0, 0, 37)
    sounds = render(settings, seeds)
    together = analyse(sounds, analysis=analysis)
    assert together.shape == (37, *feature_shape(analysis))
    for count in (1, 7, 9):
        np.testing.assert_array_equal(analyse(sounds[3 : 3 + count], analysis=analysis), together[3 : 3 + count])
    for threads in (None, 1, 3):
        np.testing.assert_array_equal(analyse(sounds, threads, analysis), together)
        np.testing.assert_array_equal(render_features(settings, seeds, threads, analysis=analysis), together)
    np.testing.assert_array_equal(render_features(settings[33:35], seeds[33:35], analysis=analysis), together[33:35])
    half = render_features(settings, seeds, dtype=np.float16, analysis=analysis)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, together.astype(np.float16))


def test_unknown_analysis_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no analysis 'mfcc'\. Choose one of fft, spectra"):
        analyse(np.zeros((1, 22050), np.float32), analysis="mfcc")
