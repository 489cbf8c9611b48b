"""Scores against an oracle in plain Python, and sums over any split."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.errors import DataError
from synthray.evaluate.scores import Score, Sums, constant_guess, scores, sum_scores
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

TABLE = ParameterTable(
    (Choice("shape", ("sine", "saw", "noise")), Constant("volume"), Range("cutoff"), Choice("on", ("no", "yes")))
)
GUESS = np.array([2.0, 0.25, 0.0])


def random_labels(examples, seed):
    random = np.random.default_rng(seed)
    columns = [random.integers(0, 3, examples), random.random(examples), random.integers(0, 2, examples)]
    return np.stack(columns, axis=1).astype(np.float32)


def oracle(truth, answers):
    """Score example by example, parameter by parameter."""
    results = []
    for column, kind in enumerate(("choice", "range", "choice")):
        total = 0.0
        for example in range(len(truth)):
            if kind == "choice":
                total += 1.0 if int(truth[example][column]) == int(answers[example][column]) else 0.0
            else:
                total += abs(float(truth[example][column]) - float(answers[example][column]))
        results.append(total / len(truth))
    return results


def test_scores_equal_the_oracle():
    truth, predicted = random_labels(57, 1), random_labels(57, 2)
    found = scores(TABLE, sum_scores(TABLE, truth, predicted, GUESS))
    assert [(score.name, score.kind) for score in found] == [("shape", "choice"), ("cutoff", "range"), ("on", "choice")]
    assert [score.value for score in found] == pytest.approx(oracle(truth, predicted), abs=1e-12)
    assert [score.baseline for score in found] == pytest.approx(oracle(truth, [GUESS] * 57), abs=1e-12)


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(1, 40), st.integers(0, 1000))
def test_sum_scores_is_the_same_for_any_split_of_the_examples(cuts, examples, seed):
    truth, predicted = random_labels(examples, seed), random_labels(examples, seed + 1)
    edges = [0, *sorted(min(cut, examples) for cut in cuts), examples]
    parts = [slice(first, last) for first, last in itertools.pairwise(edges)]
    merged = sum((sum_scores(TABLE, truth[p], predicted[p], GUESS) for p in parts), Sums.zero(TABLE))
    whole = sum_scores(TABLE, truth, predicted, GUESS)
    assert merged.rows == whole.rows == examples
    np.testing.assert_allclose(merged.model, whole.model, atol=1e-9)
    np.testing.assert_allclose(merged.baseline, whole.baseline, atol=1e-9)


def test_is_better_means_higher_for_a_choice_and_lower_for_a_range():
    assert Score("a", "choice", 0.6, 0.5).is_better
    assert not Score("a", "choice", 0.5, 0.5).is_better
    assert Score("a", "range", 0.1, 0.2).is_better
    assert not Score("a", "range", 0.2, 0.2).is_better


def test_constant_guess_is_the_mean_and_the_most_common_class():
    statistics = {
        "shape": {"counts": {"sine": 3, "saw": 9, "noise": 4}},
        "cutoff": {"mean": 0.4, "deviation": 0.1},
        "on": {"counts": {"yes": 5}},
    }
    assert constant_guess(TABLE, statistics).tolist() == [1.0, 0.4, 1.0]


@pytest.mark.parametrize("statistics", [{}, {"shape": {}}, {"shape": None}])
def test_constant_guess_without_statistics_raises_data_error(statistics):
    with pytest.raises(DataError, match="no statistics of 'shape'"):
        constant_guess(TABLE, statistics)


def test_sum_scores_of_other_shapes_raises_data_error():
    with pytest.raises(DataError, match=r"labels \(4, 3\), predicted \(4, 2\)"):
        sum_scores(TABLE, random_labels(4, 0), random_labels(4, 0)[:, :2], GUESS)


def test_scores_of_no_examples_raises_data_error():
    with pytest.raises(DataError, match="there are no examples to score"):
        scores(TABLE, Sums.zero(TABLE))
