"""The evaluation as JSON and as text."""

import json

import numpy as np
import pytest

from synthray.data.manifest import PRESETS, Manifest, Shard
from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.matches import Matches
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import RENDERED_AGAIN, Evaluation, Scores, distinct_names
from synthray.evaluate.scores import Score, sum_scores
from synthray.evaluate.text import to_text
from synthray.match.distances.table import DISTANCES
from synthray.synth.features import FEATURE_SHAPE
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.priors import random_presets
from tests.names import NAMES


def estimate(value, count=32, half_width=0.05):
    return Estimate(value, value - half_width, value + half_width, count)


def score(name, kind, over_all, where_audible, audible_rows=24):
    heard = None if where_audible is None else estimate(where_audible, audible_rows)
    return Score(name, kind, estimate(over_all), heard)


MODEL = Scores(
    (score("shape", "choice", 0.7, 0.75), score("cutoff", "range", 0.25, 0.2), score("on", "choice", 0.25, None)),
    (score("mean of 2", "choice", 0.5, 0.75), score("mean of 1", "range", 0.25, 0.2)),
)
CHANCE = Scores(
    (score("shape", "choice", 0.5, 0.5), score("cutoff", "range", 0.22, 0.22), score("on", "choice", 0.5, None)),
    (score("mean of 2", "choice", 0.5, 0.5), score("mean of 1", "range", 0.22, 0.22)),
)


def evaluation(**changes):
    values = {
        "models": {"model_9_20": "/models/model_9_20.keras"},
        "data": "/data/a",
        "data_digest": "abc",
        "examples": "holdout",
        "rows": 32,
        "scores": {"model_9_20": MODEL, "chance": CHANCE},
        "knows_audible": True,
    }
    return Evaluation(**{**values, **changes})


def distances(*answers):
    return {
        answer: {distance.name: estimate(number + 0.25) for distance in DISTANCES}
        for number, answer in enumerate(answers)
    }


def test_to_text_is_an_aligned_table_of_audible_parameters_that_ends_with_the_means():
    assert to_text(evaluation()).splitlines() == [
        "model_9_20 on 32 examples of /data/a (not used for training)",
        "",
        "parameter              measure   audible  model_9_20   chance",
        "shape                  accuracy      75%       0.750*   0.500",
        "cutoff                 error         75%       0.200    0.220",
        "on                     accuracy       0%           -        -",
        "",
        "mean of 2              accuracy      75%       0.750*   0.500",
        "mean of 1              error         75%       0.200    0.220",
        "mean of 2, all sounds  accuracy                0.500    0.500",
        "mean of 1, all sounds  error                   0.250    0.220",
        "",
        "scores of the sounds in which a parameter can be heard; * better than chance (95 % interval)",
    ]


def test_to_text_of_a_foreign_table_knows_nothing_of_audibility():
    heard = Scores(MODEL.parameters[:1], MODEL.means[:1])
    chance = Scores(CHANCE.parameters[:1], CHANCE.means[:1])
    scored = {"old": heard, "new": heard, "chance": chance}
    text = to_text(evaluation(models={"old": "/a", "new": "/b"}, scores=scored, knows_audible=False, examples="all"))
    assert text.splitlines() == [
        "old, new on 32 examples of /data/a (all examples, possibly used for training)",
        "",
        "parameter  measure     old     new   chance",
        "shape      accuracy  0.750*  0.750*   0.500",
        "",
        "mean of 2  accuracy  0.750*  0.750*   0.500",
        "",
        "* better than chance (95 % interval)",
    ]


def test_to_text_ends_with_the_distances():
    found = evaluation(sounds=3, distances=distances("model_9_20", "random preset"), originals=RENDERED_AGAIN)
    assert to_text(found).splitlines()[-5:] == [
        "mean of 3 sounds  MSS, dB  wMFCC  wMFCC without c0    SOT  RMS similarity  log-spectral, dB",
        "model_9_20          0.250  0.250             0.250  0.250           0.250             0.250",
        "random preset        1.25   1.25              1.25   1.25            1.25              1.25",
        "",
        "The data set does not store its noise: originals are rendered again from their presets with noise seed 0.",
    ]


def test_to_text_has_one_printable_line_for_any_name():
    scored = Scores(tuple(score(name, "range", 0.25, None) for name in NAMES), MODEL.means)
    found = evaluation(scores={"model_9_20": scored, "chance": scored}, knows_audible=False)
    lines = to_text(found).splitlines()
    assert all(line.isprintable() for line in lines)
    first = lines.index(next(line for line in lines if line.startswith("parameter ")))
    rows = lines[first + 1 : first + 1 + len(NAMES)]
    assert len(set(rows)) == len(NAMES)
    assert rows[NAMES.index("a\tb\nc")].startswith(r"a\tb\nc ")


def test_to_json_has_the_true_names():
    scored = Scores(tuple(score(name, "range", 0.25, None) for name in NAMES), MODEL.means)
    found = evaluation(scores={"model_9_20": scored, "chance": scored})
    body = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert tuple(row["name"] for row in body["parameters"]) == NAMES


def test_to_json_holds_scores_means_and_distances():
    found = evaluation(sounds=3, distances=distances("model_9_20", *BASELINES))
    body = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert body["format"] == "synthray-evaluation/2"
    assert body["models"] == [{"name": "model_9_20", "uri": "/models/model_9_20.keras"}]
    assert body["data"] == {"uri": "/data/a", "digest": "abc", "examples": "holdout", "rows": 32}
    assert [row["name"] for row in body["parameters"]] == ["shape", "cutoff", "on"]
    shape, _, on = body["parameters"]
    assert (shape["kind"], shape["measure"], shape["better"]) == ("choice", "accuracy", "higher")
    assert shape["scores"]["model_9_20"] == {
        "all": {"value": 0.7, "low": pytest.approx(0.65), "high": 0.75, "count": 32},
        "audible": {"value": 0.75, "low": 0.7, "high": pytest.approx(0.8), "count": 24},
    }
    assert on["scores"]["chance"]["audible"] is None
    assert [(row["name"], row["better"]) for row in body["mean"]] == [("mean of 2", "higher"), ("mean of 1", "lower")]
    assert body["distances"]["sounds"] == 3
    assert body["distances"]["measures"][4] == {
        "name": "rms", "title": "RMS similarity", "unit": "", "better": "higher",
    }  # fmt: skip
    assert list(body["distances"]["answers"]) == ["model_9_20", *BASELINES]
    assert body["distances"]["answers"]["random preset"]["sot"]["value"] == 2.25


def test_to_json_without_audibility_or_sounds_leaves_both_out():
    body = evaluation(knows_audible=False).to_json()
    assert list(body["parameters"][0]["scores"]["model_9_20"]) == ["all"]
    assert not body.keys() & {"distances", "examples"}


@pytest.mark.parametrize("sounds", [0, 2])
def test_make_names_models_chance_and_baselines(sounds):
    labels = random_presets(0, 0, 4)
    sums = sum_scores(INSTRUMENT, 0, labels, np.stack([labels, labels + 1]), np.ones(labels.shape, bool))
    settings = INSTRUMENT.labels_to_settings(labels)[:sounds]
    seeds = np.zeros(sounds, np.uint64)
    answers = np.stack([settings] * (1 + len(BASELINES)))
    matches = Matches.measure(np.arange(sounds), settings, seeds, seeds, answers, threads=1)
    manifest = Manifest(INSTRUMENT, FEATURE_SHAPE, "float32", {}, (Shard("0", 4, 1, "0"),), {}, content=PRESETS)
    found = Evaluation.make({"m": "/m.keras"}, [], "/data", manifest, "all", sums, matches)
    assert list(found.scores) == ["m", "chance"]
    assert found.scores["m"].means[0].over_all.value == 1
    assert (found.rows, found.sounds, found.originals, len(found.listen)) == (4, sounds, "as generated", sounds)
    assert list(found.distances or {}) == (["m", *BASELINES] if sounds else [])
    assert json.dumps(found.to_json(), allow_nan=False)
    assert to_text(found)


@pytest.mark.parametrize(
    ("uris", "names"),
    [
        (["/a/model_9_20.keras"], ["model_9_20"]),
        (["/a/model_1_1.keras", "/a/model_9_20.keras"], ["model_1_1", "model_9_20"]),
        (["/x/a/model_9_20.keras", "s3://b/model_9_20.keras"], ["a/model_9_20", "b/model_9_20"]),
    ],
)
def test_distinct_names_are_as_short_as_possible(uris, names):
    assert distinct_names(uris) == names
