"""Answers that need no model: the mean preset, random presets, and the nearest of many random presets.

How all answers are compared with the originals is in ``matches.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.match.distances.spectra import mel_filters
from synthray.match.distances.spectral import LOG_SPECTRAL_FLOOR
from synthray.synth.dsp.lanes import Floats, Seeds, f32
from synthray.synth.features import CHUNK_SAMPLES, N_BINS, render_features
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets

ANSWER_SEED, CANDIDATE_SEED = 2**63, 2**63 + 1  # seeds of data sets are smaller
CANDIDATES = 20_000
BANDS = 64

_RENDERED_TOGETHER = 512  # 23 MB of features
_COMPARED_TOGETHER = 256  # 20 MB of distances to 20,000 candidates


def settings_of(labels: npt.ArrayLike) -> Floats:
    """Return valid settings of the instrument, float32 (sounds, 46), for labels (sounds, learned).

    Ranges are clipped to [0, 1].
    """
    labels = np.asarray(labels, np.float32)
    is_choice = [isinstance(parameter, Choice) for parameter in INSTRUMENT.learned]
    return INSTRUMENT.labels_to_settings(np.where(is_choice, labels, np.clip(labels, f32(0.0), f32(1.0))))


def random_settings(first_row: int, count: int) -> Floats:
    """Return one random preset for each row from ``first_row`` on, float32 (count, 46)."""
    return settings_of(random_presets(ANSWER_SEED, first_row, count))


def answer_noise_seeds(first_row: int, count: int) -> Seeds:
    """Return one noise seed for the answers to each row, uint64 (count,). It differs from the original's."""
    return noise_seeds(ANSWER_SEED, first_row, count)


@dataclass(frozen=True)
class Candidates:
    """Random presets to search for the nearest one by a fast log-spectral distance."""

    levels: Floats
    """``(candidates, values)`` from ``band_levels``, in dB."""

    @classmethod
    def render(cls, count: int = CANDIDATES, threads: int | None = None) -> Candidates:
        """Render and describe ``count`` random presets; 20,000 take 100 MB."""
        levels = np.empty((count, band_levels(np.zeros((1, 20, N_BINS), np.float32)).shape[1]), np.float32)
        for first in range(0, count, _RENDERED_TOGETHER):
            block = levels[first : first + _RENDERED_TOGETHER]
            settings = settings_of(random_presets(CANDIDATE_SEED, first, len(block)))
            block[:] = band_levels(render_features(settings, noise_seeds(CANDIDATE_SEED, first, len(block)), threads))
        return cls(levels)

    def nearest(self, features: Floats) -> Floats:
        """Return the settings of the candidate nearest to each sound, float32 (sounds, 46).

        Args:
            features: float32 (sounds, 20, 551).
        """
        blocks = range(0, len(features), _COMPARED_TOGETHER)
        found = [self._nearest(band_levels(features[first : first + _COMPARED_TOGETHER])) for first in blocks]
        numbers = np.concatenate(found) if found else np.empty(0, np.int64)
        presets = [random_presets(CANDIDATE_SEED, int(number), 1) for number in numbers]
        return settings_of(np.concatenate(presets) if presets else np.empty((0, len(INSTRUMENT.learned))))

    def _nearest(self, levels: Floats) -> npt.NDArray[np.int64]:
        """Return the index of the candidate with the smallest squared difference to each row of ``levels``."""
        # The squared level of the sound itself is left out: it is the same for all candidates.
        differences = np.vecdot(self.levels, self.levels) - 2 * (levels @ self.levels.T)
        return np.asarray(differences.argmin(axis=1))


def band_levels(features: Floats) -> Floats:
    """Return levels in mel bands, in dB and at least -80 dB of full scale, float32 (sounds, chunks · bands).

    Args:
        features: float32 (sounds, 20, 551).
    """
    power = np.square(features) @ mel_filters(CHUNK_SAMPLES, BANDS)[:, :N_BINS].T
    area = mel_filters(CHUNK_SAMPLES, BANDS).max(axis=1)  # to undo Slaney's scaling: a sine keeps its power
    levels = 10 * np.log10(np.maximum(power / area, f32(LOG_SPECTRAL_FLOOR**2)))
    return np.asarray(levels.reshape(len(features), -1), np.float32)
