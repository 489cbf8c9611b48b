"""Distributions over presets."""

import numpy as np
import pytest

from synthray.model.distribution import EQUAL_PITCHES, PITCHES, PresetDistribution, likeliest_labels
from synthray.model.heads import HeadLayout
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

TABLE = ParameterTable((Choice("c", ("x", "y", "z")), Constant("k"), Range("r"), Range("s", 0, 4, step=1)))
DISTRIBUTION = PresetDistribution(
    TABLE, (np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.0, 0.1, 0.6, 0.3]))
)


def test_likeliest_is_the_mode_of_choices_and_the_median_of_ranges() -> None:
    # 0.3 of the probability is below 0.5, so the median is two thirds into the third bin.
    np.testing.assert_allclose(DISTRIBUTION.likeliest(), [1, 0.5 + 0.25 * 2 / 3, 0.75], rtol=1e-6)


def test_likeliest_pitches_are_the_likeliest_pair_of_which_equal_ones_count_less() -> None:
    random = np.random.default_rng(0)
    probabilities = [
        random.dirichlet(np.full(HeadLayout(INSTRUMENT, 32).outputs(p), 0.05), 200) for p in INSTRUMENT.learned
    ]
    first, second = PITCHES
    # Often both oscillators have the same likeliest pitches.
    probabilities[second][:150] = 0.9 * probabilities[first][:150] + 0.1 * probabilities[second][:150]
    labels = likeliest_labels(INSTRUMENT, probabilities)
    equal = 0
    for row in range(200):
        one, other = probabilities[first][row], probabilities[second][row]
        weights = np.outer(one, other) * np.where(np.eye(49) > 0, EQUAL_PITCHES, 1.0)
        i, j = np.rint(labels[row, PITCHES] * 48).astype(int)
        assert weights[i, j] == weights.max()
        equal += i == j
    assert 0 < equal < 150
    distribution = PresetDistribution(INSTRUMENT, tuple(p[0] for p in probabilities))
    np.testing.assert_array_equal(distribution.likeliest(), labels[0])


def test_sample_has_the_frequencies_of_the_distribution() -> None:
    labels = DISTRIBUTION.sample(50_000, np.random.default_rng(0))
    assert labels.dtype == np.float32
    np.testing.assert_allclose(np.bincount(labels[:, 0].astype(int)) / 50_000, [0.2, 0.5, 0.3], atol=0.01)
    # Each bin is filled evenly: its halves have the same frequency.
    counts, _ = np.histogram(labels[:, 1], 8, (0, 1))
    np.testing.assert_allclose(counts / 50_000, np.repeat([0.05, 0.1, 0.15, 0.2], 2), atol=0.01)
    steps = np.bincount(np.rint(labels[:, 2] * 4).astype(int), minlength=5)
    np.testing.assert_allclose(steps / 50_000, [0.0, 0.0, 0.1, 0.6, 0.3], atol=0.01)
    assert set(np.unique(labels[:, 2])) == {0.5, 0.75, 1.0}


def test_sample_of_a_certain_distribution_never_leaves_its_classes() -> None:
    certain = PresetDistribution(TABLE, (np.array([0, 1.0, 0]), np.array([0, 0, 0, 1.0]), np.array([0, 0, 0, 0, 1.0])))
    labels = certain.sample(1000, np.random.default_rng(0))
    assert (labels[:, 0] == 1).all()
    assert ((labels[:, 1] >= 0.75) & (labels[:, 1] <= 1)).all()
    assert (labels[:, 2] == 1).all()


@pytest.mark.parametrize(
    ("column", "label", "expected"),
    [(0, 2, 0.3), (1, 0.5, 0.05 * 4 * (0.2 + 0.3)), (1, 0.0, 0.05 * 4 * 0.1), (2, 0.75, 0.6)],
)
def test_confidence_is_the_probability_near_the_label(column: int, label: float, expected: float) -> None:
    assert DISTRIBUTION.confidence(column, label) == pytest.approx(expected)
