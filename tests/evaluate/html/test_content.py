"""The report of an evaluation."""

import numpy as np
import pytest

from synthray.data.manifest import PRESETS, Manifest, Shard
from synthray.evaluate.html.content import report_data
from synthray.evaluate.html.page import render_report
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


def test_report_data_has_the_scores_and_distances_of_the_evaluation():
    found = evaluation(["m"], ["m, 1 s of search"])
    data = report_data(found)
    assert [model.name for model in data.models] == ["m", "m, 1 s of search"]
    assert [baseline.name for baseline in data.baselines] == list(BASELINES)
    assert [distance.name for distance in data.distances][:2] == ["MSS", "wMFCC"]
    assert data.models[0].distances["MSS"] == found.distances["m"]["mss"]
    pitch = next(score for score in data.models[0].scores if score.name == "oscillator_1_pitch")
    assert pitch.over_all.value == 0
    assert pitch.over_all.chance == 0  # chance has the same labels here
    assert data.models[1].scores == ()
    assert len(data.examples) == 12
    assert data.examples[0].answers[0].distances.keys() == data.models[0].distances.keys()


@pytest.mark.parametrize("count", [2, 4])
def test_report_of_many_models_has_as_many_examples_as_fit(count):
    names = [f"m{number}" for number in range(count)]
    data = report_data(evaluation(names, [f"{name}, 1 s of search" for name in names]))
    kinds = [example.kind for example in data.examples]
    assert {kinds.count(kind) for kind in ("best", "median", "worst", "random")} == {2 if count == 2 else 1}
    assert len(render_report(data).encode()) < MAX_BYTES
