"""Features: equal to NumPy's FFT in float64. Those of all analyses are in ``test_spectra.py``."""

from __future__ import annotations

import numpy as np
import pytest

from synthray.errors import SoundError
from synthray.synth.features import CHUNK_SAMPLES, FEATURE_SHAPE, N_CHUNKS, analyse, render_features
from synthray.synth.instrument import N_SAMPLES
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.voice import render
from tests.synth.sounds import random_settings


def test_analyse_equals_numpy_fft() -> None:
    audio = render(random_settings(5))
    features = analyse(audio)
    assert features.shape == (5, *FEATURE_SHAPE) == (5, 20, 551)
    assert features.dtype == np.float32
    for sound, feature in zip(audio, features, strict=True):
        for chunk in range(20):
            samples = sound[chunk * 1102 : (chunk + 1) * 1102].astype(np.float64)
            np.testing.assert_allclose(feature[chunk], np.abs(np.fft.fft(samples))[:551], atol=2e-4, rtol=1e-5)


def test_analyse_sine_is_in_its_bin() -> None:
    time_s = np.arange(22050) / 11025
    audio = np.sin(2 * np.pi * 100 * 11025 / 1102 * time_s).astype(np.float32)
    features = analyse(audio[None])[0]
    assert (features.argmax(axis=1) == 100).all()
    np.testing.assert_allclose(features[:, 100], 551, rtol=1e-4)


def test_analyse_wrong_shapes_are_refused_and_empty_is_accepted() -> None:
    for shape in [(22050,), (2, 22040), (1, 2, 22050)]:
        with pytest.raises(SoundError, match=r"not \(sounds, 22050\)"):
            analyse(np.zeros(shape, np.float32))
    assert analyse(np.zeros((0, 22050), np.float32)).shape == (0, 20, 551)
    assert render_features(random_settings(0)).shape == (0, 20, 551)


def test_loudness_dbfs_equals_rms_of_the_loudest_chunk() -> None:
    time = np.arange(N_SAMPLES)
    sine = 0.5 * np.sin(2 * np.pi * 40 / CHUNK_SAMPLES * time)
    sine[: N_SAMPLES // 2] *= 0.1
    noise = np.random.default_rng(0).normal(0, 0.1, N_SAMPLES)
    audio = np.stack([sine, noise, np.zeros(N_SAMPLES)]).astype(np.float32)
    chunks = audio[:, : N_CHUNKS * CHUNK_SAMPLES].reshape(3, N_CHUNKS, CHUNK_SAMPLES).astype(np.float64)
    with np.errstate(divide="ignore"):
        expected = 10 * np.log10((chunks**2).mean(axis=-1).max(axis=-1))
    found = loudness_dbfs(analyse(audio))
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert found[0] == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)
    assert found[2] == -np.inf
    np.testing.assert_allclose(loudness_dbfs(analyse(audio).astype(np.float16)), expected, atol=0.05)
