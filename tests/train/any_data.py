"""Data sets of any scale and number of parameters, whose features depend on the parameters."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FRAMES, BINS = 4, 16
Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Data:
    """A data set whose features depend on its parameters."""

    change: Change = lambda _, magnitudes: magnitudes
    """From magnitudes about 1 to the features."""
    ranges: int = 3
    choices: int = 1
    classes: int = 3
    frames: int = FRAMES
    examples: int = 128
    interval: tuple[float, float] = (0.0, 1.0)
    """Values of the ranges."""

    def write(self, folder: Path) -> Path:
        """Write four batches in the batch layout."""
        choice = {"random_type": "choice", "random_values": list(range(self.classes))}
        parts = [{"random_type": "range", "random_values": self.interval}] * self.ranges + [choice] * self.choices
        (folder / "fft").mkdir(parents=True)
        (folder / "parameters").mkdir()
        (folder / "keys.pkl").write_bytes(pickle.dumps([["parameter", number] for number in range(len(parts))]))
        (folder / "randomizer_parts.pkl").write_bytes(pickle.dumps(parts))
        random = np.random.default_rng(0)
        mixture = random.normal(size=(len(parts), self.frames * BINS)) * 4 / np.sqrt(len(parts))
        for number in range(4):
            size = self.examples // 4
            positions = random.random((size, self.ranges))
            labels = random.integers(self.classes, size=(size, self.choices))
            hidden = np.concatenate([positions, labels / self.classes], axis=1) - 0.5
            magnitudes = np.exp(hidden @ mixture).reshape(size, self.frames, BINS)
            np.save(folder / "fft" / f"fft_batch_{number}.npy", self.change(random, magnitudes))
            columns = [*(self.interval[0] + np.ptp(self.interval) * positions.T), *np.eye(self.classes)[labels.T]]
            (folder / "parameters" / f"parameter_batches_{number}.pkl").write_bytes(pickle.dumps(columns))
        return folder

    @property
    def chance(self) -> float:
        """Loss of a network that gives each part of a range and each class the same probability."""
        return self.ranges * float(np.log(32)) + self.choices * float(np.log(self.classes))


def scaled(factor: float) -> Change:
    return lambda _, magnitudes: magnitudes * factor
