"""Bootstrap intervals of means, from sums over rows that can be computed in any split and order.

In each replicate of a Poisson bootstrap, an independent Poisson variable of mean 1 is the count of each row (Chamandy
et al., "Estimating uncertainty for massive data streams", 2012). Here the count is a pure function of the row's number,
so that parts of a data set give the same replicates as the whole.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.errors import DataError
from synthray.synth.presets import random_words

REPLICATES = 500
LEVEL = 0.95
SEED, STREAM = 2**63, 100  # no data set has this seed

_COUNTS_PER_WORD = 4  # 16 bits of a 64-bit word choose one count
_STEPS = 2**16
_LARGEST_COUNT = 8  # a larger one is rarer than one in 2**16


@dataclass(frozen=True)
class Estimate:
    """A mean over sounds, with its 95 % interval."""

    value: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    count: int
    """Number of values that the mean is taken of."""
    median: float | None = None
    chance: float | None = None
    """Score of a constant answer on the same sounds."""

    def __post_init__(self) -> None:
        if not np.isfinite([self.value, self.low, self.high]).all() or self.low > self.high:
            raise DataError(f"the estimate {self.value} has the interval {self.low} to {self.high}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def row_weights(first: int, count: int) -> npt.NDArray[np.float32]:
    """Return how often each replicate counts each row of a range.

    Args:
        first: number of the first row.
        count: number of rows.

    Returns:
        float32 (1 + replicates, count). The first line is all ones, for the mean itself.
    """
    words = random_words(SEED, STREAM, first, count, REPLICATES // _COUNTS_PER_WORD)
    drawn = _poisson_counts()[np.ascontiguousarray(words).view(np.uint16)]
    return np.concatenate([np.ones((1, count), np.float32), drawn.T])


def estimate(replicates: npt.NDArray[np.float64], count: int, median: float | None = None) -> Estimate:
    """Return a mean with the interval of its replicates.

    Args:
        replicates: float64 (1 + replicates,): the mean itself, then the mean of each replicate. A replicate without any
            row is NaN and does not count.
        count: number of values that the mean is taken of.
        median: the median of the values, if it is known.
    """
    value = float(replicates[0])
    tail = (1.0 - LEVEL) / 2.0
    drawn = replicates[1:][np.isfinite(replicates[1:])]
    low, high = np.quantile(drawn, [tail, 1.0 - tail]) if len(drawn) else (value, value)
    return Estimate(value, float(low), float(high), count, median)


def estimate_mean(values: npt.NDArray[np.float64]) -> Estimate:
    """Return mean, interval and median of at least one value, float64 (values,)."""
    weights = row_weights(0, len(values)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        replicates = weights @ values / weights.sum(axis=1)
    return estimate(replicates, len(values), float(np.median(values)))


def _poisson_counts() -> npt.NDArray[np.float32]:
    """Return a Poisson count of mean 1 for each value of 16 random bits, float32 (65536,)."""
    shares = [math.exp(-1.0) / math.factorial(count) for count in range(_LARGEST_COUNT)]
    ends = np.rint(np.cumsum(shares) * _STEPS)
    return np.searchsorted(ends, np.arange(_STEPS), side="right").astype(np.float32)
