"""The data side on Ray: the only module of this package that knows Ray."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from synthray import errors
from synthray.data.batch import Batch
from synthray.data.build import BuildConfig, Plan, Receipt, Source, build_shard, publish
from synthray.data.dataset import Dataset, gather
from synthray.data.manifest import Manifest
from synthray.data.notebook import NotebookSource
from synthray.data.order import Order
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.data.generate import GenerateConfig

# A Ray task costs some milliseconds: what takes less than that goes several to a task.
_BATCHES_PER_TASK = 8
# Of a node's shared memory, what a data set may take: the rest is for what moves through it.
_SHARE_OF_MEMORY = 0.6


def connect(*, verbose: bool = False, quiet: str = "ray.data") -> None:
    """Join the cluster that this process was started for, or start a local one.

    verbose: show what workers print and what Ray tells of itself. quiet: the logger that is silenced otherwise.
    """
    if not ray.is_initialized():
        ray.init(log_to_driver=verbose, logging_level=logging.INFO if verbose else logging.ERROR)
    logging.getLogger(quiet).setLevel(logging.INFO if verbose else logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    context.print_on_execution_start = verbose


def map_numbers(function: Callable[[int], bytes], count: int, *, per_task: int = 1) -> Iterator[bytes]:
    """Call ``function`` with 0 … count - 1 on the cluster; results come as they are ready, in any order.

    Raises:
        SynthrayError: the first that a call raised, as it was raised there.
    """

    def work(row: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        results, kinds = [], []
        for number in row["id"]:
            try:
                results.append(function(int(number)))
                kinds.append("")
            except errors.SynthrayError as error:
                results.append(str(error).encode())
                kinds.append(type(error).__name__)
        return {"result": results, "error": kinds}

    tasks = ray.data.range(count, override_num_blocks=-(-count // per_task))
    for row in tasks.map_batches(work, batch_size=per_task).iter_rows():
        if row["error"]:
            raise getattr(errors, row["error"])(row["result"].decode())
        yield row["result"]


def generate(config: GenerateConfig) -> int:
    """Make the sounds of a configuration; what an earlier run has made is kept. Returns how many batches are new."""
    # imported here: converting and training do without the instrument and its compiler
    from synthray.data.generate import SynthSource, check_free, write_batch, write_general_files

    if config.layout == "parquet":
        build(SynthSource(config.seed, tuple(range(config.batches))), BuildConfig(config.out), "making")
        return config.batches
    check_free(config)

    def write(number: int) -> bytes:
        return b"new" if write_batch(config, number) else b"kept"

    with Progress("making", config.batches, "batches") as progress:
        made = 0
        for result in map_numbers(write, config.batches, per_task=_BATCHES_PER_TASK):
            made += result == b"new"
            progress.advance()
    write_general_files(config)
    return made


def convert(source: str, config: BuildConfig) -> Manifest:
    """Publish the batches at ``source``, in the notebook's layout, as a data set."""
    return build(NotebookSource.open(source), config, "converting")


def build(source: Source, config: BuildConfig, what: str) -> Manifest:
    """Publish a data set, one task a shard."""
    plan = Plan.make(source, config)
    reference = ray.put(plan)

    def make(number: int) -> bytes:
        return build_shard(ray.get(reference), number).encode()

    receipts = []
    with Progress(what, len(source.batches), "batches") as progress:
        for raw in map_numbers(make, len(plan.shards)):
            receipts.append(Receipt.decode(raw))
            progress.advance(len(plan.shards[receipts[-1].number]))
    return publish(plan, receipts)


def hold(uri: str) -> list[ray.ObjectRef] | None:
    """Read a data set into the cluster's shared memory, once for all workers and epochs.

    Returns:
        references to parts of it, for ``Held``; None where it does not fit well into the memory of the smallest node.

    Raises:
        CorruptShard: a shard is not what its manifest says.
    """
    dataset = Dataset.open(uri)
    memory = min(node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"])
    if dataset.manifest.bytes > _SHARE_OF_MEMORY * memory:
        return None

    def read(row: dict[str, np.ndarray]) -> pa.Table:
        number = int(row["id"][0])
        batch = dataset.read_shard(number)
        first = int(dataset.shard_starts[number])
        return _encode(batch, np.arange(first, first + len(batch)))

    shards = len(dataset.manifest.shards)
    tasks = ray.data.range(shards, override_num_blocks=shards)
    try:
        return tasks.map_batches(read, batch_size=1).materialize().to_arrow_refs()
    except ray.exceptions.RayTaskError as error:
        raise _own(error) from None


def _own(error: ray.exceptions.RayTaskError) -> Exception:
    """The error of ours that Ray's text tells of: Ray Data passes on a traceback, not the error itself."""
    found = re.findall(r"^synthray\.errors\.(\w+): (.*)$", str(error), re.MULTILINE)
    return getattr(errors, found[-1][0])(found[-1][1]) if found else error


class Held:
    """A data set that lies in shared memory: any rows of it, without reading. Parts are mapped, not copied."""

    def __init__(self, references: list[ray.ObjectRef], manifest: Manifest) -> None:
        parts = [_decode(table, manifest) for table in ray.get(references)]
        parts = sorted((part for part in parts if len(part[1])), key=lambda part: part[1][0])
        self._manifest = manifest
        self._batches = [batch for batch, _ in parts]
        self._starts = np.array([*(rows[0] for _, rows in parts), manifest.rows])

    def take(self, rows: np.ndarray) -> Batch:
        """As ``Dataset.take``."""

        def part(number: int, rows: tuple[int, int]) -> Batch:
            batch = self._batches[number]
            return Batch(batch.features[rows[0] : rows[1]], batch.labels[rows[0] : rows[1]])

        return gather(rows, self._manifest, self._starts, part)


def streamed(
    dataset: Dataset, order: Order, start: tuple[int, int], epochs: int, rank: int, workers: int
) -> Iterator[tuple[Batch, np.ndarray]]:
    """One worker's share of every batch, from epoch and step ``start`` to the end of the last epoch, read as it goes.

    One task reads one window and gives the rows of this worker's places in the order in which they are consumed, while
    earlier ones are being trained on.

    Yields:
        the share of one global batch, labels float32, and its rows of the data set, ``PADDING`` where there is none.
    """
    places = order.share(rank, workers)
    first = start[1] // order.steps_per_window
    plan = [(epoch, window) for epoch in range(start[0], epochs) for window in range(order.windows)][first:]

    def read(row: dict[str, np.ndarray]) -> pa.Table:
        rows = order.window(*plan[int(row["id"][0])], places).reshape(-1)
        return _encode(dataset.take(rows), rows)

    tasks = ray.data.range(len(plan), override_num_blocks=max(1, len(plan)))
    tasks.context.execution_options.preserve_order = True
    # half a processor: on a machine of one, the workers have the other half
    read_ahead = tasks.map_batches(read, batch_size=1, num_cpus=0.5)
    skip = start[1] - first * order.steps_per_window
    stream = read_ahead.iter_batches(batch_size=len(places), batch_format="pyarrow", prefetch_batches=2)
    try:
        for number, table in enumerate(stream):
            if number >= skip:
                yield _decode(table, dataset.manifest)
    except ray.exceptions.RayTaskError as error:
        raise _own(error) from None


def _encode(batch: Batch, rows: np.ndarray) -> pa.Table:
    """Fixed-size binary columns: the one Arrow type that goes through Ray Data and into NumPy without a copy."""

    def column(array: np.ndarray) -> pa.Array:
        width = array[0].nbytes
        return pa.Array.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])

    return pa.table(
        {"features": column(batch.features), "labels": column(batch.labels.astype(np.float32)), "row": rows}
    )


def _decode(table: pa.Table, manifest: Manifest) -> tuple[Batch, np.ndarray]:
    def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        parts = [
            np.frombuffer(chunk.buffers()[1], dtype, len(chunk) * size, chunk.offset * size * np.dtype(dtype).itemsize)
            for chunk in table[name].chunks
        ]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(-1, *shape)

    features = array("features", manifest.feature_dtype, manifest.feature_shape)
    labels = array("labels", "float32", (len(manifest.table.learned),))
    return Batch(features, labels), table["row"].to_numpy()
