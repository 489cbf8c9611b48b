"""A bounded sample of a data set's first rows, for statistics of their features."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from synthray.data.dataset import Dataset

_MOST_VALUES = 1 << 24
"""Most numbers in a sample: 64 MB as float32."""
_MOST_ROWS = 4096
_MOST_SHARDS = 16
"""Most shards that a sample reads."""


def sample_rows(dataset: Dataset, count: int) -> npt.NDArray[np.int64]:
    """Return rows for a sample of the first ``count`` rows, evenly spaced in evenly spaced shards.

    They depend on the manifest and ``count`` only.
    """
    wanted = min(count, _MOST_ROWS, max(1, _MOST_VALUES // math.prod(dataset.feature_shape)))
    shards = int(np.searchsorted(dataset.shard_starts, count))  # number of shards with any of the first rows
    chosen = _spaced(shards, min(shards, _MOST_SHARDS, wanted))
    starts, ends = dataset.shard_starts[:-1], np.minimum(dataset.shard_starts[1:], count)
    rows = np.concatenate([np.arange(starts[shard], ends[shard]) for shard in chosen])
    sample: npt.NDArray[np.int64] = rows[_spaced(len(rows), min(len(rows), wanted))]
    return sample


def _spaced(end: int, count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` different whole numbers from 0 to below ``end``, evenly spaced."""
    return (np.arange(count) * 2 + 1) * end // (2 * count)
