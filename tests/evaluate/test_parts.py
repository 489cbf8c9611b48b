"""Selection of the examples to score, and checks of model against data set."""

from types import SimpleNamespace

import numpy as np
import pytest

from synthray.data.manifest import Manifest, Shard
from synthray.errors import ModelError
from synthray.evaluate.examples import Part, check_fits, choose_rows, cut, score_part
from synthray.synth.features import FEATURE_SHAPE
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range
from synthray.synth.presets import random_labels
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card


def manifest(table=FOREIGN, shape=FOREIGN_SHAPE, rows=(10, 4, 7)):
    shards = tuple(Shard(f"{number}.parquet", count, 1, "0") for number, count in enumerate(rows))
    return Manifest(table, shape, "float32", {"kind": "test"}, shards, {})


def card(digest, first=14, count=7):
    return build_card(FOREIGN, FOREIGN_SHAPE, dataset={"digest": digest, "holdout": {"first": first, "count": count}})


def test_choose_rows_takes_the_holdout_only_for_the_same_data_set():
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
def test_cut_returns_one_part_per_shard_without_empty_ones(first, last, parts):
    assert cut(manifest(), first, last) == parts


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (manifest(shape=(5, 8)), r"takes features \(5, 7\), the data set has \(5, 8\)"),
        (manifest(ParameterTable(FOREIGN.parameters[:-1])), "'lfo_shape' is in only one of them"),
        (manifest(ParameterTable((*FOREIGN.parameters, Range("more")))), "'more' is in only one of them"),
        (
            manifest(ParameterTable((*FOREIGN.parameters[:-1], Choice("lfo_shape", ("a", "b", "c"))))),
            "their values, ranges or order differ",
        ),
    ],
)
def test_check_fits_refuses_other_parameters_and_shapes(data, message):
    with pytest.raises(ModelError, match=message):
        check_fits(card("x"), data)
    check_fits(card("x"), manifest())


def test_score_part_clips_ranges_but_not_choices_before_rendering(monkeypatch):
    truth = random_labels(INSTRUMENT, 0, 0, 4).astype(np.float32)
    is_range = [isinstance(parameter, Range) for parameter in INSTRUMENT.learned]
    predicted = np.where(is_range, np.float32(1.5), truth)
    examples = SimpleNamespace(features=np.zeros((4, *FEATURE_SHAPE), np.float32), labels=truth)
    dataset = SimpleNamespace(manifest=SimpleNamespace(table=INSTRUMENT), read_shard=lambda shard: examples)
    predictor = SimpleNamespace(
        card=build_card(INSTRUMENT, FEATURE_SHAPE), labels=lambda features, clip: predicted[-len(features) :]
    )
    monkeypatch.setattr(
        "synthray.evaluate.examples.measure_distances", lambda features, settings, threads: settings.tolist()
    )
    sums, settings = score_part(predictor, dataset, Part(0, 1, 4), truth[0])
    assert sums.rows == 3
    clipped = np.where(is_range, np.float32(1.0), truth)
    assert settings == INSTRUMENT.labels_to_settings(clipped[1:]).tolist()
