"""The order of examples: which of them make global batch *k* of epoch *e*, as a pure function.

Nothing here depends on how many workers there are or on what was read before, so a run may stop at any step and go on
with another number of workers, and every example is seen exactly once an epoch.

How it is made, so that reading stays sequential enough for Parquet in a bucket:

1. The shards are put in a new order each epoch; their rows, one after the other, make one long line.
2. The line is cut into ``streams`` equal segments. A batch takes the same number of rows from each of them, so that it
   draws from many shards at once.
3. Within its segment a stream shuffles windows of rows, as large as fit in memory.

A worker's share of a batch is a contiguous slice of it: a few whole streams, where the workers divide them, so that
they read different shards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.errors import ConfigError

_MOST_SEGMENTS = 16
_WINDOW_ROWS = 4096

PADDING = -1
"""Stands where a batch holds no example: at the end of an epoch, and of the last worker's share."""


def _permutation(size: int, *key: int) -> np.ndarray:
    """A permutation of ``range(size)`` from raw Philox bits: NumPy promises that those never change."""
    seed = np.random.SeedSequence(key)
    return np.argsort(np.random.Philox(seed).random_raw(size), kind="stable")


@dataclass(frozen=True)
class EpochOrder:
    """The order of ``rows`` examples in batches.

    shard_rows: rows of each shard, in the manifest's order. first, count: the range of rows that takes part, as rows of
    the whole data set (``count`` None: to the end). batch_size: examples of a global batch. window_rows: examples that
    are shuffled together, over all streams.
    """

    shard_rows: tuple[int, ...]
    batch_size: int
    seed: int = 0
    first: int = 0
    count: int | None = None
    window_rows: int = _WINDOW_ROWS

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size is {self.batch_size}; it must be at least 1")
        total = sum(self.shard_rows)
        if self.count is None:
            object.__setattr__(self, "count", total - self.first)
        if self.first < 0 or self.rows < 1 or self.first + self.rows > total:
            raise ConfigError(f"rows {self.first} to {self.first + self.rows} are asked for, of {total} that there are")

    @property
    def rows(self) -> int:
        """Examples in an epoch."""
        return int(self.count or 0)

    @cached_property
    def segments(self) -> int:
        """Segments that a batch draws from: a divisor of the batch size."""
        return math.gcd(self.batch_size, _MOST_SEGMENTS)

    @property
    def rows_per_segment(self) -> int:
        """Rows that a batch takes from each stream."""
        return self.batch_size // self.segments

    @cached_property
    def steps(self) -> int:
        """Batches in an epoch; the last may hold padding."""
        longest = -(-self.rows // self.segments)
        return -(-longest // self.rows_per_segment)

    @cached_property
    def steps_per_window(self) -> int:
        """Batches whose rows are shuffled, and read, together."""
        return max(1, min(self.window_rows // self.batch_size, self.steps))

    @property
    def windows(self) -> int:
        return -(-self.steps // self.steps_per_window)

    def window_steps(self, window: int) -> range:
        """The steps of an epoch that a window holds."""
        start = window * self.steps_per_window
        return range(start, min(start + self.steps_per_window, self.steps))

    def window(self, epoch: int, window: int, slots: range | None = None) -> np.ndarray:
        """The rows of a window's batches.

        Args:
            epoch: from 0.
            window: from 0, below ``windows``.
            slots: places of a batch that are wanted, all when None; see ``share``. Beyond its end is padding.

        Returns:
            int64 ``(steps, slots)``: rows of the whole data set, or ``PADDING``.
        """
        slots = slots if slots is not None else range(self.batch_size)
        steps = self.window_steps(window)
        rows = np.full((len(steps), len(slots)), PADDING, np.int64)
        slots = range(slots.start, min(slots.stop, self.batch_size))
        if not slots:
            return rows
        each = self.rows_per_segment
        streams = range(slots.start // each, -(-slots.stop // each))
        # sorted within a batch, where the order does not matter to training: rows of one shard are read in one go
        lines = [np.sort(self._segment_rows(epoch, stream, steps).reshape(len(steps), each)) for stream in streams]
        start = slots.start - streams.start * each
        rows[:, : len(slots)] = np.concatenate(lines, axis=1)[:, start : start + len(slots)]
        return rows

    def worker_slice(self, rank: int, workers: int) -> range:
        """The places of a global batch that one worker takes: as many for each, so that the last may be beyond its end.

        Raises:
            ConfigError: there are more workers than places.
        """
        if not 1 <= workers <= self.batch_size:
            raise ConfigError(f"a batch of {self.batch_size} cannot be shared by {workers} workers")
        size = -(-self.batch_size // workers)
        return range(rank * size, (rank + 1) * size)

    def worker_batches(self, start: tuple[int, int], epochs: int, rank: int, workers: int) -> Iterator[np.ndarray]:
        """The rows of one worker's share of every batch, from epoch and step ``start`` to the end of the last epoch.

        Yields:
            int64 ``(share,)``, as ``window`` gives them.
        """
        places = self.worker_slice(rank, workers)
        for epoch, window, skip in self.plan(start, epochs):
            yield from self.window(epoch, window, places)[skip:]

    def plan(self, start: tuple[int, int], epochs: int) -> list[tuple[int, int, int]]:
        """Epoch, window, and how many of its first steps are left out, from epoch and step ``start`` on."""
        first, skip = divmod(start[1], self.steps_per_window)
        plan = [(epoch, window, 0) for epoch in range(start[0], epochs) for window in range(self.windows)][first:]
        return [(*plan[0][:2], skip), *plan[1:]] if plan else []

    def examples(self, step: int) -> int:
        """How many of a batch's places hold an example: all but in the last batch of an epoch."""
        if step < self.steps - 1:
            return self.batch_size
        # every stream is as long as its neighbours, or one row shorter
        lengths = (self._segment(stream)[1] - self._segment(stream)[0] for stream in range(self.segments))
        return sum(max(0, min(length - step * self.rows_per_segment, self.rows_per_segment)) for length in lengths)

    def _segment(self, stream: int) -> tuple[int, int]:
        """First place in the epoch's line that belongs to a stream, and the first that does not any more."""
        return stream * self.rows // self.segments, (stream + 1) * self.rows // self.segments

    def _segment_rows(self, epoch: int, stream: int, steps: range) -> np.ndarray:
        """The rows that a stream gives to some consecutive batches, shuffled, padded at the end."""
        begin, end = self._segment(stream)
        first = begin + steps.start * self.rows_per_segment
        wanted = len(steps) * self.rows_per_segment
        places = np.arange(first, min(first + wanted, end))
        shuffled = places[_permutation(len(places), self.seed, 1, epoch, stream, steps.start)]
        rows = np.full(wanted, PADDING, np.int64)
        rows[: len(shuffled)] = self._epoch_rows(epoch, shuffled)
        return rows

    def _epoch_rows(self, epoch: int, places: np.ndarray) -> np.ndarray:
        """Places in the epoch's line to rows of the data set."""
        starts, lengths = self._taking_part
        order = _permutation(len(starts), self.seed, 0, epoch)
        ends = np.cumsum(lengths[order])
        piece = np.searchsorted(ends, places, side="right")
        return starts[order][piece] + places - (ends - lengths[order])[piece]

    @cached_property
    def _taking_part(self) -> tuple[np.ndarray, np.ndarray]:
        """First row and length of each shard, as far as it lies within the range that takes part."""
        edges = np.concatenate([[0], np.cumsum(self.shard_rows)])
        edges = np.clip(edges, self.first, self.first + self.rows)
        lengths = np.diff(edges)
        return edges[:-1][lengths > 0], lengths[lengths > 0]
