"""Levels against a literal Fourier transform, and colours of pixels."""

import base64
import cmath
import io
import math

import numpy as np
import pytest
from PIL import Image

from synthray.evaluate.html.spectrograms import (
    DIFFERENCE_DB,
    FFT_LENGTH,
    LOUDER_RGB,
    QUIETER_RGB,
    RANGE_DB,
    WINDOW,
    difference_uri,
    height_of_hz,
    level_colours,
    level_uri,
    levels_db,
)
from synthray.synth.instrument import N_SAMPLES, SAMPLE_RATE_HZ
from tests.evaluate.html.samples import noise, sine


def pixels(uri: str) -> np.ndarray:
    """Return RGBA ``(rows, columns, 4)``, lowest row first."""
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[::-1]


def literal_power(audio: np.ndarray, row: int, rows: int, column: int, columns: int) -> float:
    """Return the power of one cell, term by term."""
    first = int((column + 0.5) * N_SAMPLES / columns) - WINDOW // 2
    frame = [
        (float(audio[first + i]) if 0 <= first + i < N_SAMPLES else 0.0)
        * (0.5 - 0.5 * math.cos(2 * math.pi * i / (WINDOW - 1)))
        for i in range(WINDOW)
    ]
    mel_step = 2595 * math.log10(1 + SAMPLE_RATE_HZ / 2 / 700) / (rows + 1)
    low, centre, high = (700 * (10 ** (mel_step * edge / 2595) - 1) for edge in (row, row + 1, row + 2))
    total = weights = 0.0
    for bin_ in range(FFT_LENGTH // 2 + 1):
        hz = bin_ * SAMPLE_RATE_HZ / FFT_LENGTH
        weight = max(0.0, min((hz - low) / (centre - low), (high - hz) / (high - centre)))
        if weight:
            value = sum(x * cmath.exp(-2j * math.pi * bin_ * i / FFT_LENGTH) for i, x in enumerate(frame))
            total += weight * abs(value) ** 2
            weights += weight
    return total / weights


def test_levels_equal_a_literal_transform():
    sounds = np.stack([noise(1), sine(600)])
    levels = levels_db(sounds, rows=24, columns=10)
    cells = [(0, 0, 0), (0, 5, 9), (0, 12, 4), (1, 4, 2), (1, 6, 5)]
    found = [levels[cell] - levels[0, 5, 9] for cell in cells]
    powers = [literal_power(sounds[sound], row, 24, column, 10) for sound, row, column in cells]
    assert found == pytest.approx([10 * math.log10(power / powers[1]) for power in powers], abs=1e-6)


def test_levels_share_one_scale():
    levels = levels_db(np.stack([sine(600), sine(600, 0.02), np.zeros(N_SAMPLES, np.float32)]), 48, 20)
    assert levels[0].max() == 0.0
    assert levels[1].max() == pytest.approx(-20.0, abs=1e-3)
    assert (levels[2] == -RANGE_DB).all()


def test_levels_of_silence_are_the_floor():
    assert (levels_db(np.zeros((2, N_SAMPLES), np.float32), 8, 4) == -RANGE_DB).all()


@pytest.mark.parametrize("frequency_hz", [150, 1000, 4000])
def test_height_of_hz_is_where_a_sine_is_brightest(frequency_hz):
    level = levels_db(sine(frequency_hz)[None], 96, 20)[0].mean(axis=1)
    assert (level.argmax() + 1) / 97 == pytest.approx(height_of_hz(frequency_hz), abs=1 / 96)


def test_level_uri_has_the_colour_of_each_level():
    level = np.array([[-RANGE_DB, -RANGE_DB / 2], [-1e-3, 0.0]])
    shown, colours = pixels(level_uri(level)), level_colours()
    assert shown.shape == (2, 2, 4)
    assert shown[0, 0].tolist() == colours[0].tolist()
    assert shown[1].tolist() == [colours[-1].tolist()] * 2
    assert shown[0, 1].tolist() == colours[round(0.5 * (len(colours) - 1))].tolist()


def test_difference_uri_is_transparent_where_equal_and_coloured_where_not():
    original = np.array([[-50.0, -50.0, -50.0, -80.0]])
    match = np.array([[-50.0, -50.0 + DIFFERENCE_DB, -50.0 - DIFFERENCE_DB / 2, 0.0]])
    equal, louder, quieter, far_louder = pixels(difference_uri(match, original))[0].tolist()
    assert equal[3] == 0
    assert louder == far_louder == [*LOUDER_RGB, 255]
    assert quieter[:3] == list(QUIETER_RGB)
    assert quieter[3] == pytest.approx(128, abs=2)
