"""The order: every example once an epoch, the same batches for any workers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.data.order import PADDING, EpochOrder
from synthray.errors import ConfigError


@st.composite
def orders(draw: st.DrawFn) -> EpochOrder:
    shard_rows = tuple(draw(st.lists(st.integers(1, 70), min_size=1, max_size=9)))
    total = sum(shard_rows)
    begin, end = sorted(draw(st.tuples(*[st.integers(0, total)] * 2)))
    return EpochOrder(
        shard_rows,
        batch_size=draw(st.sampled_from([1, 2, 3, 4, 6, 12, 16, 24, 32, 48, 64])),
        seed=draw(st.integers(0, 5)),
        left_out=(begin, end) if end - begin < total else (0, 0),
        window_rows=draw(st.sampled_from([1, 16, 64, 1000])),
    )


def epoch_batches(order: EpochOrder, epoch: int, batch_slots: range | None = None) -> np.ndarray:
    return np.concatenate([order.window(epoch, window, batch_slots) for window in range(order.windows)])


@given(orders(), st.integers(0, 3))
def test_epoch_contains_every_example_exactly_once(order: EpochOrder, epoch: int) -> None:
    batches = epoch_batches(order, epoch)
    assert batches.shape == (order.steps, order.batch_size)
    rows = batches[batches != PADDING]
    left_out = range(*order.left_out)
    assert sorted(rows.tolist()) == [row for row in range(sum(order.shard_rows)) if row not in left_out]
    assert len(rows) == order.rows


@given(orders(), st.data())
def test_worker_slices_concatenate_to_the_batch(order: EpochOrder, data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, min(9, order.batch_size)))
    shares = [epoch_batches(order, 1, order.worker_slice(rank, workers)) for rank in range(workers)]
    assert len({share.shape for share in shares}) == 1
    together = np.concatenate(shares, axis=1)
    np.testing.assert_array_equal(together[:, : order.batch_size], epoch_batches(order, 1))
    assert (together[:, order.batch_size :] == PADDING).all()


@given(orders())
def test_only_the_last_batch_is_padded_and_examples_counts_it(order: EpochOrder) -> None:
    real = (epoch_batches(order, 0) != PADDING).sum(axis=1)
    assert [order.examples(step) for step in range(order.steps)] == real.tolist()
    assert (real[:-1] == order.batch_size).all()
    assert real[-1] >= 1


@given(orders(), st.integers(0, 3), st.data())
def test_window_does_not_depend_on_earlier_windows(order: EpochOrder, epoch: int, data: st.DataObject) -> None:
    window = data.draw(st.integers(0, order.windows - 1))
    steps = order.window_steps(window)
    np.testing.assert_array_equal(order.window(epoch, window), epoch_batches(order, epoch)[steps.start : steps.stop])


@given(orders(), st.data())
def test_worker_batches_resume_at_any_step(order: EpochOrder, data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, min(9, order.batch_size)))
    rank = data.draw(st.integers(0, workers - 1))
    start = (data.draw(st.integers(0, 1)), data.draw(st.integers(0, order.steps - 1)))
    batch_slots = order.worker_slice(rank, workers)
    whole = np.concatenate([epoch_batches(order, epoch, batch_slots) for epoch in range(2)])
    rest = list(order.worker_batches(start, 2, rank, workers))
    np.testing.assert_array_equal(rest, whole[start[0] * order.steps + start[1] :])


def test_epochs_and_seeds_give_different_orders() -> None:
    order, other = EpochOrder((64,) * 8, 32, seed=1), EpochOrder((64,) * 8, 32, seed=2)
    sequences = [epoch_batches(order, 0), epoch_batches(order, 1), epoch_batches(other, 0)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (sequences[i] == sequences[j]).mean() < 0.1


@settings(deadline=None)
@given(st.integers(0, 3))
def test_neighbours_in_storage_are_far_apart_in_the_epoch(epoch: int) -> None:
    order = EpochOrder((256,) * 32, 32, seed=3, window_rows=2048)
    rows = epoch_batches(order, epoch).reshape(-1)
    position = np.empty(len(rows), np.int64)
    position[rows] = np.arange(len(rows))
    distance = np.abs(np.diff(position))
    # A perfect shuffle puts neighbours a third of the 8192 examples apart on average.
    assert np.median(distance) > 8192 / 32


def test_order_matches_the_pinned_values() -> None:
    order = EpochOrder((100, 64, 7, 200), 32, seed=11, left_out=(90, 111), window_rows=128)
    batches = np.concatenate([epoch_batches(order, epoch) for epoch in range(3)])
    assert batches[0, :8].tolist() == GOLDEN_BEGINNING
    assert hashlib.sha256(batches.astype("<i8").tobytes()).hexdigest()[:16] == GOLDEN_DIGEST


GOLDEN_BEGINNING = [5, 7, 22, 28, 47, 48, 66, 69]
GOLDEN_DIGEST = "206bf4ed50e21966"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch size is 0"),
        ({"batch_size": 4, "left_out": (0, 10)}, "rows 0 to 10 cannot be left out of a data set of 10 rows"),
        ({"batch_size": 4, "left_out": (5, 11)}, "rows 5 to 11"),
    ],
)
def test_invalid_order_is_rejected(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EpochOrder((4, 6), **arguments)


def test_more_workers_than_slots_are_rejected() -> None:
    with pytest.raises(ConfigError, match="a batch of 32 examples cannot be split among 33 workers"):
        EpochOrder((64,), 32).worker_slice(0, 33)
