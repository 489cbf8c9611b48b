"""The size of a report: how many examples fit, and how fine their spectrograms may be."""

from __future__ import annotations

from synthray.synth.instrument import N_SAMPLES

MAX_BYTES = 5_000_000
SOUND_BYTES = 4 * (2 * N_SAMPLES + 44) // 3 + 12_000
"""Upper bound for one sound: its WAV in base64, and its waveform, player and settings."""
MODEL_BYTES = 30_000
"""Upper bound for the scores of one model."""
PAGE_BYTES = 80_000
"""Upper bound for everything else: style, script, distances."""
BYTES_PER_PIXEL = 0.75
"""Upper bound for a spectrogram in base64. The worst case is a difference of white noise at the coarsest size."""
SPECTROGRAM_SIZES = ((144, 320), (112, 240), (96, 200), (80, 160), (64, 128))
"""Rows and columns, from the finest to the coarsest."""


def examples_that_fit(models: int) -> int:
    """Return the number of examples that fit into a report of this many models."""
    empty, one = (_bytes(examples, models, SPECTROGRAM_SIZES[-1]) for examples in (0, 1))
    return max(0, int((MAX_BYTES - empty) / (one - empty)))


def spectrogram_size(examples: int, models: int) -> tuple[int, int]:
    """Return the finest spectrogram size, rows and columns, that keeps a report below ``MAX_BYTES``."""
    return next(
        (size for size in SPECTROGRAM_SIZES if _bytes(examples, models, size) <= MAX_BYTES), SPECTROGRAM_SIZES[-1]
    )


def _bytes(examples: int, models: int, size: tuple[int, int]) -> float:
    """Return an upper estimate of a report's size."""
    pictures = (1 + 2 * models) * size[0] * size[1] * BYTES_PER_PIXEL
    return PAGE_BYTES + models * MODEL_BYTES + examples * ((1 + models) * SOUND_BYTES + pictures)
