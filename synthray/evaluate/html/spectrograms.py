"""Spectrograms of a report as PNG: sounds on one decibel scale, and differences between them.

Frequencies are spaced as on the mel scale, so that low notes have room. Axes and legends are text in the page.
"""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
import numpy.typing as npt

from synthray.data.card.pictures import PALETTE
from synthray.synth.instrument import SAMPLE_RATE_HZ
from synthray.synth.spectra import hz_to_mel, mel_to_hz

Doubles = npt.NDArray[np.float64]

RANGE_DB = 80.0
"""Difference in level between the darkest and the brightest colour."""
DIFFERENCE_DB = 40.0
"""Difference in level, in either direction, that is drawn in full colour."""
WINDOW = 704  # samples, 64 ms
FFT_LENGTH = 2048  # zero-padded, so that the lowest rows have several bins each
LEVELS = 64  # colours, 1.3 dB each; fewer compress better
QUIETER_RGB, LOUDER_RGB = (36, 120, 214), (224, 116, 0)  # blue and orange, told apart with any colour vision


def levels_db(sounds: npt.NDArray[np.float32], rows: int, columns: int) -> Doubles:
    """Return spectrograms in dB relative to the loudest point of all sounds.

    A row is the mean power in a triangular band, from the row below to the row above on the mel scale.

    Args:
        sounds: ``(sounds, samples)`` at 11025 Hz.
        rows: number of frequencies, evenly spaced in mel from 0 Hz to the Nyquist frequency.
        columns: number of times, evenly spaced.

    Returns:
        ``(sounds, rows, columns)`` in dB, from ``-RANGE_DB`` to 0, lowest frequency first.
    """
    centres = ((np.arange(columns) + 0.5) * sounds.shape[1] / columns).astype(int)
    padded = np.pad(sounds, ((0, 0), (WINDOW // 2, WINDOW // 2)))
    frames = padded[:, centres[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, FFT_LENGTH)) ** 2
    power = np.swapaxes(power @ mel_filters(rows).T, 1, 2)
    floor = 10 ** (-RANGE_DB / 10)
    return np.asarray(10 * np.log10(np.maximum(power / (power.max() or 1.0), floor)))


@cache
def mel_filters(rows: int) -> Doubles:
    """Return the weights of the bins in each row, ``(rows, bins)``, each row with the sum 1."""
    edges_hz = mel_to_hz(np.linspace(0, hz_to_mel(SAMPLE_RATE_HZ / 2), rows + 2))
    bins_hz = np.fft.rfftfreq(FFT_LENGTH, 1 / SAMPLE_RATE_HZ)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    weights = np.clip(np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def height_of_hz(frequency_hz: float) -> float:
    """Return the position of a frequency in a picture, from 0 at the lower edge to 1 at the upper edge."""
    return float(hz_to_mel(frequency_hz) / hz_to_mel(SAMPLE_RATE_HZ / 2))


def level_uri(level_db: Doubles) -> str:
    """Return a PNG as data URI; ``level_db`` is ``(rows, columns)`` in dB from ``-RANGE_DB`` to 0."""
    return _png_uri(1 + level_db / RANGE_DB, level_colours())


def difference_uri(match_db: Doubles, original_db: Doubles) -> str:
    """Return the level differences of a match from its original as data URI of a PNG.

    Both levels are ``(rows, columns)`` in dB.
    """
    return _png_uri(0.5 + (match_db - original_db) / (2 * DIFFERENCE_DB), difference_colours())


def level_colours() -> npt.NDArray[np.uint8]:
    """Return the colours from the lowest to the highest level, RGBA ``(LEVELS, 4)``."""
    chosen = PALETTE[np.linspace(0, len(PALETTE) - 1, LEVELS).round().astype(int)]
    return np.column_stack([chosen, np.full(LEVELS, 255)]).round().astype(np.uint8)


def difference_colours() -> npt.NDArray[np.uint8]:
    """Return the colours from quieter to louder, RGBA ``(LEVELS + 1, 4)``.

    Equal levels are transparent, so that they fit a light and a dark page.
    """
    signed = np.linspace(-1, 1, LEVELS + 1)  # an odd number, so that one of them is 0
    colours = np.where(signed[:, None] < 0, QUIETER_RGB, LOUDER_RGB)
    return np.column_stack([colours, 255 * np.abs(signed)]).round().astype(np.uint8)


def gradient(colours: npt.NDArray[np.uint8]) -> str:
    """Return the CSS of a legend."""
    stops = [f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in colours[:: len(colours) // 8].tolist()]
    return f"linear-gradient(to right, {', '.join(stops)})"


def _png_uri(share: Doubles, colours: npt.NDArray[np.uint8]) -> str:
    """Return a PNG as data URI. ``share`` in [0, 1] selects from ``colours``.

    It is ``(rows, columns)``, lowest row first.
    """
    from PIL import Image

    index = np.rint(np.clip(share, 0, 1) * (len(colours) - 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(index[::-1]), "P")
    image.putpalette(colours[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, transparency=colours[:, 3].tobytes())
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
