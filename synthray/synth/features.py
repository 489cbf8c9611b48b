"""Features of a sound: the magnitudes of its spectrum in 20 chunks, as the notebook defines them."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import fft

from synthray.errors import SoundError
from synthray.synth.instrument import N_SAMPLES
from synthray.synth.lanes import LANES
from synthray.synth.voice import check_seeds, check_settings, in_threads, render_into

N_CHUNKS = 20
CHUNK_SAMPLES = N_SAMPLES // N_CHUNKS  # 1102; the last 10 samples of a sound belong to no chunk
N_BINS = CHUNK_SAMPLES // 2  # 551; the bin at the Nyquist frequency is left out
FEATURE_SHAPE = (N_CHUNKS, N_BINS)

# So many sounds at a time that audio, spectrum and magnitudes stay in a core's cache. Always a whole block, padded with
# silence: the FFT takes several chunks at once in wide registers and the rest singly, which may round differently.
BLOCK_SOUNDS = 8


def analyse(audio: np.ndarray, dtype: np.dtype | type = np.float32, threads: int | None = None) -> np.ndarray:
    """Magnitudes of the FFT of each chunk.

    Args:
        audio: float32 (sounds, 22050), 2 s at 11025 Hz.
        dtype: of the result: float32, or float16 to save room.
        threads: how many to use; without it, every core that the process may use.

    Returns:
        ``dtype`` (sounds, 20, 551): sounds, chunks of 0.1 s, bins of 10.005 Hz from 0 Hz on. The same bit for bit
        at any batch size.

    Raises:
        SoundError: the audio has another shape.
    """
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 2 or audio.shape[1] != N_SAMPLES:
        raise SoundError(f"audio has the shape {audio.shape}, not (sounds, {N_SAMPLES})")
    features = np.empty((len(audio), *FEATURE_SHAPE), dtype)
    blocks = range(0, len(audio), BLOCK_SOUNDS)
    in_threads(lambda first: _analyse_block(audio, features, first), blocks, threads)
    return features


def render_features(
    settings: np.ndarray,
    noise_seeds: np.ndarray | None = None,
    threads: int | None = None,
    dtype: np.dtype | type = np.float32,
) -> np.ndarray:
    """What ``analyse(render(settings, noise_seeds))`` gives, faster: the audio never leaves the cache.

    Args, Raises: as for ``render``.

    Returns:
        ``dtype`` (sounds, 20, 551).
    """
    settings = check_settings(settings)
    seeds = check_seeds(noise_seeds, len(settings))
    features = np.empty((len(settings), *FEATURE_SHAPE), dtype)

    def work(first: int) -> None:
        rows = slice(first, first + LANES)
        audio = render_into(np.empty((len(settings[rows]), N_SAMPLES), np.float32), settings[rows], seeds[rows])
        for start in range(0, len(audio), BLOCK_SOUNDS):
            _analyse_block(audio, features[rows], start)

    in_threads(work, range(0, len(settings), LANES), threads)
    return features


def _analyse_block(audio: np.ndarray, features: np.ndarray, first: int) -> None:
    """Features of ``BLOCK_SOUNDS`` sounds from ``first`` on."""
    block = audio[first : first + BLOCK_SOUNDS, : N_CHUNKS * CHUNK_SAMPLES]
    count = len(block)
    if count < BLOCK_SOUNDS:
        block = np.concatenate([block, np.zeros((BLOCK_SOUNDS - count, block.shape[1]), np.float32)])
    spectrum = fft.rfft(block.reshape(BLOCK_SOUNDS, N_CHUNKS, CHUNK_SAMPLES), axis=-1)
    features[first : first + count] = _magnitudes(spectrum[:count])


@njit(nogil=True, cache=True, error_model="numpy")
def _magnitudes(spectrum):
    """Of complex64 (sounds, chunks, bins and one more): float32 (sounds, chunks, bins).

    ``np.abs`` takes twice the time, to be safe from an overflow that no sound in [-1, 1] can come to.
    """
    magnitudes = np.empty((*spectrum.shape[:2], N_BINS), np.float32)
    for sound in range(spectrum.shape[0]):
        for chunk in range(spectrum.shape[1]):
            for k in range(N_BINS):
                value = spectrum[sound, chunk, k]
                magnitudes[sound, chunk, k] = np.sqrt(value.real * value.real + value.imag * value.imag)
    return magnitudes
