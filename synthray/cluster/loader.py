"""Training input from Ray tasks: cached in shared memory, or streamed. ``data/order.py`` defines the order.

Each shard is one plain Ray task. Ray Data is not used here: its executor costs the consumer 8 to 15 ms of CPU time a
block and 0.5 s at the start. A plain task costs 2 ms a block and 30 ms at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from synthray.data.dataset import Dataset, gather
from synthray.data.examples import Examples
from synthray.data.order import PADDING, EpochOrder
from synthray.errors import SynthrayError
from synthray.progress import Progress

READER_CPUS = 0.4
"""CPUs of a reader task. On a node with one CPU, this leaves half of it to the worker."""
_BEAT_S = 5.0
# The rest of the shared memory is for objects in transit.
_CACHE_FRACTION = 0.8
_ShardKey = tuple[int, int]
Share = tuple[Examples, np.ndarray]
"""One worker's share of a global batch: examples with float32 labels, and their rows (``PADDING`` where empty)."""
_Outcome = SynthrayError | OSError | None


@ray.remote(num_cpus=READER_CPUS, num_returns=2)  # type: ignore[untyped-decorator]  # Ray has no types
def _read(dataset: Dataset, shard: int, epoch: int, _after: _Outcome = None) -> tuple[pa.Table | None, _Outcome]:
    """Return a shard, and the error if it could not be read.

    The error is a value, because Ray fails each task that depends on a failed one. ``_after`` is the outcome of the
    task that runs before this one.
    """
    try:
        return _encode(dataset.read_shard(shard, epoch)), None
    except (SynthrayError, OSError) as error:
        return None, error


@dataclass(frozen=True)
class CachePending:
    """A data set that Ray tasks are reading into the cluster's shared memory."""

    references: dict[int, ray.ObjectRef]
    """The table of each shard, for ``CachedReader``."""
    total: int
    """Rows of these shards."""
    _rows: dict[ray.ObjectRef, int]

    def rows(self) -> int:
        """Return the number of rows read so far."""
        done, _ = ray.wait(list(self._rows), num_returns=len(self._rows), timeout=0)
        return sum(self._rows[reference] for reference in done)

    def wait(self) -> dict[int, ray.ObjectRef]:
        """Show progress until all shards are read, and return the references.

        Raises:
            CorruptShard: a shard differs from its manifest.
            StorageError: the store cannot be reached.
        """
        waiting = list(self._rows)
        with Progress("reading", self.total, "examples") as progress:
            while waiting:
                [done], waiting = ray.wait(waiting)
                if error := _get(done):
                    raise error
                progress.advance(self._rows[done])
        return self.references


def cache_dataset(
    dataset: Dataset, order: EpochOrder | None = None, log: Callable[[str], None] = lambda _: None
) -> CachePending | None:
    """Start reading a data set into shared memory, once for all workers and epochs.

    Args:
        order: only the shards of its examples are read. The shards of its first batches come first.
        log: is called with the decision between caching and streaming.

    Returns:
        None if the data set does not fit into the free shared memory, or has other sounds in each epoch.
    """
    if reason := _reason_to_stream(dataset):
        log(f"streaming: {reason}")
        return None
    log(f"caching {_size(dataset.feature_bytes)} in shared memory")
    shared = ray.put(dataset)
    # Each task waits for an earlier one, so that half of the CPUs stay free. While tasks that are ready to run fill all
    # CPUs, Ray starts no training worker.
    cpus = sum(node.get("CPU", 0) for node in _node_resources())
    at_once = max(1, int(cpus / 2 / READER_CPUS))
    tables: dict[int, ray.ObjectRef] = {}
    rows: dict[ray.ObjectRef, int] = {}
    outcomes: list[ray.ObjectRef | None] = [None] * at_once
    for shard in _by_first_use(dataset, order) if order else range(len(dataset.manifest.shards)):
        tables[shard], outcome = _read.remote(shared, shard, 0, outcomes[-at_once])
        rows[outcome] = dataset.shard_rows[shard]
        outcomes.append(outcome)
    return CachePending(tables, sum(rows.values()), rows)


def _node_resources() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _reason_to_stream(dataset: Dataset) -> str:
    """Return why the data set cannot be cached, or ''."""
    if dataset.fresh:
        return "each epoch has other sounds"
    name = "object_store_memory"
    total = ray.cluster_resources().get(name, 0)
    free = ray.available_resources().get(name, 0)
    smallest = min(node.get(name, 0) for node in _node_resources())
    # Each node gets its own copy. Ray reports the free memory of the whole cluster only, so assume an even spread.
    limit = _CACHE_FRACTION * smallest * (free / total if total else 0)
    needed = dataset.feature_bytes
    if needed <= limit:
        return ""
    return f"the data set needs {_size(needed)} of shared memory, a node has {_size(limit)} to spare"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


def _by_first_use(dataset: Dataset, order: EpochOrder) -> list[int]:
    """Return the shards that an order reads, in the order in which its first epoch needs them."""
    shards = [_shards(dataset, order.window(0, window).ravel()) for window in range(order.windows)]
    return list(dict.fromkeys(np.concatenate(shards).tolist()))


def _shards(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the shards that hold ``rows``, each once, in the order of their first row."""
    numbers = np.searchsorted(dataset.shard_starts, rows[rows != PADDING], side="right") - 1
    distinct, firsts = np.unique(numbers, return_index=True)
    return distinct[np.argsort(firsts)]


def _get(references: ray.ObjectRef | list[ray.ObjectRef]) -> Any:
    """Return the results of tasks, or raise the original error of a failed one."""
    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from None


def _table(result: list[ray.ObjectRef]) -> pa.Table:
    """Return the table that a reader task made, or raise its error."""
    table, error = _get(result)
    if error:
        raise error
    return table


class CachedReader:
    """Random access to a data set in shared memory. Shards are mapped, not copied.

    It waits for shards that are still being read, and reads failed ones again in a task.
    """

    def __init__(
        self, references: dict[int, ray.ObjectRef], dataset: Dataset, beat: Callable[[], None] = lambda: None
    ) -> None:
        """Create a reader.

        Args:
            references: of ``CachePending``.
            dataset: the data set that the shards belong to.
            beat: is called every few seconds of waiting, as long as shards keep arriving.
        """
        self._references, self._dataset, self._beat = references, dataset, beat
        self._batches: dict[int, Examples] = {}

    def take(self, rows: np.ndarray) -> Examples:
        """Return the examples at ``rows``, like ``Dataset.take``; raises CorruptShard, StorageError."""
        missing = [shard for shard in _shards(self._dataset, rows).tolist() if shard not in self._batches]
        self._wait(missing)
        for shard in missing:
            self._batches[shard] = self._batch(shard)
        return gather(rows, self._dataset, self._batches.__getitem__)

    def _wait(self, shards: list[int]) -> None:
        # All at once, because shards that another node read are then transferred in parallel.
        references = [self._references[shard] for shard in shards]
        arrived = -1
        while references and ray.wait(references, num_returns=len(references), timeout=_BEAT_S)[1]:
            everything = list(self._references.values())
            ready, _ = ray.wait(everything, num_returns=len(everything), timeout=0, fetch_local=False)
            if len(ready) > arrived:
                self._beat()
            arrived = len(ready)

    def _batch(self, shard: int) -> Examples:
        table = _get(self._references[shard])
        if table is None:  # The first attempt failed. The store may have recovered.
            result = _read.remote(self._dataset, shard, 0)
            self._references[shard] = result[0]
            table = _table(result)
        return _decode(table, self._dataset)


def worker_shares(
    dataset: Dataset,
    order: EpochOrder,
    cached_shards: dict[int, ray.ObjectRef] | None,
    start: tuple[int, int],
    epochs: int,
    ranks: tuple[int, int] = (0, 1),
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Share]:
    """Yield one worker's share of every batch, from the cache if there is one, else streamed.

    Args:
        cached_shards: references of ``CachePending``, or None to stream.
        start: the epoch and step of the first batch.
        ranks: this worker's rank and the number of workers.
        waiting: is called every few seconds while cached shards arrive.
    """
    if cached_shards is None:
        return stream_batches(dataset, order, start, epochs, *ranks)
    reader = CachedReader(cached_shards, dataset, waiting)
    return ((reader.take(rows), rows) for rows in order.worker_batches(start, epochs, *ranks))


def stream_batches(
    dataset: Dataset, order: EpochOrder, start: tuple[int, int], epochs: int, rank: int, workers: int
) -> Iterator[Share]:
    """Yield one worker's share of every batch, from epoch and step ``start`` to the end of the last epoch.

    Ray tasks read the shards of the next window while the current one is trained on. A shard is read once per epoch and
    worker that needs it.

    Yields:
        the share of one global batch, labels float32, and its rows of the data set (``PADDING``: no example).

    Raises:
        CorruptShard, StorageError: as in ``Dataset.read_shard``, before any batch of the window is yielded.
    """
    slots, plan = order.worker_slice(rank, workers), order.plan(start, epochs)
    shared = ray.put(dataset)
    results: dict[_ShardKey, list[ray.ObjectRef]] = {}

    def request(epoch: int, window: int) -> tuple[np.ndarray, set[_ShardKey]]:
        """Submit the reads of a window, and return its rows and shards."""
        rows = order.window(epoch, window, slots)
        keys = {(epoch, shard) for shard in _shards(dataset, rows.ravel()).tolist()}
        for key in sorted(keys - results.keys()):
            results[key] = _read.remote(shared, key[1], epoch)
        return rows, keys

    batches: dict[_ShardKey, Examples] = {}
    requests = (request(epoch, window) for epoch, window, _ in plan)
    requested = list(islice(requests, 1))
    for epoch, _, skip in plan:
        rows, keys = requested.pop()
        # Free the previous window first, so that at most two are in memory.
        for expired in results.keys() - keys:
            del results[expired]
        batches = {key: batch for key, batch in batches.items() if key in keys}
        requested += islice(requests, 1)
        for key in keys - batches.keys():
            batches[key] = _decode(_table(results[key]), dataset)
        for step_rows in rows[skip:]:
            yield gather(step_rows, dataset, lambda shard: batches[epoch, shard]), step_rows  # noqa: B023


def _encode(batch: Examples) -> pa.Table:
    """Return fixed-size binary columns, the Arrow type that passes through Ray into NumPy without a copy."""

    def column(array: np.ndarray) -> pa.Array:
        width = array[0].nbytes
        return pa.Array.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])

    return pa.table({"features": column(batch.features), "labels": column(batch.labels.astype(np.float32))})


def _decode(table: pa.Table, dataset: Dataset) -> Examples:
    """Return the examples of a table as views of its memory."""

    def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        [chunk] = table[name].chunks
        return np.frombuffer(chunk.buffers()[1], dtype).reshape(-1, *shape)

    features = array("features", dataset.manifest.feature_dtype, dataset.feature_shape)
    return Examples(features, array("labels", "float32", (len(dataset.manifest.table.learned),)))
