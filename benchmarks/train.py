"""Training: examples per second beside the notebook's own loader and fit, beside the bare step, beside the machine.

    python benchmarks/train.py
    python benchmarks/train.py --batches 512 --epochs 3 --with-s3
    python benchmarks/train.py --settings             # what each flag of jobs/train.py does to pace and loss
    python benchmarks/train.py --quality              # how long until the notebook's validation loss is reached
    python benchmarks/train.py --quality --batches 3500 --notebook-epochs 20

All on the same generated sounds, in turn, on this machine, and each of ours on a Ray of its own, as a job is:

- the machine: a product of two float32 matrices of 2048, and how many examples a second it would allow;
- the notebook: its DataLoader over its files, its 38 heads, its ``fit``, batches of 32;
- the bare step: synthray's compiled step on tensors that lie in memory already, one process; and the same in a worker
  of Ray Train, which shares the processors with Ray's own processes;
- synthray end to end: Ray Train, order, checkpoints and all, the last epoch's pace; from shared memory and stream_batches.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.s3_server import running_s3_server
from synthray.cli.quiet import quiet_import
from synthray.cluster import build, loader, trainer
from synthray.cluster.connect import connect
from synthray.data.open import open_dataset

with quiet_import():
    import tensorflow as tf

import notebook_training
import numpy as np
import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from synthray.data.build.notebook_writer import GenerateConfig
from synthray.data.build.plan import BuildConfig
from synthray.data.dataset import Dataset
from synthray.train.config import TrainConfig
from synthray.train.step import TrainState

# Of the notebook's network, an example, forward and backward: the convolution twice (its input needs no gradient), the
# dense layer and the heads three times; a multiplication and an addition count as two.
_DENSE, _HEADS = 18 * 256 * 256, 256 * 58
FLOP_PER_EXAMPLE = 2 * (2 * 18 * 3 * 551 * 256 + 3 * (_DENSE + _HEADS))

SETTINGS: dict[str, dict] = {
    "sgd": {},
    "--precision mixed_bfloat16": {"precision": "mixed_bfloat16"},
    "--jit": {"jit": True},
    "--clip-norm 1": {"clip_norm": 1.0},
    "--schedule cosine": {"schedule": "cosine"},
    "--warmup-steps 50": {"warmup_steps": 50},
    "--ema 0.99": {"ema": 0.99},
    "--optimizer adamw": {"optimizer": "adamw"},
    "--optimizer adamw --weight-decay 0.01": {"optimizer": "adamw", "weight_decay": 0.01},
    "--network log --optimizer adamw": {"network": "log", "optimizer": "adamw"},
    "--network log --optimizer adamw --schedule cosine": {"network": "log", "optimizer": "adamw", "schedule": "cosine"},
    "the same --warmup-steps 50": {"network": "log", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 50},
}
RECIPE = {"network": "log", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 200, "batch_size": 128}


@dataclass(frozen=True)
class Outcome:
    """Of a training: the last epoch's pace, the seconds to the first step and in all, each epoch's validation loss."""

    examples_per_s: float
    first_step_s: float
    seconds: float
    val_losses: list[float]


def matrix_product_flop_per_s(size: int = 2048, seconds: float = 3.0) -> float:
    """What this machine does in float32 at best."""
    matrix = tf.random.normal((size, size))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return 2 * size**3 / _mean_s(product, seconds)


def bare_pace(dataset: Dataset, batch_size: int, seconds: float = 4.0) -> float:
    """Examples per second of the step alone, on one batch in memory."""
    config = TrainConfig(dataset.uri, "out", batch_size=batch_size)
    steps = TrainState(config, dataset.manifest, tf.distribute.get_strategy())
    batch = dataset.take(np.arange(batch_size))
    tensors = [tf.constant(batch.features), tf.constant(batch.labels), tf.ones(batch_size)]
    count, vote = tf.constant(float(batch_size)), tf.constant(0.0)
    return batch_size / _mean_s(lambda: steps.train(*tensors, count, vote).numpy(), seconds)


def bare_pace_of_a_worker(dataset: Dataset, batch_size: int, folder: Path) -> float:
    """The same in a worker of Ray Train, on a Ray of its own."""
    ray.shutdown()
    connect()
    told = folder / "pace"
    DataParallelTrainer(
        lambda: told.write_text(str(bare_pace(dataset, batch_size))),
        scaling_config=trainer.Workers(1).scaling(batch_size),
        run_config=ray.train.RunConfig(storage_path=str(folder / "ray")),
    ).fit()
    return float(told.read_text())


def _mean_s(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call: the mean, as an epoch's pace is one, too."""
    for _ in range(3):
        call()
    calls, began_s = 0, time.perf_counter()
    while time.perf_counter() < began_s + seconds:
        call()
        calls += 1
    return (time.perf_counter() - began_s) / calls


def end_to_end(data: str, out: Path | str, workers: int, *, stream: bool = False, **settings: object) -> Outcome:
    """A whole training, on a Ray of its own: what made the data set leaves processes behind."""
    ray.shutdown()
    connect()
    lines: list[str] = []
    began_s = time.time()
    with contextlib.ExitStack() as stack:
        if stream:
            cache, loader.cache_dataset = loader.cache_dataset, lambda *_: None
            stack.callback(setattr, loader, "cache_dataset", cache)
        trainer.train(TrainConfig(data, str(out), **settings), trainer.Workers(workers), lines.append)
    text = "\n".join(lines)
    parts = re.search(r"first step after .* \((.*)\)", text)[1]
    before = sum(float(number) for number in re.findall(r"([\d.]+) s", parts.partition(", ")[2]))
    return Outcome(
        examples_per_s=float(re.findall(r"([\d,]+) examples/s", text)[-1].replace(",", "")),
        first_step_s=before,
        seconds=time.time() - began_s,
        val_losses=[float(number) for number in re.findall(r"val_loss ([\d.]+)", text)],
    )


def paces(arguments: argparse.Namespace, folder: Path) -> None:
    """The table of examples per second."""
    data = make_data(folder, arguments.batches)
    dataset = open_dataset(data)
    # so many that the rest is whole batches: of few batches an epoch, padding would be a part that it is not of many
    held_out = dataset.manifest.rows % 1024 + 1024 * max(1, dataset.manifest.rows // 9 // 1024)
    flop_per_s = matrix_product_flop_per_s()
    table = {
        f"the matrix product's limit, {flop_per_s / 1e9:.0f} GFLOP/s": flop_per_s / FLOP_PER_EXAMPLE,
        "the notebook, batch 32": notebook_training.pace(folder / "batches", min(arguments.batches, 256)),
    }
    for size in (32, 512):
        table[f"bare step, batch {size}"] = bare_pace(dataset, size)
        table[f"bare step, batch {size}, in a worker"] = bare_pace_of_a_worker(dataset, size, folder)
    runs = [(32, 1, False), (512, 1, False), (512, 1, True), (1024, 1, False), (1024, 2, False), (1024, 2, True)]
    begins = []

    def run(uri: str, batch_size: int, workers: int, stream: bool, where: str) -> None:
        out = folder / f"out-{len(table)}"
        outcome = end_to_end(
            uri,
            out,
            workers,
            stream=stream,
            batch_size=batch_size,
            epochs=arguments.epochs,
            learning_rate=0.01,
            validation_examples=held_out,
        )
        way = f"stream_batches{where}" if stream else "shared memory"
        table[f"batch {batch_size}, {workers} worker{'s' if workers > 1 else ''}, {way}"] = outcome.examples_per_s
        begins.append(outcome.first_step_s)

    for size, workers, stream in runs:
        run(data, size, workers, stream, "")
    if arguments.with_s3:
        with running_s3_server(folder / "s3") as server, variables(server.environment):
            on_s3 = f"s3://{server.bucket}/data"
            build.convert(str(folder / "batches"), BuildConfig(on_s3))
            run(on_s3, 512, 1, True, " from S3")
            run(on_s3, 1024, 2, True, " from S3")
    print(f"\n{'':42}{'examples/s':>12}{'x notebook':>12}{'of bare step':>14}{'of one worker':>15}")
    for name, pace in table.items():
        bare = table["bare step, batch 32" if "batch 32" in name else "bare step, batch 512"]
        one = f"{pace / table['batch 1024, 1 worker, shared memory']:.0%}" if "batch 1024, 2" in name else ""
        notebook = pace / table["the notebook, batch 32"]
        print(f"{name:42}{pace:>12,.0f}{notebook:>12.1f}{pace / bare:>14.0%}{one:>15}")
    print(
        f"\nfirst step {statistics.median(begins):.1f} s after the data set was asked for, on a Ray that runs already"
    )


def settings(arguments: argparse.Namespace, folder: Path) -> None:
    """What each flag does, in as many epochs over the same data."""
    data = make_data(folder, arguments.batches)
    print(f"\n{f'batch 128, {arguments.epochs} epochs':50}{'examples/s':>12}{'validation loss':>17}")
    for number, (name, changes) in enumerate(SETTINGS.items()):
        outcome = end_to_end(data, folder / f"out-{number}", 1, batch_size=128, epochs=arguments.epochs, **changes)
        print(f"{name:50}{outcome.examples_per_s:>12,.0f}{outcome.val_losses[-1]:>17.3f}", flush=True)


def quality(arguments: argparse.Namespace, folder: Path) -> None:
    """The notebook's script to its end; then the job, from its start until it is as good."""
    batches, data = str(folder / "batches"), str(folder / "data")
    job("generate.py", "--batches", str(arguments.batches), "--out", batches)
    job("convert.py", "--source", batches, "--out", data, "--dtype", "float16")
    held_out = min(arguments.batches // 9, 128)
    spent_s, losses = notebook_training.train(
        folder / "batches", arguments.batches, held_out, arguments.notebook_epochs
    )
    target = losses[-1]
    print(f"the notebook: {spent_s:,.0f} s for {len(losses)} epochs, validation loss {target:.4f}", flush=True)
    flags = [part for name, value in RECIPE.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    # one worker: on one machine without GPUs, two would only share its processors
    flags += ["--workers", "1", "--epochs", str(arguments.epochs)]
    flags += ["--validation-examples", str(held_out * notebook_training.EXAMPLES)]
    reached_s = None
    for at_s, line in job("train.py", "--data", data, "--out", str(folder / "out"), *flags):
        loss = re.match(r"epoch .* val_loss ([\d.]+)", line)
        if loss and reached_s is None and float(loss[1]) <= target:
            reached_s = at_s
    if reached_s is None:
        print("synthray does not reach that")
    else:
        print(f"synthray: as good after {reached_s:,.0f} s, start and all: {spent_s / reached_s:.1f} times sooner")


def job(name: str, *arguments: str) -> list[tuple[float, str]]:
    """Run a job as a user does; its lines, and how many seconds after its start each of them came."""
    began_s = time.time()
    command = [sys.executable, str(ROOT / "jobs" / name), *arguments]
    print("$", name, *arguments, flush=True)
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            lines.append((time.time() - began_s, line))
            print(f"{lines[-1][0]:8.1f} s  {line}", end="", flush=True)
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}")
    return lines


def make_data(folder: Path, batches: int) -> str:
    connect()
    build.generate(GenerateConfig(str(folder / "batches"), batches))
    build.convert(str(folder / "batches"), BuildConfig(str(folder / "data")))
    return str(folder / "data")


@contextlib.contextmanager
def variables(environment: dict[str, str]) -> Iterator[None]:
    """Environment variables of this process and, on a Ray of their own, of its workers."""
    ray.shutdown()
    os.environ.update(environment)
    connect()
    yield


def main() -> None:
    arguments = parser().parse_args()
    way = quality if arguments.quality else settings if arguments.settings else paces
    with tempfile.TemporaryDirectory(prefix="synthray-bench-", dir=arguments.dir) as scratch:
        way(arguments, Path(scratch))


def parser() -> argparse.ArgumentParser:
    summary, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "train.py", description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=256, help="of 32 sounds (default: 256)")
    parser.add_argument("--epochs", type=int, default=3, help="of each training (default: 3)")
    parser.add_argument("--with-s3", action="store_true", help="stream from a real S3 server, too")
    parser.add_argument("--settings", action="store_true", help="what each flag of jobs/train.py does, instead")
    parser.add_argument("--quality", action="store_true", help="time to the notebook's validation loss, instead")
    parser.add_argument("--notebook-epochs", type=int, default=20, help="of the notebook's script (default: 20)")
    parser.add_argument("--dir", help="where to put the files, about 3 MB a batch (default: the system's place)")
    return parser


if __name__ == "__main__":
    main()
