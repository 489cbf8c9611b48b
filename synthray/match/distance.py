"""Log-spectral distance between sounds, and that of predicted settings.

Scores per parameter are in ``synthray.evaluate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthray.synth.features import analyse
from synthray.synth.voice import render

# A full-scale sine has magnitude 551 in a frame of 1102 samples. Below -80 dB of that counts as silence.
FULL_SCALE = 551.0
FLOOR = FULL_SCALE * 10 ** (-80 / 20)


@dataclass(frozen=True)
class Distances:
    """Sums of distances over sounds, which can be added."""

    sounds: int = 0
    predicted_db: float = 0.0
    """Sum of the distances of the predicted presets."""
    random_db: float = 0.0
    """Sum of the distances of random other presets."""

    def __add__(self, other: Distances) -> Distances:
        return Distances(
            self.sounds + other.sounds, self.predicted_db + other.predicted_db, self.random_db + other.random_db
        )

    def to_json(self) -> dict[str, Any] | None:
        """Return the means, or None without sounds."""
        if not self.sounds:
            return None
        return {
            "measure": "log-spectral distance, dB",
            "sounds": self.sounds,
            "predicted_db": self.predicted_db / self.sounds,
            "random_db": self.random_db / self.sounds,
        }


def log_spectral_distance_db(features: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the log-spectral distance of each pair, in dB, float64 ``(sounds,)``.

    It is the root mean square of the level differences over bins, averaged over frames (Gray and Markel, 1976).
    Levels below -80 dB of full scale count as -80 dB.

    Args:
        features: magnitudes ``(sounds, frames, bins)``.
        other: magnitudes of the same shape.
    """
    difference_db = _levels_db(features) - _levels_db(other)
    return np.asarray(np.sqrt((difference_db**2).mean(axis=2)).mean(axis=1))


def measure_distances(features: np.ndarray, settings: np.ndarray, threads: int | None = None) -> Distances:
    """Return the distances of sounds to their predicted and to random presets.

    Args:
        features: of the originals, float32 ``(sounds, frames, bins)``.
        settings: predicted, float32 ``(sounds, parameters)`` in each parameter's unit.
        threads: threads that render. The default is one per CPU.
    """
    if len(features) < 2:
        return Distances()
    predicted = log_spectral_distance_db(features, analyse(render(settings, threads=threads), threads=threads))
    # Examples of a data set are independent, so the preset of a neighbour is a random preset.
    random = log_spectral_distance_db(features, np.roll(features, 1, axis=0))
    return Distances(len(features), float(predicted.sum()), float(random.sum()))


def _levels_db(magnitudes: np.ndarray) -> np.ndarray:
    return np.asarray(20 * np.log10(np.maximum(magnitudes, FLOOR, dtype=np.float64)))
