"""The distance that a search minimises: of presets to one target sound.

It is nearly the multi-scale distance of ``distances``, at a fraction of its time: the windows have powers of two
samples. The search itself is in ``search.py``.
"""

from __future__ import annotations

import numpy as np

from synthray.match.distances.spectra import decibels, mel_spectrogram
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.lanes import LANES, Floats
from synthray.synth.voice import check_settings, in_threads, render_into

RESOLUTIONS = ((128, 55, 32), (256, 110, 64), (1024, 551, 128))
"""Samples of a window, samples between windows, and mel bands."""
LEVEL_WEIGHT = 0.03
"""Weight of one decibel of difference in loudness, which the spectra leave out; a small one, to break ties."""
LARGEST_LEVEL_DB = 30.0
BLOCK_SOUNDS = 8
"""Sounds that are analysed together, so that their spectra stay in a core's cache."""


class Objective:
    """Distances of presets to a target, counted.

    Args:
        target: float32 ``(22050,)``, 2 s at 11025 Hz.
        threads: threads that render. The distances are the same for any number of them.
    """

    def __init__(self, target: Floats, threads: int = 1) -> None:
        self._target, self._threads = levels(target[None]), threads
        self._target_db = loudness_db(target[None])
        self._audio = np.empty((0, N_SAMPLES), np.float32)
        self.evaluations = 0

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Return the distances of presets in dB, float64 ``(presets,)``, for labels float32 ``(presets, learned)``."""
        settings = check_settings(INSTRUMENT.labels_to_settings(labels))
        if len(settings) > len(self._audio):
            # Memory is kept, because fresh memory costs as much time as rendering.
            self._audio = np.empty((len(settings), N_SAMPLES), np.float32)
        distances = np.empty(len(settings))

        def measure(first: int) -> None:
            block = settings[first : first + LANES]
            audio = render_into(self._audio[first : first + len(block)], block, np.zeros(len(block), np.uint64))
            for start in range(0, len(block), BLOCK_SOUNDS):
                part = audio[start : start + BLOCK_SOUNDS]
                distances[first + start : first + start + len(part)] = self._distances(part)

        in_threads(measure, range(0, len(settings), LANES), self._threads)
        self.evaluations += len(settings)
        return distances

    def _distances(self, audio: Floats) -> np.ndarray:
        pairs = zip(levels(audio), self._target, strict=True)
        spectral = np.mean([np.abs(level - target).mean(axis=(1, 2)) for level, target in pairs], axis=0)
        loudness = np.minimum(np.abs(loudness_db(audio) - self._target_db), LARGEST_LEVEL_DB)
        return np.asarray(spectral + LEVEL_WEIGHT * loudness, np.float64)


def levels(audio: Floats) -> list[Floats]:
    """Return mel spectrograms in dB of their maximum, one float32 ``(sounds, frames, bands)`` for each resolution."""
    spectrograms = (mel_spectrogram(audio, *resolution) for resolution in RESOLUTIONS)
    return [decibels(power, power.max(axis=(1, 2))) for power in spectrograms]


def loudness_db(audio: Floats) -> np.ndarray:
    """Return the RMS level of sounds in dB of full scale, at least -120, float64 ``(sounds,)``."""
    return np.asarray(10 * np.log10(np.vecdot(audio, audio).astype(np.float64) / audio.shape[-1] + 1e-12))
