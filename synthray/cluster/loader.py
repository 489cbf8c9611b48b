"""Reading a data set on Ray, for training: from shared memory where it fits there, and else as it is needed.

Plain Ray tasks, one a shard, because the order of examples is known beforehand: there is nothing to plan. Ray Data
makes data sets (``ray_data.py``); its executor spends 8 to 15 ms of the consumer's processor on a block and half a
second on its start, a task 2 ms and 30 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from synthray.data.dataset import Dataset, gather
from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.data.order import PADDING, EpochOrder
from synthray.errors import StorageError
from synthray.progress import Progress

READER_CPUS = 0.4
"""What a task that reads takes of the cluster: on a machine of one processor, workers have the other half."""
_BEAT_S = 5.0
# Of a node's shared memory, what a data set may take: the rest is for what moves through it.
_SHARE_OF_MEMORY = 0.8


@ray.remote(num_cpus=READER_CPUS, num_returns=2)
def _read(dataset: Dataset, number: int, epoch: int, _after: int | None = None) -> tuple[pa.Table, int]:
    """A shard, and its number: who waits for it need not fetch the shard itself to learn how it went.

    _after: the number of another one, which is to be read before.
    """
    return _encode(dataset.read_shard(number, epoch)), number


@dataclass(frozen=True)
class CachePending:
    """A data set on its way into the cluster's shared memory. references: by shard, for ``CachedReader``."""

    references: dict[int, ray.ObjectRef]
    total: int
    """Rows that are on their way, or there."""
    _rows: dict[ray.ObjectRef, int]

    def rows(self) -> int:
        """How many are there."""
        done, _ = ray.wait(list(self._rows), num_returns=len(self._rows), timeout=0)
        return sum(self._rows[reference] for reference in done)

    def wait(self) -> dict[int, ray.ObjectRef]:
        """Until all of it is there, and show how far it is; gives the references.

        Raises:
            CorruptShard: a shard is not what its manifest says.
            StorageError: the store cannot be reached.
        """
        waiting = list(self._rows)
        with Progress("reading", self.total, "examples") as progress:
            while waiting:
                [done], waiting = ray.wait(waiting)
                _get(done)
                progress.advance(self._rows[done])
        return self.references


def cache_dataset(dataset: Dataset, order: EpochOrder | None = None) -> CachePending | None:
    """Begin to read, or render, a data set into the cluster's shared memory, once for all workers and epochs.

    None where it does not fit well into the memory of the smallest node, or has other sounds in each epoch.

    Args:
        order: what is to be read in it, and no more, so that its first epoch can begin before all is there.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    memory = min(node.get("object_store_memory", 0) for node in nodes)
    if dataset.fresh or dataset.manifest.feature_bytes > _SHARE_OF_MEMORY * memory:
        return None
    shared = ray.put(dataset)
    # Each task follows another, in so many queues as half of the processors have room for: Ray would start the workers
    # only when it has no task left that is ready.
    queues = max(1, int(sum(node.get("CPU", 0) for node in nodes) / 2 / READER_CPUS))
    tables: dict[int, ray.ObjectRef] = {}
    rows: dict[ray.ObjectRef, int] = {}
    ends: deque[ray.ObjectRef | None] = deque([None] * queues)
    for number in _by_first_use(dataset, order) if order else range(len(dataset.manifest.shards)):
        tables[number], done = _read.remote(shared, number, 0, ends.popleft())
        rows[done] = dataset.shard_rows[number]
        ends.append(done)
    return CachePending(tables, sum(rows.values()), rows)


def _by_first_use(dataset: Dataset, order: EpochOrder) -> list[int]:
    """The shards that an order reads, the first one of its first epoch first."""
    shards = [_shards(dataset, order.window(0, window).ravel()) for window in range(order.windows)]
    return list(dict.fromkeys(np.concatenate(shards).tolist()))


def _shards(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """The shards that rows are in, each once, in the order in which they come up."""
    numbers = np.searchsorted(dataset.shard_starts, rows[rows != PADDING], side="right") - 1
    different, firsts = np.unique(numbers, return_index=True)
    return different[np.argsort(firsts)]


def _get(references: ray.ObjectRef | list[ray.ObjectRef]) -> Any:
    """What tasks made, or the error of ours that one raised."""
    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from None


class CachedReader:
    """A data set that lies in shared memory: any rows of it, without reading. Shards are mapped, not copied.

    What is still on its way is waited for; ``beat`` is called now and then, as long as more of it arrives.
    """

    def __init__(
        self, references: dict[int, ray.ObjectRef], dataset: Dataset, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._references, self._dataset, self._beat = references, dataset, beat
        self._batches: dict[int, Examples] = {}

    def take(self, rows: np.ndarray) -> Examples:
        """As ``Dataset.take``; raises CorruptShard, StorageError."""
        missing = [shard for shard in _shards(self._dataset, rows).tolist() if shard not in self._batches]
        references = [self._references[shard] for shard in missing]
        # all at once: on a node that they were not read on, they come over the network
        arrived = -1
        while missing and ray.wait(references, num_returns=len(missing), timeout=_BEAT_S)[1]:
            before, arrived = arrived, self._arrived()
            if arrived > before:
                self._beat()
        for shard in missing:
            self._batches[shard] = self._batch(shard)
        return gather(rows, self._dataset, self._batches.__getitem__)

    def _arrived(self) -> int:
        """How many shards are there."""
        references = list(self._references.values())
        return len(ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[0])

    def _batch(self, shard: int) -> Examples:
        try:
            return _decode(_get(self._references[shard]), self._dataset.manifest)
        except StorageError:  # which a task has given up for good: the store may be back since
            batch = self._dataset.read_shard(shard)
            return replace(batch, labels=batch.labels.astype(np.float32))


def stream_batches(
    dataset: Dataset, order: EpochOrder, start: tuple[int, int], epochs: int, rank: int, workers: int
) -> Iterator[tuple[Examples, np.ndarray]]:
    """One worker's share of every batch, from epoch and step ``start`` to the end of the last epoch, read as it goes.

    While one window of the order is trained on, tasks read the shards that the next one needs besides. Each shard is
    read once an epoch, and again by another worker where its rows are shared.

    Yields:
        the share of one global batch, labels float32, and its rows of the data set, ``PADDING`` where there is none.

    Raises:
        CorruptShard, StorageError: as ``Dataset.read_shard``, before any batch of the window is given.
    """
    places = order.worker_slice(rank, workers)
    plan = order.plan(start, epochs)
    shared = ray.put(dataset)
    asked: dict[tuple[int, int], ray.ObjectRef] = {}

    def ask(epoch: int, window: int) -> tuple[np.ndarray, set[tuple[int, int]]]:
        """Have the shards of a window read; gives its rows, and which shards they are in."""
        rows = order.window(epoch, window, places)
        shards = {(epoch, number) for number in _shards(dataset, rows.ravel()).tolist()}
        for shard in sorted(shards - asked.keys()):
            asked[shard], _ = _read.remote(shared, shard[1], epoch)
        return rows, shards

    ahead = ask(*plan[0][:2]) if plan else None
    batches: dict[tuple[int, int], Examples] = {}
    for place, (epoch, _, skip) in enumerate(plan):
        rows, shards = ahead
        # first of all, so that only two windows are ever in memory
        for gone in asked.keys() - shards:
            del asked[gone]
        batches = {shard: batch for shard, batch in batches.items() if shard in shards}
        ahead = ask(*plan[place + 1][:2]) if place + 1 < len(plan) else (None, set())
        batches = {
            shard: batches[shard] if shard in batches else _decode(_get(asked[shard]), dataset.manifest)
            for shard in shards
        }
        for step_rows in rows[skip:]:
            yield gather(step_rows, dataset, lambda number: batches[epoch, number]), step_rows  # noqa: B023


def _encode(batch: Examples) -> pa.Table:
    """Fixed-size binary columns: the one Arrow type that goes through Ray and into NumPy without a copy."""

    def column(array: np.ndarray) -> pa.Array:
        width = array[0].nbytes
        return pa.Array.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])

    return pa.table({"features": column(batch.features), "labels": column(batch.labels.astype(np.float32))})


def _decode(table: pa.Table, manifest: Manifest) -> Examples:
    def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        [chunk] = table[name].chunks
        return np.frombuffer(chunk.buffers()[1], dtype).reshape(-1, *shape)

    features = array("features", manifest.feature_dtype, manifest.feature_shape)
    return Examples(features, array("labels", "float32", (len(manifest.table.learned),)))
