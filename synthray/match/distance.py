"""How far two sounds are from each other, and so how close a predicted preset sounds. Needs the instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Magnitudes of a full-scale sine reach 551 in a chunk of 1102 samples; 80 dB below that is silence to any listener.
FULL_SCALE = 551.0
FLOOR = FULL_SCALE * 10 ** (-80 / 20)


@dataclass(frozen=True)
class Distances:
    """Sums over sounds, in dB: of the predicted presets' distances, and of a random other preset's."""

    sounds: int = 0
    predicted_db: float = 0.0
    random_db: float = 0.0

    def __add__(self, other: Distances) -> Distances:
        return Distances(
            self.sounds + other.sounds, self.predicted_db + other.predicted_db, self.random_db + other.random_db
        )

    def to_json(self) -> dict[str, Any] | None:
        """The means; None where no sound was measured."""
        if not self.sounds:
            return None
        return {
            "measure": "log-spectral distance, dB",
            "sounds": self.sounds,
            "predicted_db": self.predicted_db / self.sounds,
            "random_db": self.random_db / self.sounds,
        }


def log_spectral_distance_db(features: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances of sounds, float64 ``(sounds,)``, in dB.

    The root mean square, over bins, of the level difference in dB, averaged over frames; levels below -80 dB of full
    scale count as -80 dB (Gray and Markel, 1976, with a floor).

    Args:
        features: magnitudes ``(sounds, frames, bins)``.
        other: the same shape.
    """
    levels_db = [20 * np.log10(np.maximum(magnitudes, FLOOR, dtype=np.float64)) for magnitudes in (features, other)]
    return np.sqrt(((levels_db[0] - levels_db[1]) ** 2).mean(axis=2)).mean(axis=1)


def measure_distances(features: np.ndarray, settings: np.ndarray, threads: int | None = None) -> Distances:
    """Distances of the originals to the sounds of predicted ``settings``, and to each other.

    Args:
        features: of the originals, float32 ``(sounds, frames, bins)``.
        settings: predicted, float32 ``(sounds, parameters)`` in units.
        threads: for rendering; without it, every core.
    """
    from synthray.synth.features import analyse
    from synthray.synth.voice import render

    if len(features) < 2:
        return Distances()
    predicted = log_spectral_distance_db(features, analyse(render(settings, threads=threads), threads=threads))
    # The neighbour's preset is as good as a random one: examples of a data set are independent.
    other = log_spectral_distance_db(features, np.roll(features, 1, axis=0))
    return Distances(len(features), float(predicted.sum()), float(other.sum()))
