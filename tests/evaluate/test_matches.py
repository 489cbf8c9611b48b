"""Distances of answers against the same distances pair by pair, and the choice of examples to listen to."""

import numpy as np
import pytest

from synthray.evaluate.baselines import settings_of
from synthray.evaluate.examples import choose_examples
from synthray.evaluate.matches import Matches
from synthray.match.distances.table import DISTANCES, compare, describe
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

SOUNDS = 34  # more than are rendered together


@pytest.fixture(scope="module")
def matches():
    """Thirty-four sounds with two answers: a wrong one and the true one."""
    settings = settings_of(random_presets(0, 0, SOUNDS))
    answers = np.stack([np.roll(settings, 1, axis=0), settings])
    seeds, answer_seeds = noise_seeds(0, 0, SOUNDS), noise_seeds(1, 0, SOUNDS)
    return Matches.measure(np.arange(SOUNDS) + 5, settings, seeds, answer_seeds, answers, threads=1)


def test_measure_compares_originals_with_answers_that_have_other_noise(matches):
    rows = [0, 33]
    originals = render(matches.settings[rows], matches.noise_seeds[rows], threads=1)
    for number in range(2):
        answers = render(matches.answers[number, rows], matches.answer_noise_seeds[rows], threads=1)
        expected = compare(describe(originals), describe(answers))
        np.testing.assert_allclose(matches.distances[number, rows], expected, rtol=1e-5)
    assert matches.distances[1, :, 0].any()
    assert (matches.distances[1, :, 0] <= matches.distances[0, :, 0]).all()


def test_estimates_are_means_and_medians_by_name(matches):
    found = matches.estimates(0)
    assert list(found) == [distance.name for distance in DISTANCES]
    for column, estimate in enumerate(found.values()):
        values = matches.distances[0, :, column]
        assert (estimate.value, estimate.median, estimate.count) == pytest.approx(
            (values.mean(), np.median(values), SOUNDS)
        )
        assert estimate.low < estimate.value < estimate.high
    assert Matches.none(2).estimates(0) == {}


def test_choose_examples_takes_three_of_each_kind_by_mss_of_the_first_model(matches):
    examples = choose_examples(matches, ["first", "second"])
    assert [example.kind for example in examples] == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3 + ["random"] * 3
    assert len({example.row for example in examples}) == 12
    ranked = sorted(range(SOUNDS), key=lambda sound: matches.distances[0, sound, 0])
    expected = [*ranked[:3], *ranked[15:18], *ranked[:-4:-1]]
    assert [example.row - 5 for example in examples[:9]] == expected


def test_examples_hold_settings_audio_and_distances_of_each_model(matches):
    example = choose_examples(matches, ["first", "second"])[0]
    sound = example.row - 5
    np.testing.assert_array_equal(example.settings, matches.settings[sound])
    original = render(example.settings[None], matches.noise_seeds[[sound]], threads=1)[0]
    np.testing.assert_array_equal(example.audio, original)
    for number, answer in enumerate(example.answers):
        assert answer.model == ("first", "second")[number]
        np.testing.assert_array_equal(answer.settings, matches.answers[number, sound])
        measured = compare(describe(example.audio[None]), describe(answer.audio[None]))[0]
        np.testing.assert_allclose(list(answer.distances.values()), measured, rtol=1e-5)
    assert example.to_json() == {
        "kind": "best",
        "row": example.row,
        "distances": {answer.model: answer.distances for answer in example.answers},
    }


@pytest.mark.parametrize("sounds", [0, 1, 5])
def test_choose_examples_of_few_sounds_takes_each_once(matches, sounds):
    few = Matches(
        matches.rows[:sounds],
        matches.settings[:sounds],
        matches.noise_seeds[:sounds],
        matches.answer_noise_seeds[:sounds],
        matches.answers[:, :sounds],
        matches.distances[:, :sounds],
    )
    assert sorted(example.row - 5 for example in choose_examples(few, ["one"])) == list(range(sounds))
