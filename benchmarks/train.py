"""Measure training: examples per second, the effect of each flag, time to a loss, time to the first step.

    python benchmarks/train.py
    python benchmarks/train.py --batches 512 --epochs 3 --with-s3
    python benchmarks/train.py --settings             # effect of each flag of `synthray train` on speed and loss
    python benchmarks/train.py --quality              # time to the notebook's validation loss
    python benchmarks/train.py --quality --batches 3500 --notebook-epochs 20
    python benchmarks/train.py --seconds-to-first-step 5

All measurements run in turn, on this machine and on the same generated sounds. Each training has its own Ray cluster,
as a job has. The first table compares:

- the machine: the product of two float32 matrices of 2048 rows, and the examples per second that it would allow;
- the notebook: its DataLoader, its 38 heads and Keras's ``fit``, with batches of 32;
- the bare step: synthray's compiled step on tensors in memory, in this process and in a worker of Ray Train;
- synthray end to end: the last epoch of a training, cached in shared memory or streamed.
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
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.s3_server import running_s3_server
from synthray.cluster import build, loader
from synthray.cluster.connect import connect
from synthray.cluster.training import trainer
from synthray.data.open import open_dataset
from synthray.quiet import quiet

with quiet():
    import tensorflow as tf

import notebook_training
import numpy as np
import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.plan import BuildConfig
from synthray.data.dataset import Dataset
from synthray.train.config import TrainConfig
from synthray.train.step import TrainState

# Operations of the notebook's network for one example, forward and backward. The convolution counts twice, because its
# input needs no gradient, and the dense layers three times. A multiplication and an addition are two operations.
DENSE, HEADS = 18 * 256 * 256, 256 * 58
FLOP_PER_EXAMPLE = 2 * (2 * 18 * 3 * 551 * 256 + 3 * (DENSE + HEADS))

FLAGS: dict[str, dict] = {
    "sgd": {},
    "--precision mixed_bfloat16": {"precision": "mixed_bfloat16"},
    "--jit": {"jit": True},
    "--clip-norm 1": {"clip_norm": 1.0},
    "--schedule cosine": {"schedule": "cosine"},
    "--warmup-steps 50": {"warmup_steps": 50},
    "--ema 0.99": {"ema": 0.99},
    "--optimizer adamw": {"optimizer": "adamw"},
    "--optimizer adamw --weight-decay 0": {"optimizer": "adamw", "weight_decay": 0.0},
    "--optimizer adamw --weight-decay 0.01": {"optimizer": "adamw", "weight_decay": 0.01},
    "--network log --optimizer adamw": {"network": "log", "optimizer": "adamw"},
    "--network log --optimizer adamw --schedule cosine": {"network": "log", "optimizer": "adamw", "schedule": "cosine"},
    "the same --warmup-steps 50": {"network": "log", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 50},
}
RECIPE = {"network": "log", "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 200, "batch_size": 128}
SMALL_BATCHES = 8
"""Batches of the data set of ``--seconds-to-first-step``."""


@dataclass(frozen=True)
class Outcome:
    """Measurements of one training."""

    examples_per_s: float
    """Examples per second of the last epoch."""
    first_step_s: float
    """Seconds from the request for the data set to the first step."""
    val_losses: list[float]
    """Validation loss of each epoch."""


@dataclass
class Throughput:
    """The rows of the first table, and the seconds to the first step of each training."""

    examples_per_s: dict[str, float] = field(default_factory=dict)
    first_step_s: list[float] = field(default_factory=list)

    def print(self) -> None:
        """Print the table."""
        rows = self.examples_per_s
        print(f"\n{'':42}{'examples/s':>12}{'x notebook':>12}{'of bare step':>14}{'of one worker':>15}")
        for name, examples_per_s in rows.items():
            bare = rows["bare step, batch 32" if "batch 32" in name else "bare step, batch 512"]
            one_worker = rows["batch 1024, 1 worker, cached"]
            of_one = f"{examples_per_s / one_worker:.0%}" if "batch 1024, 2" in name else ""
            times = examples_per_s / rows["the notebook, batch 32"]
            print(f"{name:42}{examples_per_s:>12,.0f}{times:>12.1f}{examples_per_s / bare:>14.0%}{of_one:>15}")
        print(f"\nfirst step {statistics.median(self.first_step_s):.1f} s after the request, with Ray running already")


def matrix_product_flop_per_s(size: int = 2048, seconds: float = 3.0) -> float:
    """Return the float32 operations per second of this machine's matrix product."""
    matrix = tf.random.normal((size, size))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return 2 * size**3 / mean_s(product, seconds)


def bare_step(dataset: Dataset, batch_size: int, seconds: float = 4.0) -> float:
    """Return the examples per second of the step alone, on one batch in memory."""
    config = TrainConfig(dataset.uri, "out", batch_size=batch_size)
    state = TrainState(config, dataset, tf.distribute.get_strategy())
    batch = dataset.take(np.arange(batch_size))
    tensors = [tf.constant(batch.features), tf.constant(batch.labels), tf.ones(batch_size)]
    examples, stop_vote = tf.constant(float(batch_size)), tf.constant(0.0)
    return batch_size / mean_s(lambda: state.train(*tensors, examples, stop_vote).numpy(), seconds)


def bare_step_in_worker(dataset: Dataset, batch_size: int, folder: Path) -> float:
    """Return the same in a worker of Ray Train, which shares the CPUs with Ray's own processes."""
    ray.shutdown()
    connect()
    result = folder / "bare-step"
    DataParallelTrainer(
        lambda: result.write_text(str(bare_step(dataset, batch_size))),
        scaling_config=trainer.Workers(1).scaling(batch_size),
        run_config=ray.train.RunConfig(storage_path=str(folder / "ray")),
    ).fit()
    return float(result.read_text())


def mean_s(call: Callable[[], object], seconds: float) -> float:
    """Return the mean seconds of a call: not the median, because the examples per second of an epoch are a mean."""
    for _ in range(3):
        call()
    calls, started_s = 0, time.perf_counter()
    while time.perf_counter() < started_s + seconds:
        call()
        calls += 1
    return (time.perf_counter() - started_s) / calls


def end_to_end(data: str, out: Path | str, workers: int, *, stream: bool = False, **settings: object) -> Outcome:
    """Train on a new Ray cluster, so that no processes of the last job are left."""
    ray.shutdown()
    connect()
    lines: list[str] = []
    with contextlib.ExitStack() as stack:
        if stream:
            stack.callback(setattr, loader, "cache_dataset", loader.cache_dataset)
            loader.cache_dataset = lambda *_, **__: None
        trainer.train(TrainConfig(data, str(out), **settings), trainer.Workers(workers), lines.append)
    text = "\n".join(lines)
    phases = re.search(r"first step after .* \((.*)\)", text)[1]
    # all phases but the first, which counts from the start of this process
    seconds = re.findall(r"([\d.]+) s", phases.partition(", ")[2])
    return Outcome(
        examples_per_s=float(re.findall(r"([\d,]+) examples/s", text)[-1].replace(",", "")),
        first_step_s=sum(map(float, seconds)),
        val_losses=[float(number) for number in re.findall(r"val_loss ([\d.]+)", text)],
    )


def baselines(dataset: Dataset, folder: Path, notebook_batches: int) -> dict[str, float]:
    """Return the examples per second of the machine, the notebook and the bare step."""
    flop_per_s = matrix_product_flop_per_s()
    rows = {
        f"matrix product, {flop_per_s / 1e9:.0f} GFLOP/s": flop_per_s / FLOP_PER_EXAMPLE,
        "the notebook, batch 32": notebook_training.pace(folder / "batches", notebook_batches),
    }
    for size in (32, 512):
        rows[f"bare step, batch {size}"] = bare_step(dataset, size)
        rows[f"bare step, batch {size}, in a worker"] = bare_step_in_worker(dataset, size, folder)
    return rows


def compare_throughput(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table of examples per second."""
    data = make_data(folder, arguments.batches)
    dataset = open_dataset(data)
    # Leave whole batches of 1024 to train on: in a short epoch, padding would take a large share of the time.
    held_out = dataset.manifest.rows % 1024 + 1024 * max(1, dataset.manifest.rows // 9 // 1024)
    table = Throughput(baselines(dataset, folder, min(arguments.batches, 256)))
    rows = table.examples_per_s

    def measure(uri: str, batch_size: int, workers: int, stream: bool, source: str = "") -> None:
        outcome = end_to_end(
            uri,
            folder / f"out-{len(rows)}",
            workers,
            stream=stream,
            batch_size=batch_size,
            epochs=arguments.epochs,
            learning_rate=0.01,
            validation_examples=held_out,
        )
        reading = f"streamed{source}" if stream else "cached"
        rows[f"batch {batch_size}, {workers} worker{'s' if workers > 1 else ''}, {reading}"] = outcome.examples_per_s
        table.first_step_s.append(outcome.first_step_s)

    for run in ((32, 1, False), (512, 1, False), (512, 1, True), (1024, 1, False), (1024, 2, False), (1024, 2, True)):
        measure(data, *run)
    if arguments.with_s3:
        with running_s3_server(folder / "s3") as server, variables(server.environment):
            on_s3 = f"s3://{server.bucket}/data"
            build.convert(str(folder / "batches"), BuildConfig(on_s3))
            measure(on_s3, 512, 1, True, " from S3")
            measure(on_s3, 1024, 2, True, " from S3")
    table.print()


def compare_flags(arguments: argparse.Namespace, folder: Path) -> None:
    """Print speed and loss with each flag, after the same epochs on the same data."""
    data = make_data(folder, arguments.batches)
    print(f"\n{f'batch 128, {arguments.epochs} epochs':50}{'examples/s':>12}{'validation loss':>17}")
    for number, (name, changes) in enumerate(FLAGS.items()):
        outcome = end_to_end(data, folder / f"out-{number}", 1, batch_size=128, epochs=arguments.epochs, **changes)
        print(f"{name:50}{outcome.examples_per_s:>12,.0f}{outcome.val_losses[-1]:>17.3f}", flush=True)


def time_to_loss(arguments: argparse.Namespace, folder: Path) -> None:
    """Train with the notebook's script, then time `synthray train` until it has the same validation loss."""
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
    # One worker: without GPUs, two on one machine would only share its CPUs.
    flags += ["--workers", "1", "--epochs", str(arguments.epochs)]
    flags += ["--validation-examples", str(held_out * notebook_training.EXAMPLES)]
    reached_s = None
    for after_s, line in job("train.py", "--data", data, "--out", str(folder / "out"), *flags):
        loss = re.match(r"epoch .* val_loss ([\d.]+)", line)
        if loss and reached_s is None and float(loss[1]) <= target:
            reached_s = after_s
    if reached_s is None:
        print("synthray does not reach this loss")
    else:
        print(
            f"synthray: this loss after {reached_s:,.0f} s including the start, {spent_s / reached_s:.1f} times faster"
        )


def time_to_first_step(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the line "first step after …" of several jobs, and the median of their seconds."""
    batches, data = str(folder / "batches"), str(folder / "data")
    job("generate.py", "--batches", str(SMALL_BATCHES), "--out", batches)
    job("convert.py", "--source", batches, "--out", data)
    found = []
    flags = ["--network", "notebook", "--epochs", "1"]
    for number in range(arguments.seconds_to_first_step):
        lines = job("train.py", "--data", data, "--out", str(folder / f"out-{number}"), *flags)
        found += [line for _, line in lines if line.startswith("first step after")]
    print("\n" + "".join(found), end="")
    seconds = [float(re.search(r"after ([\d.]+) s", line)[1]) for line in found]
    print(f"median of {len(seconds)}: {statistics.median(seconds):.1f} s")


def job(name: str, *arguments: str) -> list[tuple[float, str]]:
    """Run a job as a user does; return its lines, each with the seconds after the start."""
    started_s = time.time()
    command = [sys.executable, str(ROOT / "jobs" / name), *arguments]
    print("$", name, *arguments, flush=True)
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            lines.append((time.time() - started_s, line))
            print(f"{lines[-1][0]:8.1f} s  {line}", end="", flush=True)
    if process.returncode:
        raise SystemExit(f"{name} exited with code {process.returncode}")
    return lines


def make_data(folder: Path, batches: int) -> str:
    """Generate batches and convert them; return the data set's URI."""
    connect()
    build.generate(GenerateConfig(str(folder / "batches"), batches))
    build.convert(str(folder / "batches"), BuildConfig(str(folder / "data")))
    return str(folder / "data")


@contextlib.contextmanager
def variables(environment: dict[str, str]) -> Iterator[None]:
    """Set environment variables in this process, and so in the workers of a Ray cluster that it starts."""
    ray.shutdown()
    os.environ.update(environment)
    connect()
    yield


def main() -> None:
    """Run the measurement that the flags ask for."""
    arguments = parser().parse_args()
    measurement = compare_throughput
    if arguments.settings:
        measurement = compare_flags
    elif arguments.quality:
        measurement = time_to_loss
    elif arguments.seconds_to_first_step:
        measurement = time_to_first_step
    with tempfile.TemporaryDirectory(prefix="synthray-bench-", dir=arguments.dir) as scratch:
        measurement(arguments, Path(scratch))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    summary, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "train.py", description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=256, help="batches of 32 sounds to generate (default: 256)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each training (default: 3)")
    parser.add_argument("--with-s3", action="store_true", help="also stream from a real S3 server")
    parser.add_argument(
        "--notebook-epochs", type=int, default=20, help="epochs of the notebook's training (default: 20)"
    )
    parser.add_argument("--dir", help="folder for the files, about 3 MB a batch (default: the temporary folder)")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--settings", action="store_true", help="measure each flag of `synthray train` instead")
    modes.add_argument("--quality", action="store_true", help="measure the time to the notebook's loss instead")
    modes.add_argument(
        "--seconds-to-first-step", type=int, metavar="N", help="measure the time to the first step N times instead"
    )
    return parser


if __name__ == "__main__":
    main()
