"""Rows of a bounded sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.data import sample
from synthray.data.sample import sample_rows


@dataclass
class Shape:
    """The shape of a data set."""

    shard_rows: tuple[int, ...]
    feature_shape: tuple[int, int] = (20, 551)

    @property
    def shard_starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.shard_rows)])


@given(st.data())
def test_sample_rows_are_different_training_rows_in_order(data: st.DataObject) -> None:
    shape = Shape(tuple(data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=40))))
    count = data.draw(st.integers(1, sum(shape.shard_rows)))
    rows = sample_rows(shape, count)
    assert len(rows) >= 1
    assert (np.diff(rows) > 0).all()
    assert 0 <= rows[0] <= rows[-1] < count
    assert len(np.unique(np.searchsorted(shape.shard_starts, rows, side="right"))) <= 16


@pytest.mark.parametrize("shards", [1, 3, 16])
def test_sample_rows_of_few_examples_are_all_of_them(shards: int) -> None:
    assert sample_rows(Shape((50,) * shards), 50 * shards - 7).tolist() == list(range(50 * shards - 7))


@pytest.mark.parametrize(("frames", "bins"), [(20, 551), (1, 1), (2000, 2000), (10_000, 10_000)])
def test_sample_rows_of_a_large_data_set_are_bounded_and_spread(frames: int, bins: int) -> None:
    shape = Shape((256,) * 4000, (frames, bins))
    rows = sample_rows(shape, 900_000)
    assert 1 <= len(rows) <= max(1, sample._MOST_VALUES // (frames * bins))
    assert len(rows) <= 4096
    if len(rows) >= 16:
        assert rows[0] < 900_000 // 16 < 900_000 - 900_000 // 16 < rows[-1]
