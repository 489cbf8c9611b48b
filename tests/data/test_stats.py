"""Statistics: correct, and the same for any division into shards."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.data import stats
from synthray.data.examples import Examples
from synthray.data.manifest import Manifest, Shard
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.parameters import Choice, ParameterTable, Range

TABLE = ParameterTable((Range("a"), Choice("b", ("x", "y", "z")), Range("loudness")))
BINS = np.arange(21) / 20


def batch(rows: int, seed: int) -> Examples:
    """Return labels in and out of [0, 1], and sounds from silence to clipping."""
    random = np.random.default_rng(seed)
    labels = np.stack([random.normal(0.5, 0.5, rows), random.integers(3, size=rows), random.random(rows)], axis=1)
    gains = 10 ** random.uniform(-8, 3, size=(rows, 1, 1)) * random.integers(2, size=(rows, 1, 1))
    return Examples((gains * random.random((rows, 4, 8))).astype(np.float32), labels)


def count(labels: list[float]) -> dict:
    """Return the histogram of one range's labels."""
    part = stats.summarise(
        [Examples(np.ones((len(labels), 1, 1)), np.array(labels)[:, None])], ParameterTable((Range("a"),))
    )
    return stats.merge([part], ParameterTable((Range("a"),)))["a"]["histogram"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_statistics_do_not_depend_on_the_division(sizes: list[int], data: st.DataObject) -> None:
    batches = [batch(rows, seed) for seed, rows in enumerate(sizes)]
    cuts = sorted({0, len(sizes), *data.draw(st.lists(st.integers(0, len(sizes)), max_size=4))})
    parts = [stats.summarise(batches[a:b], TABLE) for a, b in itertools.pairwise(cuts)]
    whole = [stats.summarise(batches, TABLE)]
    merged, undivided = stats.merge(parts, TABLE), stats.merge(whole, TABLE)
    assert stats.merge_loudness(parts) == stats.merge_loudness(whole)
    for name in ("a", "loudness"):
        for exact in ("histogram", "minimum", "maximum"):
            assert merged[name][exact] == undivided[name][exact]
        for rounded in ("mean", "deviation"):
            assert merged[name][rounded] == pytest.approx(undivided[name][rounded], rel=1e-12, abs=1e-12)
    assert merged["b"] == undivided["b"]


@given(st.integers(1, 200))
def test_statistics_equal_numpys(rows: int) -> None:
    one = batch(rows, rows)
    found = stats.merge([stats.summarise([one], TABLE)], TABLE)
    label = one.labels[:, 0]
    assert found["a"]["mean"] == pytest.approx(label.mean(), rel=1e-12)
    assert found["a"]["deviation"] == pytest.approx(label.std(), abs=1e-9)
    assert (found["a"]["minimum"], found["a"]["maximum"]) == (label.min(), label.max())
    assert found["a"]["histogram"] == {
        "below": (label < 0).sum(),
        "counts": np.histogram(label, BINS)[0].tolist(),
        "above": (label > 1).sum(),
    }
    assert found["b"]["counts"] == {value: (one.labels[:, 1] == i).sum() for i, value in enumerate("xyz")}


@given(st.integers(1, 200))
def test_loudness_histogram_equals_numpys(rows: int) -> None:
    one = batch(rows, rows)
    dbfs = np.minimum(loudness_dbfs(one.features), -1.0)
    assert stats.merge_loudness([stats.summarise([one], TABLE)]) == {
        "from_dbfs": -100,
        "step_db": 5,
        "below": (dbfs < -100).sum(),
        "counts": np.histogram(dbfs[dbfs >= -100], np.arange(-100, 1, 5))[0].tolist(),
    }


def test_labels_on_bin_edges_are_counted_in_the_upper_bin() -> None:
    assert count((np.arange(20) / 20).tolist())["counts"] == [1] * 20
    assert count([1.0, np.nextafter(1.0, 0.0)]) == {"below": 0, "counts": [0] * 19 + [2], "above": 0}
    assert count([np.nextafter(1.0, 2.0), 440.0, 1e100]) == {"below": 0, "counts": [0] * 20, "above": 3}
    assert count([-0.0, -1e-300, -5.0]) == {"below": 2, "counts": [1] + [0] * 19, "above": 0}


def test_silence_counts_as_below_and_huge_features_as_loud() -> None:
    features = np.zeros((3, 2, 4))
    features[1], features[2] = 1e30, -1e-300  # their squares overflow or underflow in float32
    part = stats.summarise([Examples(features, np.zeros((3, 3)))], TABLE)
    assert stats.merge_loudness([part])["below"] == 2
    assert stats.merge_loudness([part])["counts"] == [0] * 19 + [1]


def test_loudness_does_not_depend_on_the_dtype() -> None:
    features = np.random.default_rng(0).integers(0, 200, (50, 3, 7))
    labels = np.zeros((50, 3))
    counted = [
        stats.summarise([Examples(features.astype(dtype), labels)], TABLE)["loudness"]
        for dtype in (np.float16, np.float32, np.float64, np.int64)
    ]
    assert counted[1:] == counted[:-1]
    assert sum(counted[0]) == 50


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.data())
def test_published_statistics_merge_with_a_new_part(sizes: list[int], data: st.DataObject) -> None:
    batches = [batch(rows, seed) for seed, rows in enumerate(sizes)]
    cut = data.draw(st.integers(1, len(sizes) - 1))
    before, more = (stats.summarise(part, TABLE) for part in (batches[:cut], batches[cut:]))
    parts = [stats.sums_of(published(before, sum(sizes[:cut]))), more]
    whole = [stats.summarise(batches, TABLE)]
    assert stats.merge_loudness(parts) == stats.merge_loudness(whole)
    merged, undivided = stats.merge(parts, TABLE), stats.merge(whole, TABLE)
    assert merged["b"] == undivided["b"]
    assert merged["a"]["histogram"] == undivided["a"]["histogram"]
    assert merged["a"]["maximum"] == undivided["a"]["maximum"]
    for rounded in ("mean", "deviation"):
        assert merged["a"][rounded] == pytest.approx(undivided["a"][rounded], abs=1e-6)


def published(part: dict, rows: int) -> Manifest:
    """Return the manifest of one part, as a data set of its own."""
    found, loudness = stats.merge([part], TABLE), stats.merge_loudness([part])
    return Manifest(TABLE, (4, 8), "float32", {}, (Shard("a", rows, 1, "ab"),), found, loudness=loudness)
