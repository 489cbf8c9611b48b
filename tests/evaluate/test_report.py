"""The report as a person and as a program reads it, and which examples it is about."""

import json

import numpy as np
import pytest

from synthray.data.manifest import Manifest, Shard
from synthray.errors import ModelError
from synthray.evaluate.examples import Part, check_fits, choose_rows, cut
from synthray.evaluate.report import Evaluation
from synthray.evaluate.scores import Score
from synthray.match.distance import Distances, log_spectral_distance_db
from synthray.synth.parameters import Choice, ParameterTable, Range
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card

SCORES = (
    Score("shape", "choice", 0.75, 0.5),
    Score("cutoff", "range", 0.25, 0.125),
    Score("on", "choice", 0.25, 0.5),
)


def evaluation(**changes):
    values = {"model": "model_9_20", "data": "/data/a", "data_digest": "abc", "examples": "holdout", "rows": 32}
    return Evaluation(**{**values, "scores": SCORES, **changes})


def test_the_table_is_aligned_and_ends_with_the_means():
    assert evaluation().to_text().splitlines() == [
        "model_9_20 on 32 examples of /data/a that it was not trained on",
        "",
        "parameter  measure   model  baseline",
        "shape      accuracy  0.750     0.500  better",
        "cutoff     error     0.250     0.125  -",
        "on         accuracy  0.250     0.500  -",
        "",
        "mean of 2  accuracy  0.500     0.500  -",
        "mean of 1  error     0.250     0.125  -",
    ]


def test_the_json_holds_the_same():
    body = json.loads(json.dumps(evaluation(distance={"predicted_db": 1.0, "random_db": 2.0, "sounds": 3}).to_json()))
    assert body["data"] == {"uri": "/data/a", "digest": "abc", "examples": "holdout", "rows": 32}
    assert body["mean"] == {
        "choice": {"value": 0.5, "baseline": 0.5},
        "range": {"value": 0.25, "baseline": 0.125},
    }
    assert body["parameters"][0] == {
        "name": "shape", "kind": "choice", "value": 0.75, "baseline": 0.5, "measure": "accuracy", "better": True,
    }  # fmt: skip
    assert body["distance"]["random_db"] == 2.0


def test_without_choices_there_is_no_mean_of_them():
    assert list(evaluation(scores=SCORES[1:2]).to_json()["mean"]) == ["range"]
    assert "(all; it may have been trained on some of them)" in evaluation(examples="all").to_text()


def manifest(table=FOREIGN, shape=FOREIGN_SHAPE, rows=(10, 4, 7)):
    shards = tuple(Shard(f"{number}.parquet", count, 1, "0") for number, count in enumerate(rows))
    return Manifest(table, shape, "float32", {"kind": "test"}, shards, {})


def card(digest, first=14, count=7):
    return build_card(FOREIGN, FOREIGN_SHAPE, dataset={"digest": digest, "holdout": {"first": first, "count": count}})


def test_only_the_holdout_of_the_same_data_set_is_scored():
    data = manifest()
    assert choose_rows(card(data.digest), data) == ("holdout", 14, 21)
    assert choose_rows(card("another"), data) == ("all", 0, 21)
    assert choose_rows(card(data.digest, 21, 0), data) == ("all", 0, 21)
    assert choose_rows(build_card(FOREIGN, FOREIGN_SHAPE), data) == ("all", 0, 21)


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        (0, 21, [Part(0, 0, 10), Part(1, 0, 4), Part(2, 0, 7)]),
        (14, 21, [Part(2, 0, 7)]),
        (9, 15, [Part(0, 9, 10), Part(1, 0, 4), Part(2, 0, 1)]),
        (10, 10, []),
    ],
)
def test_rows_are_cut_along_the_shards(first, last, parts):
    assert cut(manifest(), first, last) == parts


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (manifest(shape=(5, 8)), r"takes features \(5, 7\), the data set has \(5, 8\)"),
        (manifest(ParameterTable(FOREIGN.parameters[:-1])), "'lfo_shape' is in one of them only"),
        (manifest(ParameterTable((*FOREIGN.parameters, Range("more")))), "'more' is in one of them only"),
        (
            manifest(ParameterTable((*FOREIGN.parameters[:-1], Choice("lfo_shape", ("a", "b", "c"))))),
            "they have other values, ranges or order",
        ),
    ],
)
def test_a_model_of_other_parameters_is_refused(data, message):
    with pytest.raises(ModelError, match=message):
        check_fits(card("x"), data)
    check_fits(card("x"), manifest())


def test_distances_are_those_of_the_oracle():
    random = np.random.default_rng(0)
    one, other = (random.gamma(0.5, 20, (3, 4, 6)).astype(np.float32) for _ in range(2))
    one[0, 0, 0] = 0
    expected = []
    for sound in range(3):
        frames = []
        for frame in range(4):
            squares = []
            for a, b in zip(one[sound, frame].tolist(), other[sound, frame].tolist(), strict=True):
                floor = 551 / 10_000
                squares.append((20 * np.log10(max(a, floor)) - 20 * np.log10(max(b, floor))) ** 2)
            frames.append((sum(squares) / 6) ** 0.5)
        expected.append(sum(frames) / 4)
    np.testing.assert_allclose(log_spectral_distance_db(one, other), expected, rtol=1e-6)
    assert log_spectral_distance_db(one, one).tolist() == [0, 0, 0]
    assert log_spectral_distance_db(one * 10, one * 100)[1] < 20.001


def test_distances_add_up_to_their_mean():
    together = Distances(2, 10.0, 30.0) + Distances() + Distances(1, 5.0, 6.0)
    found = together.to_json()
    assert (found["sounds"], found["predicted_db"], found["random_db"]) == (3, 5.0, 12.0)
    assert Distances().to_json() is None
