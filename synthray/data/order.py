"""The order of examples: which rows make the batch of an epoch and step.

It is a pure function of seed, epoch and step. Reading the rows is not here: see ``dataset.gather``.

The order does not depend on the number of workers or on what was read before. So a run may stop at any step and resume
with another number of workers, and each epoch contains every example exactly once. Reads stay sequential enough for
Parquet files in a bucket:

1. Each epoch shuffles the shards. Their rows, one shard after the other, are the epoch's sequence.
2. The sequence is cut into equal segments. A batch takes the same number of rows from each, so it mixes many shards.
3. Each segment is cut into windows that fit in memory. The rows of a window are shuffled.

Each worker takes a contiguous slice of a batch. If the number of workers divides the number of segments, each worker
reads segments of its own, and so different shards.
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
"""Row number of a slot (place in a batch) without an example: at the end of an epoch or of the last worker's slice."""


def _permutation(size: int, *key: int) -> np.ndarray:
    """Return a permutation of ``range(size)`` that depends on ``key`` alone.

    It comes from raw Philox bits, which NumPy promises never to change.
    """
    seed = np.random.SeedSequence(key)
    return np.argsort(np.random.Philox(seed).random_raw(size), kind="stable")


@dataclass(frozen=True)
class EpochOrder:
    """The order of a data set's examples in batches."""

    shard_rows: tuple[int, ...]
    """Rows of each shard, in the manifest's order."""
    batch_size: int
    """Examples of a global batch."""
    seed: int = 0
    """Seed of all shuffles."""
    left_out: tuple[int, int] = (0, 0)
    """The first row to leave out, and the row after the last one; equal if no row is left out."""
    window_rows: int = _WINDOW_ROWS
    """Rows that are shuffled together, over all segments."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size is {self.batch_size}. It must be at least 1.")
        total, (begin, end) = sum(self.shard_rows), self.left_out
        if self.rows < 1 or not 0 <= begin <= end <= total:
            raise ConfigError(f"rows {begin} to {end} cannot be left out of a data set of {total} rows")

    @cached_property
    def rows(self) -> int:
        """Examples in an epoch."""
        begin, end = self.left_out
        return sum(self.shard_rows) - (end - begin)

    @cached_property
    def segments(self) -> int:
        """Segments that a batch draws from: a divisor of the batch size."""
        return math.gcd(self.batch_size, _MOST_SEGMENTS)

    @property
    def rows_per_segment(self) -> int:
        """Rows that a batch takes from each segment."""
        return self.batch_size // self.segments

    @cached_property
    def steps(self) -> int:
        """Batches in an epoch; the last may contain padding."""
        longest_segment = -(-self.rows // self.segments)
        return -(-longest_segment // self.rows_per_segment)

    @cached_property
    def steps_per_window(self) -> int:
        """Batches whose rows are shuffled, and read, together."""
        return max(1, min(self.window_rows // self.batch_size, self.steps))

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self.steps // self.steps_per_window)

    def window_steps(self, window: int) -> range:
        """Return the steps of an epoch that a window contains."""
        start = window * self.steps_per_window
        return range(start, min(start + self.steps_per_window, self.steps))

    def window(self, epoch: int, window: int, batch_slots: range | None = None) -> np.ndarray:
        """Return the rows of a window's batches.

        Args:
            epoch: from 0.
            window: from 0, below ``windows``.
            batch_slots: the wanted positions within a batch, see ``worker_slice``; all if None.

        Returns:
            int64 ``(steps, slots)``: rows of the data set; ``PADDING`` for slots beyond the end of the batch.
        """
        wanted = batch_slots if batch_slots is not None else range(self.batch_size)
        steps = self.window_steps(window)
        rows = np.full((len(steps), len(wanted)), PADDING, np.int64)
        within = range(wanted.start, min(wanted.stop, self.batch_size))
        if not within:
            return rows
        width = self.rows_per_segment
        segments = range(within.start // width, -(-within.stop // width))
        # Training ignores the order within a batch. Sorted, the rows of one shard are read in one run.
        blocks = [np.sort(self._segment_rows(epoch, each, steps).reshape(len(steps), width)) for each in segments]
        start = within.start - segments.start * width
        rows[:, : len(within)] = np.concatenate(blocks, axis=1)[:, start : start + len(within)]
        return rows

    def worker_slice(self, rank: int, workers: int) -> range:
        """Return the slots of a global batch that one worker takes.

        All workers take the same number, so the last slice may reach beyond the batch.

        Raises:
            ConfigError: there are more workers than slots.
        """
        if not 1 <= workers <= self.batch_size:
            raise ConfigError(f"a batch of {self.batch_size} examples cannot be split among {workers} workers")
        size = -(-self.batch_size // workers)
        return range(rank * size, (rank + 1) * size)

    def worker_batches(self, start: tuple[int, int], epochs: int, rank: int, workers: int) -> Iterator[np.ndarray]:
        """Yield the rows of one worker's slice of every batch.

        Args:
            start: epoch and step to begin at.
            epochs: epochs of the whole run.
            rank: the worker's number, from 0.
            workers: number of workers.

        Yields:
            int64 ``(slots,)``, as ``window`` returns them.
        """
        batch_slots = self.worker_slice(rank, workers)
        for epoch, window, skipped_steps in self.plan(start, epochs):
            yield from self.window(epoch, window, batch_slots)[skipped_steps:]

    def plan(self, start: tuple[int, int], epochs: int) -> list[tuple[int, int, int]]:
        """Return the windows to read from epoch and step ``start`` on.

        Each is an epoch, a window, and the number of steps to skip in it.
        """
        skipped_windows, skipped_steps = divmod(start[1], self.steps_per_window)
        windows = [(epoch, window, 0) for epoch in range(start[0], epochs) for window in range(self.windows)]
        plan = windows[skipped_windows:]
        return [(*plan[0][:2], skipped_steps), *plan[1:]] if plan else []

    def examples(self, step: int) -> int:
        """Return the number of examples in a batch.

        Only the last batch of an epoch has less than the batch size.
        """
        if step < self.steps - 1:
            return self.batch_size
        lengths = (end - begin for begin, end in map(self._segment_bounds, range(self.segments)))
        return sum(max(0, min(length - step * self.rows_per_segment, self.rows_per_segment)) for length in lengths)

    def _segment_bounds(self, segment: int) -> tuple[int, int]:
        """Return a segment's first position in the epoch's sequence, and its end."""
        return segment * self.rows // self.segments, (segment + 1) * self.rows // self.segments

    def _segment_rows(self, epoch: int, segment: int, steps: range) -> np.ndarray:
        """Return a segment's rows for consecutive batches, shuffled and padded."""
        begin, end = self._segment_bounds(segment)
        first = begin + steps.start * self.rows_per_segment
        count = len(steps) * self.rows_per_segment
        positions = np.arange(first, min(first + count, end))
        shuffled = positions[_permutation(len(positions), self.seed, 1, epoch, segment, steps.start)]
        rows = np.full(count, PADDING, np.int64)
        rows[: len(shuffled)] = self._epoch_rows(epoch, shuffled)
        return rows

    def _epoch_rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """Return the data set's rows at positions of the epoch's sequence."""
        starts, lengths = self._shard_ranges
        shuffled_shards = _permutation(len(starts), self.seed, 0, epoch)
        ends = np.cumsum(lengths[shuffled_shards])
        shard = np.searchsorted(ends, positions, side="right")
        rows: np.ndarray = starts[shuffled_shards][shard] + positions - (ends - lengths[shuffled_shards])[shard]
        return rows

    @cached_property
    def _shard_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """First row and length of each run of rows that are not left out; a shard can have two runs."""
        edges = np.concatenate([[0], np.cumsum(self.shard_rows)])
        begin, end = self.left_out
        starts = np.stack([edges[:-1], np.maximum(edges[:-1], end)], axis=1).ravel()
        ends = np.stack([np.minimum(edges[1:], begin), edges[1:]], axis=1).ravel()
        lengths = ends - starts
        return starts[lengths > 0], lengths[lengths > 0]
