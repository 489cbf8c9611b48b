"""Selection of the examples to score, and checks of model against data set."""

import pytest

from synthray.data.manifest import Manifest, Shard
from synthray.errors import ModelError
from synthray.evaluate.examples import Part, check_fits, choose_rows, cut
from synthray.synth.parameters import Choice, ParameterTable, Range
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
