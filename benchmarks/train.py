"""Training: examples per second beside the notebook's own loader and fit, and beside the bare step.

    python benchmarks/train.py
    python benchmarks/train.py --batches 256 --epochs 4

All on the same generated sounds, in turn, on this machine:

- the notebook: its DataLoader over its files, its 38 heads, its ``fit``, batches of 32;
- the bare step: synthray's compiled step on tensors that lie in memory already, one process;
- synthray end to end: Ray Train, order, checkpoints and all, on one worker and on two, the last epoch's pace.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from synthray.quiet import quiet_import

with quiet_import():
    import keras
    import tensorflow as tf

import numpy as np

from synthray.data import ray_data
from synthray.data.build import BuildConfig
from synthray.data.dataset import Dataset
from synthray.data.generate import GenerateConfig
from synthray.data.notebook import NotebookSource
from synthray.model.artifact import read_card
from synthray.model.heads import output_name
from synthray.model.networks import build_named
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.train import ray_train
from synthray.train.config import TrainConfig
from synthray.train.steps import Steps

SHAPE = (20, 551)


class NotebookLoader(keras.utils.PyDataset):
    """The notebook's DataLoader: one pair of files a step."""

    def __init__(self, folder: Path, batches: int) -> None:
        super().__init__()
        self.source, self.folder, self.batches = NotebookSource.open(str(folder)), folder, batches

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[dict, dict]:
        import pickle

        features = np.load(self.folder / f"fft/fft_batch_{index}.npy")
        columns = pickle.loads((self.folder / f"parameters/parameter_batches_{index}.pkl").read_bytes())
        names = [output_name(parameter.name) for parameter in INSTRUMENT.parameters]
        return {"in_fft": features}, {n: c for n, c in zip(names, columns, strict=True) if not isinstance(c, str)}


def notebook_pace(folder: Path, batches: int) -> float:
    """Examples per second of the notebook's way, after an epoch to warm up."""
    model, loader = build_named("notebook", SHAPE, INSTRUMENT), NotebookLoader(folder, batches)
    metrics = {output_name(p.name): "categorical_accuracy" for p in INSTRUMENT.learned if isinstance(p, Choice)}
    losses = {
        output_name(p.name): "categorical_crossentropy" if isinstance(p, Choice) else "mean_absolute_error"
        for p in INSTRUMENT.learned
    }
    model.compile(optimizer=keras.optimizers.SGD(), loss=losses, metrics=metrics)
    model.fit(loader, verbose=0)
    began_s = time.perf_counter()
    model.fit(loader, verbose=0)
    return batches * 32 / (time.perf_counter() - began_s)


def bare_pace(dataset: Dataset, batch_size: int, seconds: float = 4.0) -> float:
    """Examples per second of the step alone, on one batch in memory."""
    config = TrainConfig("data", "out", batch_size=batch_size)
    steps = Steps(config, dataset.manifest, tf.distribute.get_strategy())
    batch = dataset.take(np.arange(batch_size))
    tensors = [tf.constant(batch.features), tf.constant(batch.labels), tf.ones(batch_size)]
    count = tf.constant(float(batch_size))
    for _ in range(3):
        steps.train(*tensors, count)
    paces, ends_s = [], time.perf_counter() + seconds
    while time.perf_counter() < ends_s:
        began_s = time.perf_counter()
        for _ in range(4):
            steps.train(*tensors, count)
        paces.append(4 * batch_size / (time.perf_counter() - began_s))
    return statistics.median(paces)


def end_to_end_pace(data: str, out: Path, batch_size: int, workers: int, epochs: int) -> float:
    """Examples per second of the last epoch of a whole training."""
    config = TrainConfig(data, str(out), epochs=epochs, batch_size=batch_size)
    return read_card(ray_train.train(config, ray_train.Workers(workers), lambda _: None)).metrics["examples_per_s"]


def main() -> None:
    arguments = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="synthray-bench-") as scratch:
        folder = Path(scratch)
        ray_data.connect()
        ray_data.generate(GenerateConfig(str(folder / "batches"), arguments.batches))
        ray_data.convert(str(folder / "batches"), BuildConfig(str(folder / "data")))
        dataset = Dataset.open(str(folder / "data"))
        paces = {"the notebook, batch 32": notebook_pace(folder / "batches", arguments.batches)}
        for size in (32, 512):
            paces[f"bare step, batch {size}"] = bare_pace(dataset, size)
        for size, workers in ((32, 1), (512, 1), (1024, 1), (1024, 2)):
            name = f"end to end, batch {size}, {workers} worker{'s' if workers > 1 else ''}"
            out = folder / f"out-{size}-{workers}"
            paces[name] = end_to_end_pace(str(folder / "data"), out, size, workers, arguments.epochs)
    reference = paces["the notebook, batch 32"]
    print(f"\n{'':36}{'examples/s':>12}{'x notebook':>12}{'of bare step':>14}")
    for name, pace in paces.items():
        bare = paces["bare step, batch 32" if "batch 32" in name else "bare step, batch 512"]
        print(f"{name:36}{pace:>12,.0f}{pace / reference:>12.1f}{pace / bare:>13.0%}")


def parser() -> argparse.ArgumentParser:
    summary, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "train.py", description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=256, help="of 32 sounds (default: 256)")
    parser.add_argument("--epochs", type=int, default=4, help="of each training (default: 4)")
    return parser


if __name__ == "__main__":
    main()
