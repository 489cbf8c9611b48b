"""A data set in the batch layout with other names, counts, shapes and dtypes than synthray's own."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

BATCHES = 7
FRAMES, BINS = 12, 33
KEYS = [["global", "volume"], [1, "osc", "wave"], [1, "osc", "pitch"], ["lp", 2, "cut"], ["env", 0]]
PARTS = [
    {"random_type": "constant"},
    {"random_type": "choice", "random_values": ["a", "b", 3, None, 5.5]},
    {"random_type": "range", "random_values": [0, 1]},
    {"random_type": "range"},
    {"random_type": "choice", "random_values": np.array([1, 2])},
]


def batch(number: int) -> tuple[np.ndarray, list]:
    """Return features, float64, and one array per parameter; the last batch is short."""
    random = np.random.default_rng(number)
    size = 32 if number < BATCHES - 1 else 11
    columns = [
        "constant",
        np.eye(5, dtype=int)[random.integers(5, size=size)],
        random.random(size),
        random.random((size, 1)),
        np.eye(2)[random.integers(2, size=size)],
    ]
    return np.abs(random.normal(size=(size, FRAMES, BINS))), columns


def write(folder: Path, batches: int = BATCHES) -> Path:
    """Write the data set to ``folder``, using each pickle protocol in turn."""
    (folder / "fft").mkdir(parents=True)
    (folder / "parameters").mkdir()
    (folder / "keys.pkl").write_bytes(pickle.dumps(KEYS, protocol=2))
    (folder / "randomizer_parts.pkl").write_bytes(pickle.dumps(PARTS))
    for number in range(batches):
        features, columns = batch(number)
        np.save(folder / "fft" / f"fft_batch_{number}.npy", features)
        path = folder / "parameters" / f"parameter_batches_{number}.pkl"
        path.write_bytes(pickle.dumps(columns, protocol=number % 6))
    return folder
