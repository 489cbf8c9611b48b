"""Inconsistent contents, which a report refuses."""

from dataclasses import replace

import numpy as np
import pytest

from synthray.errors import DataError
from synthray.evaluate.bootstrap import Estimate
from tests.evaluate.html.samples import LEARNED, answer, example, model, report, sine


def test_estimate_with_a_value_that_is_no_number_raises():
    with pytest.raises(DataError, match="nan"):
        Estimate(np.nan, 0.0, 1.0, 5)


def test_estimate_with_a_reversed_interval_raises():
    with pytest.raises(DataError, match=r"1\.0 to 0\.0"):
        Estimate(0.5, 1.0, 0.0, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "no models"),
        ({"models": (model("a"), model("a"))}, "2 models with the name 'a'"),
        ({"distances": ()}, "the distances of 'a': 'MSS' is unknown"),
    ],
)
def test_report_of_inconsistent_models_raises(changes, message):
    with pytest.raises(DataError, match=message):
        report(["a"], **changes)


GOOD = answer("a", sine(440))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (example(sine(440)[:-1], GOOD), r"example 0: the audio has shape \(22049,\)"),
        (example(sine(440), GOOD, kind="nice"), "example 0: the kind is 'nice'"),
        (example(sine(440), replace(GOOD, model="b")), "example 0, answer of 'b': 'b' is unknown. Known are: a"),
        (example(sine(440), replace(GOOD, audio=np.full(22050, np.inf))), "answer of 'a': the audio"),
        (example(sine(440), replace(GOOD, settings=np.zeros(3))), r"the settings have shape \(3,\), expected \(46,\)"),
        (example(sine(440), replace(GOOD, audible=np.ones(46, bool))), rf"shape \(46,\), expected \({LEARNED},\)"),
        (example(sine(440), replace(GOOD, distances={"SOT": 1.0})), "'SOT' is unknown"),
    ],
)
def test_report_of_an_inconsistent_example_raises(bad, message):
    with pytest.raises(DataError, match=message):
        report(["a"], (bad,))
