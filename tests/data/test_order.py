"""The order of examples: pure, exactly once an epoch, the same for any number of workers."""

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
    first = draw(st.integers(0, total - 1))
    return EpochOrder(
        shard_rows,
        batch_size=draw(st.sampled_from([1, 2, 3, 4, 6, 12, 16, 24, 32, 48, 64])),
        seed=draw(st.integers(0, 5)),
        first=first,
        count=draw(st.integers(1, total - first)),
        window_rows=draw(st.sampled_from([1, 16, 64, 1000])),
    )


def epoch_batches(order: EpochOrder, epoch: int, places: range | None = None) -> np.ndarray:
    return np.concatenate([order.window(epoch, window, places) for window in range(order.windows)])


@given(orders(), st.integers(0, 3))
def test_every_example_is_seen_exactly_once_an_epoch(order: EpochOrder, epoch: int) -> None:
    batches = epoch_batches(order, epoch)
    assert batches.shape == (order.steps, order.batch_size)
    seen = batches[batches != PADDING]
    assert sorted(seen.tolist()) == list(range(order.first, order.first + order.rows))


@given(orders(), st.data())
def test_the_workers_shares_make_up_the_batch(order: EpochOrder, data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, min(9, order.batch_size)))
    shares = [epoch_batches(order, 1, order.worker_slice(rank, workers)) for rank in range(workers)]
    assert len({share.shape for share in shares}) == 1
    together = np.concatenate(shares, axis=1)
    np.testing.assert_array_equal(together[:, : order.batch_size], epoch_batches(order, 1))
    assert (together[:, order.batch_size :] == PADDING).all()


@given(orders())
def test_only_the_last_batch_is_padded_and_its_size_is_known(order: EpochOrder) -> None:
    real = (epoch_batches(order, 0) != PADDING).sum(axis=1)
    assert [order.examples(step) for step in range(order.steps)] == real.tolist()
    assert (real[:-1] == order.batch_size).all()
    assert real[-1] >= 1


@given(orders(), st.integers(0, 3), st.data())
def test_a_window_can_be_had_without_the_ones_before_it(order: EpochOrder, epoch: int, data: st.DataObject) -> None:
    window = data.draw(st.integers(0, order.windows - 1))
    steps = order.window_steps(window)
    np.testing.assert_array_equal(order.window(epoch, window), epoch_batches(order, epoch)[steps.start : steps.stop])


@given(orders(), st.data())
def test_the_rest_of_a_run_can_be_had_from_any_step(order: EpochOrder, data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, min(9, order.batch_size)))
    rank = data.draw(st.integers(0, workers - 1))
    start = (data.draw(st.integers(0, 1)), data.draw(st.integers(0, order.steps - 1)))
    places = order.worker_slice(rank, workers)
    whole = np.concatenate([epoch_batches(order, epoch, places) for epoch in range(2)])
    rest = list(order.worker_batches(start, 2, rank, workers))
    np.testing.assert_array_equal(rest, whole[start[0] * order.steps + start[1] :])


def test_epochs_and_seeds_differ() -> None:
    order, other = EpochOrder((64,) * 8, 32, seed=1), EpochOrder((64,) * 8, 32, seed=2)
    lines = [epoch_batches(order, 0), epoch_batches(order, 1), epoch_batches(other, 0)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (lines[i] == lines[j]).mean() < 0.1


@settings(deadline=None)
@given(st.integers(0, 3))
def test_neighbours_in_storage_end_up_far_apart(epoch: int) -> None:
    order = EpochOrder((256,) * 32, 32, seed=3, window_rows=2048)
    line = epoch_batches(order, epoch).reshape(-1)
    place = np.empty(len(line), np.int64)
    place[line] = np.arange(len(line))
    apart = np.abs(np.diff(place))
    # of 8192 examples: a perfect shuffle puts neighbours a third of the epoch apart
    assert np.median(apart) > 8192 / 32


def test_the_order_never_changes_by_accident() -> None:
    order = EpochOrder((100, 64, 7, 200), 32, seed=11, first=5, count=350, window_rows=128)
    line = np.concatenate([epoch_batches(order, epoch) for epoch in range(3)])
    assert line[0, :8].tolist() == GOLDEN_BEGINNING
    assert hashlib.sha256(line.astype("<i8").tobytes()).hexdigest()[:16] == GOLDEN_DIGEST


GOLDEN_BEGINNING = [10, 12, 27, 33, 52, 53, 71, 74]
GOLDEN_DIGEST = "6544ef68f1b67b81"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch size is 0"),
        ({"batch_size": 4, "first": 10}, "of 10 that there are"),
        ({"batch_size": 4, "first": 5, "count": 6}, "rows 5 to 11"),
    ],
)
def test_impossible_orders_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EpochOrder((4, 6), **arguments)


def test_more_workers_than_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="a batch of 32 cannot be shared by 33 workers"):
        EpochOrder((64,), 32).worker_slice(0, 33)
