"""Bootstrap intervals against the normal approximation, and weights that do not depend on the split."""

import numpy as np
import pytest
from scipy import stats

from synthray.errors import DataError
from synthray.evaluate.bootstrap import REPLICATES, Estimate, estimate, estimate_mean, row_weights


def test_row_weights_are_the_same_in_any_split():
    whole = row_weights(0, 50)
    assert whole.shape == (1 + REPLICATES, 50)
    np.testing.assert_array_equal(np.concatenate([row_weights(0, 7), row_weights(7, 43)], axis=1), whole)
    assert not np.array_equal(row_weights(50, 50)[1:], whole[1:])


def test_row_weights_are_poisson_counts_after_a_line_of_ones():
    weights = row_weights(0, 400)
    assert (weights[0] == 1).all()
    found = np.bincount(weights[1:].astype(int).ravel(), minlength=9) / weights[1:].size
    np.testing.assert_allclose(found, stats.poisson.pmf(np.arange(9), 1), atol=0.004)
    assert abs(np.corrcoef(weights[1], weights[2])[0, 1]) < 0.2


def test_estimate_mean_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(3, 2, 1000)
    found = estimate_mean(values)
    half_width = 1.96 * values.std() / np.sqrt(1000)
    assert (found.value, found.count, found.median) == pytest.approx((values.mean(), 1000, np.median(values)))
    assert found.high - found.value == pytest.approx(half_width, rel=0.15)
    assert found.value - found.low == pytest.approx(half_width, rel=0.15)
    assert estimate_mean(values) == found


@pytest.mark.parametrize("count", [1, 2, 30])
def test_estimate_mean_of_equal_values_has_no_width(count):
    found = estimate_mean(np.full(count, 4.0))
    assert (found.value, found.low, found.high) == pytest.approx((4, 4, 4))


def test_estimate_ignores_replicates_without_rows():
    found = estimate(np.array([0.5, np.nan, 0.25, np.nan]), 2)
    assert (found.value, found.low, found.high) == (0.5, 0.25, 0.25)
    assert estimate(np.array([0.5, np.nan]), 1).low == 0.5


def test_to_json_leaves_out_a_missing_median():
    assert Estimate(1.0, 0.5, 2.0, 3).to_json() == {"value": 1.0, "low": 0.5, "high": 2.0, "count": 3}
    assert Estimate(1.0, 0.5, 2.0, 3, 0.9).to_json()["median"] == 0.9


@pytest.mark.parametrize(("value", "low", "high"), [(np.nan, 0.0, 1.0), (0.5, 1.0, 0.0)])
def test_estimate_without_a_value_or_with_a_reversed_interval_is_refused(value, low, high):
    with pytest.raises(DataError, match=f"{value}.*{low} to {high}"):
        Estimate(value, low, high, 5)
