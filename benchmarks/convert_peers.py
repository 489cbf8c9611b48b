"""Convert NumPy/pickle batches with another library. ``convert.py`` starts a process for each conversion.

    python benchmarks/convert_peers.py NAME SOURCE OUT BATCHES WORKERS

It prints the seconds that the conversion took, without imports. It runs in an environment of its own, so it imports
neither synthray nor Ray. Every library stores features float32 (20, 551) and labels float32 (38,) of every example.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

FRAMES, BINS, LABELS = 20, 551, 38
# Size of our shards, so that every library writes files of similar size.
FILE_BYTES = 12_000_000

Example = dict[str, np.ndarray]


def read_batch(source: str, number: int) -> Iterator[Example]:
    """Yield the examples of one batch."""
    features = np.load(f"{source}/fft/fft_batch_{number}.npy").astype(np.float32, copy=False)
    with Path(source, f"parameters/parameter_batches_{number}.pkl").open("rb") as file:
        columns = [column for column in pickle.load(file) if not isinstance(column, str)]
    # A choice is one-hot, a range one number.
    labels = np.stack([column if column.ndim == 1 else column.argmax(axis=1) for column in columns], axis=1)
    for example, label in zip(features, labels.astype(np.float32), strict=True):
        yield {"features": example, "labels": label}


def mosaicml(source: str, out: str, batches: int, workers: int) -> None:
    """Write one MDS data set a worker, then merge their indices."""
    from streaming.base.util import merge_index

    parts = [(source, f"{out}/{worker}", range(worker, batches, workers)) for worker in range(workers)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.starmap(_write_mds, parts)
    merge_index(out, keep_local=True)


def _write_mds(source: str, out: str, numbers: Sequence[int]) -> None:
    from streaming import MDSWriter

    columns = {"features": f"ndarray:float32:{FRAMES},{BINS}", "labels": f"ndarray:float32:{LABELS}"}
    with MDSWriter(out=out, columns=columns, size_limit=FILE_BYTES) as writer:
        for number in numbers:
            for example in read_batch(source, number):
                writer.write(example)


def litdata(source: str, out: str, batches: int, workers: int) -> None:
    """Write LitData chunks; a worker process handles one batch after another."""
    import litdata

    litdata.optimize(
        fn=partial(read_batch, source),
        inputs=list(range(batches)),
        output_dir=out,
        chunk_bytes=FILE_BYTES,
        num_workers=workers,
        start_method="fork",  # the default, spawn, takes a minute to import torch in every worker
        verbose=False,
    )


def huggingface(source: str, out: str, batches: int, workers: int) -> None:
    """Generate an Arrow cache with one process a worker, then write it as Parquet."""
    import datasets

    columns = {
        "features": datasets.Array2D((FRAMES, BINS), "float32"),
        "labels": datasets.Sequence(datasets.Value("float32"), length=LABELS),
    }
    data_set = datasets.Dataset.from_generator(
        _generate,
        features=datasets.Features(columns),
        cache_dir=f"{out}/cache",
        gen_kwargs={"source": source, "numbers": list(range(batches))},
        num_proc=workers,
    )
    data_set.to_parquet(f"{out}/data.parquet")


def _generate(source: str, numbers: list[int]) -> Iterator[Example]:
    for number in numbers:
        yield from read_batch(source, number)


CONTENDERS: dict[str, Callable[[str, str, int, int], None]] = {
    "mosaicml": mosaicml,
    "litdata": litdata,
    "huggingface": huggingface,
}
MODULES = {"mosaicml": "streaming", "litdata": "litdata", "huggingface": "datasets"}
PACKAGES = {"mosaicml": "mosaicml-streaming", "litdata": "litdata", "huggingface": "datasets"}


def main() -> None:
    name, source, out, batches, workers = sys.argv[1:]
    __import__(MODULES[name])
    Path(out).mkdir(parents=True)
    started_s = time.perf_counter()
    CONTENDERS[name](source, out, int(batches), int(workers))
    print(time.perf_counter() - started_s)


if __name__ == "__main__":
    main()
