"""The training of the project's original notebook, with its DataLoader, 38 heads and ``fit``, as a baseline.

Benchmarks import it. Our own training is in ``synthray/train``.
"""

from __future__ import annotations

import pickle
import time
from pathlib import Path

from synthray.quiet import quiet

with quiet():
    import keras

import numpy as np

from synthray.model.heads import output_name
from synthray.model.networks import build_named
from synthray.synth.instrument import INSTRUMENT

SHAPE = (20, 551)
EXAMPLES = 32  # per batch


class DataLoader(keras.utils.PyDataset):
    """The notebook's loader, which reads one pair of files per step."""

    def __init__(self, folder: Path, numbers: range) -> None:
        super().__init__()
        self._folder, self._numbers = folder, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[dict, dict]:
        number = self._numbers[index]
        features = np.load(self._folder / f"fft/fft_batch_{number}.npy")
        columns = pickle.loads((self._folder / f"parameters/parameter_batches_{number}.pkl").read_bytes())
        names = [output_name(parameter.name) for parameter in INSTRUMENT.parameters]
        return {"in_fft": features}, {n: c for n, c in zip(names, columns, strict=True) if not isinstance(c, str)}


def pace(folder: Path, batches: int) -> float:
    """Return examples per second of one epoch, after another one to warm up."""
    model, loader = build_named("notebook", SHAPE, INSTRUMENT), DataLoader(folder, range(batches))
    model.fit(loader, verbose=0)
    start_s = time.perf_counter()
    model.fit(loader, verbose=0)
    return batches * EXAMPLES / (time.perf_counter() - start_s)


def train(folder: Path, batches: int, held_out: int, epochs: int) -> tuple[float, list[float]]:
    """Train, validating on the last ``held_out`` batches; return seconds and the validation loss of each epoch."""
    start_s = time.perf_counter()
    model = build_named("notebook", SHAPE, INSTRUMENT)
    training = batches - held_out
    history = model.fit(
        DataLoader(folder, range(training)),
        epochs=epochs,
        validation_data=DataLoader(folder, range(training, batches)),
        verbose=2,
    )
    return time.perf_counter() - start_s, history.history["val_loss"]
