"""The report as text and as JSON."""

import json

from synthray.evaluate.report import Evaluation
from synthray.evaluate.scores import Score

SCORES = (Score("shape", "choice", 0.75, 0.5), Score("cutoff", "range", 0.25, 0.125), Score("on", "choice", 0.25, 0.5))


def evaluation(**changes):
    values = {"model": "model_9_20", "data": "/data/a", "data_digest": "abc", "examples": "holdout", "rows": 32}
    return Evaluation(**{**values, "scores": SCORES, **changes})


def test_to_text_is_an_aligned_table_that_ends_with_the_means():
    assert evaluation().to_text().splitlines() == [
        "model_9_20 on 32 examples of /data/a (not used for training)",
        "",
        "parameter  measure   model  baseline",
        "shape      accuracy  0.750     0.500  better",
        "cutoff     error     0.250     0.125  -",
        "on         accuracy  0.250     0.500  -",
        "",
        "mean of 2  accuracy  0.500     0.500  -",
        "mean of 1  error     0.250     0.125  -",
    ]


def test_to_json_holds_scores_means_and_distance():
    body = json.loads(json.dumps(evaluation(distance={"predicted_db": 1.0, "random_db": 2.0, "sounds": 3}).to_json()))
    assert body["data"] == {"uri": "/data/a", "digest": "abc", "examples": "holdout", "rows": 32}
    assert body["mean"] == {"choice": {"value": 0.5, "baseline": 0.5}, "range": {"value": 0.25, "baseline": 0.125}}
    assert body["parameters"][0] == {
        "name": "shape", "kind": "choice", "value": 0.75, "baseline": 0.5, "measure": "accuracy", "better": True,
    }  # fmt: skip
    assert body["distance"]["random_db"] == 2.0


def test_to_json_without_choices_has_no_mean_of_choices():
    assert list(evaluation(scores=SCORES[1:2]).to_json()["mean"]) == ["range"]


def test_to_text_of_all_examples_says_so():
    assert "(all examples, possibly used for training)" in evaluation(examples="all").to_text()


def test_to_text_ends_with_the_distance():
    text = evaluation(distance={"predicted_db": 1.0, "random_db": 2.5, "sounds": 3}).to_text()
    assert text.splitlines()[-2:] == [
        "",
        "log-spectral distance: 1.00 dB for predicted presets, 2.50 dB for random presets (3 sounds)",
    ]
