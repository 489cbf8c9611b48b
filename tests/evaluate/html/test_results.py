"""The rows of the report of a real evaluation."""

import numpy as np
import pytest

from synthray.data.manifest import PRESETS, Manifest, Shard
from synthray.evaluate.html.page import render_report
from synthray.evaluate.html.results import results_of
from synthray.evaluate.html.size import MAX_BYTES
from synthray.evaluate.matches import Matches
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import Evaluation
from synthray.evaluate.scores import sum_scores
from synthray.synth.features import FEATURE_SHAPE
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets

SOUNDS = 14
MANIFEST = Manifest(INSTRUMENT, FEATURE_SHAPE, "float32", {}, (Shard("0", SOUNDS, 1, "0"),), {}, content=PRESETS)


def evaluation(models: list[str], refined: list[str]) -> Evaluation:
    """Return an evaluation in which each answer is another random preset."""
    labels, seeds = random_presets(0, 0, SOUNDS), noise_seeds(0, 0, SOUNDS)
    sums = sum_scores(INSTRUMENT, 0, labels, np.stack([labels] * (len(models) + 1)), np.ones(labels.shape, bool))
    settings = INSTRUMENT.labels_to_settings(labels)
    answers = np.stack([np.roll(settings, 1 + n, 0) for n in range(len(models) + len(refined) + len(BASELINES))])
    matches = Matches.measure(np.arange(SOUNDS), settings, seeds, seeds, answers, threads=1)
    return Evaluation.make({m: f"/{m}.keras" for m in models}, refined, "/data", MANIFEST, "all", sums, matches)


def test_results_are_models_searches_and_baselines():
    found = evaluation(["m"], ["m, 1 s of search"])
    results = results_of(found)
    assert [result.name for result in results] == ["m", "m, 1 s of search", *BASELINES]
    assert [result.series for result in results] == [0, 1, *[None] * len(BASELINES)]
    assert [result.uri for result in results[:3]] == ["/m.keras", "", ""]
    assert results[0].distances == found.distances["m"]
    pitch = next(score for score in results[0].scores if score.name == "oscillator_1_pitch")
    assert pitch.over_all.value == 0
    assert pitch.over_all.chance == 0  # chance has the same labels here
    assert results[1].scores == ()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_report_of_many_models_has_as_many_examples_as_fit(count):
    names = [f"m{number}" for number in range(count)]
    page = render_report(evaluation(names, [f"{name}, 1 s of search" for name in names]))
    shown = [page.count(f": {kind}<") for kind in ("best match", "median match", "worst match", "a random sound")]
    assert shown == [2 if count == 2 else 1] * 4
    assert len(page.encode()) < MAX_BYTES
