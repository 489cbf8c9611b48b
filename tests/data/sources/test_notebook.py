"""The notebook's layout, read from others and written by us."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from synthray.data.examples import columns_from_labels
from synthray.data.sources.notebook import NotebookSource, encode_features, keys_and_parts, table_from_parts
from synthray.errors import BadBatch, DataError, NotFound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable
from tests import foreign


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


def test_a_foreign_data_set_is_read_as_it_is(source: Path) -> None:
    opened = NotebookSource.open(str(source))
    assert [p.name for p in opened.table.learned] == ["1_osc_wave", "1_osc_pitch", "lp_2_cut", "env_0"]
    assert opened.table.choices[0].values == ("a", "b", "3", "None", "5.5")
    assert opened.batches == tuple(range(foreign.BATCHES))
    for number in opened.batches:
        features, columns = foreign.batch(number)
        batch = opened.read(number)
        np.testing.assert_array_equal(batch.features, features)
        np.testing.assert_array_equal(batch.labels[:, 0], columns[1].argmax(axis=1))
        np.testing.assert_array_equal(batch.labels[:, 2], columns[3][:, 0])
    assert len(batch) == 11


def test_our_own_table_survives_the_layout() -> None:
    keys, parts = keys_and_parts(INSTRUMENT)
    assert table_from_parts(pickle.loads(pickle.dumps(keys)), parts) == INSTRUMENT
    # the notebook's own loop over the keys
    names = []
    for key_path in keys:
        name = ""
        for j in range(len(key_path)):
            name = name + str(key_path[j])
            if j != len(key_path) - 1:
                name = name + "_"
        names.append(name)
    assert names == [parameter.name for parameter in INSTRUMENT.parameters]


def test_labels_and_columns_are_inverse() -> None:
    random = np.random.default_rng(0)
    labels = np.stack(
        [
            random.integers(p.num_outputs, size=9) if p.kind == "choice" else random.random(9).astype(np.float32)
            for p in INSTRUMENT.learned
        ],
        axis=1,
    )
    from synthray.data.examples import labels_from_columns

    columns = columns_from_labels(labels, INSTRUMENT)
    assert len(columns) == 46
    assert columns[0] == "constant"
    assert columns[9].shape == (9,)
    assert columns[10].shape == (9, 3)
    np.testing.assert_array_equal(labels_from_columns(columns, INSTRUMENT, 9, "x"), labels)


def spoil_parameters(folder: Path, number: int, change: object) -> None:
    path = folder / "parameters" / f"parameter_batches_{number}.pkl"
    columns = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(change(columns)))


def with_column(place: int, value: object) -> object:
    return lambda columns: [*columns[:place], value, *columns[place + 1 :]]


def spoil_features(folder: Path, change: object) -> None:
    path = folder / "fft" / "fft_batch_3.npy"
    np.save(path, change(np.load(path)))


def put(place: tuple[int, ...], value: float) -> object:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[place] = value
        return array

    return change


SPOILT = {
    "truncated features": (
        lambda f: (f / "fft/fft_batch_3.npy").write_bytes((f / "fft/fft_batch_3.npy").read_bytes()[:-8]),
        "fft/fft_batch_3.npy: it is truncated or too long",
    ),
    "an empty file": (lambda f: (f / "fft/fft_batch_3.npy").write_bytes(b""), "not a whole .npy file"),
    "no array": (lambda f: (f / "fft/fft_batch_3.npy").write_bytes(b"hello there"), "not a whole .npy file"),
    "a reserve_output of a petabyte": (
        lambda f: (f / "fft/fft_batch_3.npy").write_bytes(
            encode_features(np.zeros((32, 12, 33))).replace(b"(32, 12, 33)", b"(9999,99,99)")
        ),
        "truncated or too long: 101376 bytes of data instead of",
    ),
    "a damaged header": (
        lambda f: (f / "fft/fft_batch_3.npy").write_bytes(
            encode_features(np.zeros((32, 12, 33))).replace(b"'shape': (", b"'shape': ]")
        ),
        "not a whole .npy file",
    ),
    "a negative shape": (
        lambda f: (f / "fft/fft_batch_3.npy").write_bytes(
            encode_features(np.zeros((32, 12, 33))).replace(b"(32, 12, 33)", b"(-32,-12,33)")
        ),
        "not numbers of",
    ),
    "a huge number": (lambda f: spoil_parameters(f, 3, with_column(2, [10**400] * 32)), "is not an array of numbers"),
    "NaN in features": (
        lambda f: spoil_features(f, put((4, 5, 6), np.nan)),
        r"the value at \(4, 5, 6\) \(example, frame, bin\) is nan",
    ),
    "an infinite value": (
        lambda f: spoil_features(f, put((31, 2, 9), -np.inf)),
        r"the value at \(31, 2, 9\) \(example, frame, bin\) is -inf",
    ),
    "features of two axes": (lambda f: spoil_features(f, lambda a: a[0]), "not numbers of"),
    "text features": (lambda f: spoil_features(f, lambda a: a.astype("U3")), "not numbers of"),
    "missing features": (
        lambda f: (f / "fft/fft_batch_3.npy").unlink(),
        "fft/fft_batch_3.npy: it is missing, parameters/parameter_batches_3.pkl is there",
    ),
    "missing parameters": (
        lambda f: (f / "parameters/parameter_batches_3.pkl").unlink(),
        "parameters/parameter_batches_3.pkl: it is missing, fft/fft_batch_3.npy is there",
    ),
    "a truncated pickle": (
        lambda f: (f / "parameters/parameter_batches_3.pkl").write_bytes(pickle.dumps([1, 2])[:-3]),
        "not a whole pickle",
    ),
    "a pickle that calls": (
        lambda f: (f / "parameters/parameter_batches_3.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR."),
        r"it wants to call os\.system",
    ),
    "no list": (lambda f: spoil_parameters(f, 3, lambda _: {"a": 1}), "a dict instead of a list"),
    "too few parameters": (lambda f: spoil_parameters(f, 3, lambda c: c[:-1]), "4 parameters, keys.pkl names 5"),
    "too few examples": (
        lambda f: spoil_parameters(f, 3, with_column(2, np.zeros(31))),
        r"parameter 2 \(1_osc_pitch\) has the shape \(31,\), not \(32,\)",
    ),
    "NaN in a range": (
        lambda f: spoil_parameters(f, 3, with_column(2, put((7,), np.nan)(np.zeros(32)))),
        r"parameter 2 \(1_osc_pitch\), example 7: the value is nan",
    ),
    "a range beyond float32": (
        lambda f: spoil_parameters(f, 3, with_column(2, put((7,), -1e39)(np.zeros(32)))),
        r"parameter 2 \(1_osc_pitch\), example 7: the value is -1e\+39, not a number of float32",
    ),
    "not one-hot": (
        lambda f: spoil_parameters(f, 3, with_column(1, put((9, 1), 1)(np.eye(5)[np.zeros(32, int)]))),
        r"parameter 1 \(1_osc_wave\), example 9: .* is not one-hot",
    ),
    "another class count": (
        lambda f: spoil_parameters(f, 3, with_column(1, np.eye(4)[np.zeros(32, int)])),
        r"has the shape \(32, 4\), not \(32, 5\)",
    ),
    "a constant that is learned": (
        lambda f: spoil_parameters(f, 3, with_column(2, "constant")),
        r"parameter 2 \(1_osc_pitch\) is 'constant', but",
    ),
    "a learned one that is constant": (
        lambda f: spoil_parameters(f, 3, with_column(0, np.zeros(32))),
        r"parameter 0 \(global_volume\) should be 'constant'",
    ),
    "words": (lambda f: spoil_parameters(f, 3, with_column(2, ["a"] * 32)), "is not an array of numbers"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_bad_batch_is_named_with_its_reason(what: str, source: Path) -> None:
    spoil, message = SPOILT[what]
    spoil(source)
    opened = NotebookSource.open(str(source))
    assert 3 in opened.batches
    with pytest.raises(BadBatch, match=message):
        opened.read(3)
    opened.read(2)


@pytest.mark.parametrize("value", [1e20, 3e38, 1e300, -1e300])
def test_large_values_are_no_bad_ones(value: float, source: Path) -> None:
    spoil_features(source, put((4, 5, 6), value))
    batch = NotebookSource.open(str(source)).read(3)
    assert batch.features[4, 5, 6] == value
    assert batch.loudness_dbfs[4] == np.inf
    assert np.isfinite(np.delete(batch.loudness_dbfs, 4)).all()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_features_are_read_in_any_version_and_order(version: tuple[int, int], order: str, source: Path) -> None:
    path = source / "fft" / "fft_batch_3.npy"
    features = np.load(path)
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(features, order=order), version)
    np.testing.assert_array_equal(NotebookSource.open(str(source)).read(3).features, features)


GENERAL = {
    "no keys": (lambda f: (f / "keys.pkl").unlink(), NotFound, "not a directory in the notebook's layout"),
    "keys of another count": (
        lambda f: (f / "keys.pkl").write_bytes(pickle.dumps(foreign.KEYS[:-1])),
        DataError,
        "names 4 parameters, randomizer_parts.pkl has 5",
    ),
    "an unknown kind": (
        lambda f: (f / "randomizer_parts.pkl").write_bytes(pickle.dumps([{"random_type": "odd"}] * 5)),
        DataError,
        r"parameter 0 \(global_volume\): random_type is 'odd'",
    ),
    "a choice between letters": (
        lambda f: (f / "randomizer_parts.pkl").write_bytes(
            pickle.dumps([{"random_type": "choice", "random_values": "sine"}] * 5)
        ),
        DataError,
        r"parameter 0 \(global_volume\): .*random_values is no list",
    ),
    "a key too long to be spelt": (
        lambda f: (f / "keys.pkl").write_bytes(pickle.dumps([[9**6000]] * 5)),
        DataError,
        r"keys\.pkl, parameter 0: its keys are no name",
    ),
    "a choice that says nothing more": (
        lambda f: (f / "randomizer_parts.pkl").write_bytes(pickle.dumps([{"random_type": "choice"}] * 5)),
        DataError,
        "random_values",
    ),
    "two of one name": (
        lambda f: (f / "keys.pkl").write_bytes(pickle.dumps([["a"]] * 5)),
        DataError,
        "the name 'a' appears twice",
    ),
    "nothing to learn": (
        lambda f: (f / "randomizer_parts.pkl").write_bytes(pickle.dumps([{"random_type": "constant"}] * 5)),
        DataError,
        "nothing to learn",
    ),
    "no batches": (
        lambda f: [path.unlink() for path in (*f.glob("fft/*"), *f.glob("parameters/*"))],
        NotFound,
        "nor any other batch",
    ),
}


@pytest.mark.parametrize("what", GENERAL)
def test_general_files_that_cannot_be_used_are_told(what: str, source: Path) -> None:
    spoil, kind, message = GENERAL[what]
    spoil(source)
    with pytest.raises(kind, match=message):
        NotebookSource.open(str(source))


@pytest.mark.parametrize("name", ["fft/fft_batch_03.npy", "parameters/parameter_batches_3 (copy).pkl"])
def test_a_batch_of_another_spelling_is_not_left_out_without_a_word(name: str, source: Path) -> None:
    (source / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"is not named as the notebook names batches.*rename or remove it"):
        NotebookSource.open(str(source))


def test_numbers_of_numpy_are_numbers_and_what_is_constant_may_be_anything() -> None:
    parts = [
        {"random_type": "range", "minimum": np.float32(20), "maximum": np.int64(2000), "unit": np.str_("Hz")},
        {"random_type": "constant", "value": np.float32(0.5)},
        {"random_type": "constant", "value": np.zeros(2)},
        {"random_type": "constant", "value": b"raw"},
    ]
    table = table_from_parts([["a"], ["b"], ["c"], ["d"]], parts)
    frequency, level, *others = ParameterTable.from_json(json.loads(json.dumps(table.to_json()))).parameters
    assert (frequency.minimum, frequency.maximum, frequency.unit, level.value) == (20.0, 2000.0, "Hz", 0.5)
    assert [constant.value for constant in others] == ["array([0., 0.])", "b'raw'"]


def test_a_choice_between_lists_has_as_many_classes_as_lists() -> None:
    parts = [{"random_type": "choice", "random_values": [[0, 1], [2, 3]]}, {"random_type": "range"}]
    table = table_from_parts([["pair"], ["level"]], parts)
    assert table.choices[0].values == ("[0, 1]", "[2, 3]")


def test_gaps_and_other_files_do_not_matter(source: Path) -> None:
    for folder, name in (("fft", "fft_batch_1.npy"), ("parameters", "parameter_batches_1.pkl")):
        (source / folder / name).unlink()
        (source / folder / f"{name}.bak").write_bytes(b"x")
        (source / folder / f"old_{name}").write_bytes(b"x")
    assert NotebookSource.open(str(source)).batches == (0, 2, 3, 4, 5, 6)
