"""Features of a sound. The analysis ``fft`` has the magnitudes of its spectrum in 20 chunks, as in the notebook.

Rendering is in ``voice.py``, the analysis ``spectra`` in ``spectra.py``, loudness from features in ``loudness.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from synthray.errors import ConfigError, SoundError
from synthray.synth.dsp.lanes import LANES, Floats, compiled
from synthray.synth.instrument import N_SAMPLES
from synthray.synth.spectra import SPECTRA_SHAPE, spectra
from synthray.synth.voice import check_seeds, check_settings, in_threads, render_into

N_CHUNKS = 20
CHUNK_SAMPLES = N_SAMPLES // N_CHUNKS  # 1102; the last 10 samples of a sound are not used
N_BINS = CHUNK_SAMPLES // 2  # 551; the bin at the Nyquist frequency is not used
FEATURE_SHAPE = (N_CHUNKS, N_BINS)

BLOCK_SOUNDS = 8
"""Sounds that are analysed together, so that audio, spectrum and magnitudes stay in a core's cache.

A smaller block is padded with silence. The FFT computes several chunks at once and the remaining ones singly, and the
two ways may round differently.
"""


@dataclass(frozen=True)
class Analysis:
    """A way to make features of sounds."""

    shape: tuple[int, int]
    """Frames and levels of a sound's features."""
    of_block: Callable[[Floats], Floats]
    """Returns the features of a block of audio, float32 (sounds, 22050)."""


def fft_magnitudes(audio: Floats) -> Floats:
    """Return the magnitudes of the FFT of each chunk.

    Args:
        audio: float32 (sounds, 22050), 2 s at 11025 Hz.

    Returns:
        float32 (sounds, chunks of 0.1 s, bins of 10.005 Hz from 0 Hz on) = (sounds, 20, 551).
    """
    chunks = audio[:, : N_CHUNKS * CHUNK_SAMPLES].reshape(len(audio), N_CHUNKS, CHUNK_SAMPLES)
    return _magnitudes(fft.rfft(chunks, axis=-1))


ANALYSES = {"fft": Analysis(FEATURE_SHAPE, fft_magnitudes), "spectra": Analysis(SPECTRA_SHAPE, spectra)}
"""Analyses by name. To add one, write its function and add it here."""


def feature_shape(analysis: str) -> tuple[int, int]:
    """Return the frames and levels of an analysis; raises ConfigError if there is none of this name."""
    if analysis not in ANALYSES:
        raise ConfigError(f"there is no analysis {analysis!r}. Choose one of {', '.join(ANALYSES)}.")
    return ANALYSES[analysis].shape


def analyse(audio: npt.ArrayLike, threads: int | None = None, analysis: str = "fft") -> Floats:
    """Return the features of sounds.

    Args:
        audio: float32 (sounds, 22050), 2 s at 11025 Hz.
        threads: number of threads; None uses every core that the process may use.
        analysis: a key of ``ANALYSES``.

    Returns:
        float32 (sounds, frames, levels). Bit-identical at any batch size.

    Raises:
        SoundError: the audio has another shape.
        ConfigError: there is no such analysis.
    """
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 2 or audio.shape[1] != N_SAMPLES:
        raise SoundError(f"audio has the shape {audio.shape}, not (sounds, {N_SAMPLES})")
    features = np.empty((len(audio), *feature_shape(analysis)), np.float32)
    blocks = range(0, len(audio), BLOCK_SOUNDS)
    in_threads(lambda first: _analyse_block(audio, features, first, analysis), blocks, threads)
    return features


def render_features(
    settings: npt.ArrayLike,
    noise_seeds: npt.ArrayLike | None = None,
    threads: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    analysis: str = "fft",
) -> npt.NDArray[Any]:
    """Return ``analyse(render(settings, noise_seeds))``, faster because the audio stays in the cache.

    Args:
        settings: as for ``render``.
        noise_seeds: as for ``render``.
        threads: number of threads; None uses every core that the process may use.
        dtype: of the result, float32 or float16.
        analysis: a key of ``ANALYSES``.

    Returns:
        ``dtype`` (sounds, frames, levels).

    Raises:
        SoundError: as for ``render``.
        ConfigError: there is no such analysis.
    """
    settings = check_settings(settings)
    seeds = check_seeds(noise_seeds, len(settings))
    features = np.empty((len(settings), *feature_shape(analysis)), dtype)

    def work(first: int) -> None:
        rows = slice(first, first + LANES)
        audio = render_into(np.empty((len(settings[rows]), N_SAMPLES), np.float32), settings[rows], seeds[rows])
        for start in range(0, len(audio), BLOCK_SOUNDS):
            _analyse_block(audio, features[rows], start, analysis)

    in_threads(work, range(0, len(settings), LANES), threads)
    return features


def _analyse_block(audio: Floats, features: npt.NDArray[Any], first: int, analysis: str) -> None:
    """Write the features of at most ``BLOCK_SOUNDS`` sounds from ``first`` on."""
    block = audio[first : first + BLOCK_SOUNDS]
    count = len(block)
    if count < BLOCK_SOUNDS:
        block = np.concatenate([block, np.zeros((BLOCK_SOUNDS - count, block.shape[1]), np.float32)])
    features[first : first + count] = ANALYSES[analysis].of_block(block)[:count]


@compiled
def _magnitudes(spectrum: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Return magnitudes (sounds, chunks, bins) of a spectrum that has one bin more.

    ``np.abs`` takes twice the time, because it prevents an overflow that sounds in [-1, 1] cannot cause.
    """
    magnitudes = np.empty((*spectrum.shape[:2], N_BINS), np.float32)
    for sound in range(spectrum.shape[0]):
        for chunk in range(spectrum.shape[1]):
            for k in range(N_BINS):
                value = spectrum[sound, chunk, k]
                magnitudes[sound, chunk, k] = np.sqrt(value.real * value.real + value.imag * value.imag)
    return magnitudes
