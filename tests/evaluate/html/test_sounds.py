"""Loudness, WAV and outlines."""

import base64
import io

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from synthray.evaluate.html.sounds import (
    K_WEIGHTING,
    K_WEIGHTING_RATE_HZ,
    TARGET_LUFS,
    equal_loudness,
    loudness_lufs,
    outline,
    wav_uri,
)
from synthray.synth.instrument import N_SAMPLES, SAMPLE_RATE_HZ
from tests.evaluate.html.samples import noise, sine

# EBU Tech 3341 and BS.1770: a sine of 997 Hz at full scale has -3.01 LUFS in one channel.
FULL_SCALE_SINE_LUFS = -3.01


def test_loudness_of_the_reference_sine_is_as_in_bs1770():
    assert loudness_lufs(sine(997, 1.0)) == pytest.approx(FULL_SCALE_SINE_LUFS, abs=0.02)


@pytest.mark.parametrize("frequency_hz", [30, 50, 100, 200, 1500, 4000, 5400])
def test_loudness_of_a_sine_equals_the_filters_run_at_their_own_rate(frequency_hz):
    rate_hz = int(K_WEIGHTING_RATE_HZ)
    filtered = np.sin(2 * np.pi * frequency_hz * np.arange(2 * rate_hz) / rate_hz)
    for b, a in K_WEIGHTING:
        filtered = lfilter(b, a, filtered)
    expected = -0.691 + 10 * np.log10(np.mean(filtered**2))
    assert loudness_lufs(sine(frequency_hz, 1.0)) == pytest.approx(expected, abs=0.1)


def test_loudness_ignores_silence_after_the_sound():
    short = sine(997, 1.0)
    short[N_SAMPLES // 2 :] = 0
    assert loudness_lufs(short) == pytest.approx(FULL_SCALE_SINE_LUFS, abs=0.8)  # blocks at the edge are gated late
    assert loudness_lufs(short) > FULL_SCALE_SINE_LUFS - 3.01 + 1  # the mean over everything would be 3 dB less


def test_loudness_moves_with_the_gain_even_far_below_the_gate():
    assert loudness_lufs(noise(1) * 1e-3) == pytest.approx(loudness_lufs(noise(1)) - 60, abs=1e-3)


def test_equal_loudness_brings_sounds_to_the_target():
    originals = [sine(300, 0.01), noise(2), sine(3000, 0.9)]
    target, sounds = equal_loudness(originals)
    assert target == TARGET_LUFS
    assert [loudness_lufs(sound.audio) for sound in sounds] == pytest.approx([target] * 3, abs=1e-3)
    for original, sound in zip(originals, sounds, strict=True):
        np.testing.assert_allclose(sound.audio, original * 10 ** (sound.gain_db / 20), rtol=1e-6)


def test_equal_loudness_of_a_click_lowers_all_instead_of_clipping():
    click = np.zeros(N_SAMPLES, np.float32)
    click[5000:5004] = 0.5
    target, sounds = equal_loudness([sine(997), click])
    assert target < TARGET_LUFS
    assert [loudness_lufs(sound.audio) for sound in sounds] == pytest.approx([target] * 2, abs=1e-3)
    assert max(np.abs(sound.audio).max() for sound in sounds) == pytest.approx(0.98, abs=1e-3)


def test_equal_loudness_of_a_silent_answer_leaves_it_silent():
    target, [heard, silent] = equal_loudness([sine(997), np.zeros(N_SAMPLES, np.float32)])
    assert (target, heard.is_silent, silent.is_silent, silent.gain_db) == (TARGET_LUFS, False, True, 0.0)
    assert not silent.audio.any()


def test_wav_uri_decodes_to_the_audio():
    audio = noise(3)
    kind, _, text = wav_uri(audio).partition(",")
    decoded, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(text, validate=True)), dtype="float64")
    assert (kind, rate_hz) == ("data:audio/wav;base64", SAMPLE_RATE_HZ)
    np.testing.assert_allclose(decoded, audio, atol=1 / 2**15)


def test_outline_surrounds_each_column():
    audio = np.array([0.5, -0.5, 1.0, 0.0, -1.0, -1.0], np.float32)
    assert outline(audio, columns=3, height=100, peak=1.0) == "M0 25L1 0L2 100L2 100L1 50L0 75Z"


def test_outline_of_silence_is_the_middle_line():
    assert outline(np.zeros(4, np.float32), columns=2, height=10, peak=0.0) == "M0 5L1 5L1 5L0 5Z"
