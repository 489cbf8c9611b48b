"""Scores against an oracle in plain Python, and sums over any split."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.errors import DataError
from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.scores import Score, Sums, constant_guess, mean_scores, scores, sum_scores
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

TABLE = ParameterTable(
    (Choice("shape", ("sine", "saw", "noise")), Constant("volume"), Range("cutoff"), Choice("on", ("no", "yes")))
)
GUESS = np.array([2.0, 0.25, 0.0])


def random_labels(examples, seed):
    random = np.random.default_rng(seed)
    columns = [random.integers(0, 3, examples), random.random(examples), random.integers(0, 2, examples)]
    return np.stack(columns, axis=1).astype(np.float32)


def random_audible(examples, seed):
    return np.random.default_rng(seed).random((examples, 3)) < 0.6


def both(examples, seed):
    """Return truth, the answers of a model and of chance, and what can be heard."""
    answers = np.stack([random_labels(examples, seed + 1), np.tile(GUESS, (examples, 1))])
    return random_labels(examples, seed), answers, random_audible(examples, seed + 2)


def oracle(truth, answers, audible):
    """Score example by example, parameter by parameter, where it can be heard."""
    results = []
    for column, kind in enumerate(("choice", "range", "choice")):
        total, count = 0.0, 0
        for example in range(len(truth)):
            if not audible[example][column]:
                continue
            count += 1
            if kind == "choice":
                total += 1.0 if int(truth[example][column]) == int(answers[example][column]) else 0.0
            else:
                total += abs(float(truth[example][column]) - float(answers[example][column]))
        results.append((total / count, count))
    return results


def test_scores_equal_the_oracle_over_all_and_where_audible():
    truth, answers, audible = both(57, 1)
    sums = sum_scores(TABLE, 0, truth, answers, audible)
    for number, answer in enumerate(answers):
        found = scores(TABLE, sums, number)
        assert [(s.name, s.kind) for s in found] == [("shape", "choice"), ("cutoff", "range"), ("on", "choice")]
        over_all = [(s.over_all.value, s.over_all.count) for s in found]
        np.testing.assert_allclose(over_all, oracle(truth, answer, np.ones_like(audible)), atol=1e-12)
        where_audible = [(s.where_audible.value, s.where_audible.count) for s in found]
        np.testing.assert_allclose(where_audible, oracle(truth, answer, audible), atol=1e-12)


def test_scores_have_intervals_that_narrow_with_the_examples():
    widths = []
    for examples in (100, 1600):
        sums = sum_scores(TABLE, 0, *both(examples, 0))
        estimates = [score.where_audible for score in scores(TABLE, sums, 0)]
        assert all(found.low < found.value < found.high for found in estimates)
        widths.append([found.high - found.low for found in estimates])
    np.testing.assert_allclose(np.divide(*widths), 4, rtol=0.35)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 40), max_size=5), st.integers(1, 40), st.integers(0, 1000))
def test_sum_scores_is_the_same_for_any_split_of_the_examples(cuts, examples, seed):
    truth, answers, audible = both(examples, seed)
    edges = [0, *sorted(min(cut, examples) for cut in cuts), examples]
    parts = [slice(first, last) for first, last in itertools.pairwise(edges)]
    summed = [sum_scores(TABLE, 9 + p.start, truth[p], answers[:, p], audible[p]) for p in parts]
    merged, whole = sum(summed, Sums.zero(TABLE, 2)), sum_scores(TABLE, 9, truth, answers, audible)
    assert whole.rows[0] == examples
    for name in ("over_all", "where_audible", "rows", "audible_rows"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), atol=1e-9)


def test_sum_scores_in_blocks_equals_one_block(monkeypatch):
    truth, answers, audible = both(50, 3)
    whole = sum_scores(TABLE, 0, truth, answers, audible)
    monkeypatch.setattr("synthray.evaluate.scores.BLOCK_ROWS", 16)
    np.testing.assert_allclose(sum_scores(TABLE, 0, truth, answers, audible).over_all, whole.over_all, atol=1e-9)


def test_a_parameter_that_is_never_heard_has_no_score_there_and_is_not_in_the_mean():
    truth, answers, audible = both(30, 5)
    audible[:, 2] = False
    sums = sum_scores(TABLE, 0, truth, answers, audible)
    shape, _, on = scores(TABLE, sums, 0)
    assert on.where_audible is None
    choices, ranges = mean_scores(TABLE, sums, 0)
    assert (choices.name, choices.kind, ranges.name, ranges.kind) == ("mean of 2", "choice", "mean of 1", "range")
    assert choices.where_audible == shape.where_audible
    assert choices.over_all.value == pytest.approx((shape.over_all.value + on.over_all.value) / 2)


def test_beats_compares_the_interval_with_the_value_of_chance():
    def score(kind, low, value, high):
        return Score("a", kind, Estimate(value, low, high, 9), Estimate(value, low, high, 9))

    assert score("choice", 0.55, 0.6, 0.65).beats(score("choice", 0.4, 0.5, 0.6))
    assert not score("choice", 0.45, 0.6, 0.75).beats(score("choice", 0.4, 0.5, 0.6))
    assert score("range", 0.1, 0.12, 0.15).beats(score("range", 0.1, 0.2, 0.3))
    assert not score("range", 0.1, 0.12, 0.25).beats(score("range", 0.1, 0.2, 0.3))
    unheard = Score("a", "range", Estimate(0.1, 0.1, 0.1, 9), None)
    assert not unheard.beats(unheard)


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
    truth, answers, audible = both(4, 0)
    with pytest.raises(DataError, match=r"labels \(4, 3\), answers \(2, 4, 2\)"):
        sum_scores(TABLE, 0, truth, answers[:, :, :2], audible)


def test_scores_of_no_examples_raises_data_error():
    with pytest.raises(DataError, match="there are no examples to score"):
        scores(TABLE, Sums.zero(TABLE, 1), 0)
