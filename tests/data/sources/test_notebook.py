"""The batch layout: foreign directories are read, and tables and labels survive a round trip."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from synthray.data.examples import columns_from_labels, labels_from_columns
from synthray.data.sources.features_file import encode_features
from synthray.data.sources.notebook import NotebookSource
from synthray.data.sources.notebook_table import KEYS, PARTS, keys_and_parts, table_from_parts
from synthray.errors import BadBatch, DataError, NotFound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable
from tests import foreign

FEATURES, PARAMETERS = "fft/fft_batch_3.npy", "parameters/parameter_batches_3.pkl"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


def test_notebook_source_foreign_directory_is_read(source: Path) -> None:
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


def test_keys_and_parts_round_trip() -> None:
    keys, parts = keys_and_parts(INSTRUMENT)
    assert table_from_parts(pickle.loads(pickle.dumps(keys)), parts) == INSTRUMENT
    names = ["_".join(str(key) for key in key_path) for key_path in keys]
    assert names == [parameter.name for parameter in INSTRUMENT.parameters]


def test_columns_from_labels_round_trip() -> None:
    random = np.random.default_rng(0)
    labels = np.stack(
        [
            random.integers(p.num_outputs, size=9) if p.kind == "choice" else random.random(9).astype(np.float32)
            for p in INSTRUMENT.learned
        ],
        axis=1,
    )
    columns = columns_from_labels(labels, INSTRUMENT)
    assert len(columns) == 46
    assert columns[0] == "constant"
    assert columns[9].shape == (9,)
    assert columns[10].shape == (9, 3)
    np.testing.assert_array_equal(labels_from_columns(columns, INSTRUMENT, 9, "x"), labels)


def with_columns(change: object) -> object:
    def corrupt(folder: Path) -> None:
        (folder / PARAMETERS).write_bytes(pickle.dumps(change(pickle.loads((folder / PARAMETERS).read_bytes()))))

    return corrupt


def with_column(index: int, value: object) -> object:
    return with_columns(lambda columns: [*columns[:index], value, *columns[index + 1 :]])


def change_features(folder: Path, change: object) -> None:
    np.save(folder / FEATURES, change(np.load(folder / FEATURES)))


def with_value(position: tuple[int, ...], value: float) -> object:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[position] = value
        return array

    return change


def with_bytes(path: str, raw: bytes) -> object:
    return lambda folder: (folder / path).write_bytes(raw)


def with_pickle(path: str, value: object) -> object:
    return with_bytes(path, pickle.dumps(value))


def with_header(old: bytes, new: bytes) -> object:
    return with_bytes(FEATURES, encode_features(np.zeros((32, 12, 33))).replace(old, new))


BAD_BATCHES = {
    "truncated features": (
        lambda f: (f / FEATURES).write_bytes((f / FEATURES).read_bytes()[:-8]),
        "fft/fft_batch_3.npy: it is truncated or too long",
    ),
    "an empty file": (with_bytes(FEATURES, b""), "not a whole .npy file"),
    "no array": (with_bytes(FEATURES, b"hello there"), "not a whole .npy file"),
    "a header of a petabyte": (
        with_header(b"(32, 12, 33)", b"(9999,99,99)"),
        "truncated or too long: 101376 bytes of data instead of",
    ),
    "a damaged header": (with_header(b"'shape': (", b"'shape': ]"), "not a whole .npy file"),
    "a negative shape": (with_header(b"(32, 12, 33)", b"(-32,-12,33)"), "not numbers of"),
    "a huge number": (with_column(2, [10**400] * 32), "is not an array of numbers"),
    "NaN in features": (
        lambda f: change_features(f, with_value((4, 5, 6), np.nan)),
        r"the value at \(4, 5, 6\) \(example, frame, bin\) is nan",
    ),
    "an infinite value": (
        lambda f: change_features(f, with_value((31, 2, 9), -np.inf)),
        r"the value at \(31, 2, 9\) \(example, frame, bin\) is -inf",
    ),
    "features of two axes": (lambda f: change_features(f, lambda a: a[0]), "not numbers of"),
    "text features": (lambda f: change_features(f, lambda a: a.astype("U3")), "not numbers of"),
    "missing features": (
        lambda f: (f / FEATURES).unlink(),
        "fft/fft_batch_3.npy: it is missing, but parameters/parameter_batches_3.pkl exists",
    ),
    "missing parameters": (
        lambda f: (f / PARAMETERS).unlink(),
        "parameters/parameter_batches_3.pkl: it is missing, but fft/fft_batch_3.npy exists",
    ),
    "a truncated pickle": (with_bytes(PARAMETERS, pickle.dumps([1, 2])[:-3]), "not a whole pickle"),
    "a pickle that calls": (with_bytes(PARAMETERS, b"cos\nsystem\n(S'true'\ntR."), r"it calls os\.system"),
    "no list": (with_columns(lambda _: {"a": 1}), "a dict instead of a list"),
    "too few parameters": (with_columns(lambda c: c[:-1]), "4 parameters, keys.pkl names 5"),
    "too few examples": (
        with_column(2, np.zeros(31)),
        r"parameter 2 \(1_osc_pitch\) has the shape \(31,\), not \(32,\)",
    ),
    "NaN in a range": (
        with_column(2, with_value((7,), np.nan)(np.zeros(32))),
        r"parameter 2 \(1_osc_pitch\), example 7: the value is nan",
    ),
    "a range beyond float32": (
        with_column(2, with_value((7,), -1e39)(np.zeros(32))),
        r"parameter 2 \(1_osc_pitch\), example 7: the value is -1e\+39, not a number of float32",
    ),
    "not one-hot": (
        with_column(1, with_value((9, 1), 1)(np.eye(5)[np.zeros(32, int)])),
        r"parameter 1 \(1_osc_wave\), example 9: .* is not one-hot",
    ),
    "another class count": (with_column(1, np.eye(4)[np.zeros(32, int)]), r"has the shape \(32, 4\), not \(32, 5\)"),
    "a constant that is learned": (with_column(2, "constant"), r"parameter 2 \(1_osc_pitch\) is 'constant', but"),
    "a learned one that is constant": (
        with_column(0, np.zeros(32)),
        r"parameter 0 \(global_volume\) should be 'constant'",
    ),
    "words": (with_column(2, ["a"] * 32), "is not an array of numbers"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_notebook_source_read_bad_batch_gives_reason(case: str, source: Path) -> None:
    corrupt, message = BAD_BATCHES[case]
    corrupt(source)
    opened = NotebookSource.open(str(source))
    assert 3 in opened.batches
    with pytest.raises(BadBatch, match=message):
        opened.read(3)
    opened.read(2)


@pytest.mark.parametrize("value", [1e20, 3e38, 1e300, -1e300])
def test_notebook_source_read_large_values_are_accepted(value: float, source: Path) -> None:
    change_features(source, with_value((4, 5, 6), value))
    batch = NotebookSource.open(str(source)).read(3)
    assert batch.features[4, 5, 6] == value
    assert batch.loudness_dbfs[4] == np.inf
    assert np.isfinite(np.delete(batch.loudness_dbfs, 4)).all()


INVALID = {
    "keys of another count": (with_pickle(KEYS, foreign.KEYS[:-1]), "names 4 parameters, randomizer_parts.pkl has 5"),
    "an unknown kind": (
        with_pickle(PARTS, [{"random_type": "odd"}] * 5),
        r"parameter 0 \(global_volume\): random_type is 'odd'",
    ),
    "a choice between letters": (
        with_pickle(PARTS, [{"random_type": "choice", "random_values": "sine"}] * 5),
        r"parameter 0 \(global_volume\): .*random_values is not a list",
    ),
    "a key too long to be spelt": (
        with_pickle(KEYS, [[9**6000]] * 5),
        r"keys\.pkl, parameter 0: the name cannot be formed",
    ),
    "a choice that says nothing more": (with_pickle(PARTS, [{"random_type": "choice"}] * 5), "random_values"),
    "two of one name": (with_pickle(KEYS, [["a"]] * 5), "the name 'a' appears twice"),
    "nothing to learn": (with_pickle(PARTS, [{"random_type": "constant"}] * 5), "nothing to learn"),
}
NOT_FOUND = {
    "no keys": (lambda f: (f / KEYS).unlink(), "not a directory in the batch layout"),
    "no batches": (
        lambda f: [path.unlink() for path in (*f.glob("fft/*"), *f.glob("parameters/*"))],
        "no batches here",
    ),
}


@pytest.mark.parametrize("case", INVALID | NOT_FOUND)
def test_notebook_source_open_invalid_directory_gives_reason(case: str, source: Path) -> None:
    corrupt, message = (INVALID | NOT_FOUND)[case]
    corrupt(source)
    with pytest.raises(NotFound if case in NOT_FOUND else DataError, match=message):
        NotebookSource.open(str(source))


@pytest.mark.parametrize("name", ["fft/fft_batch_03.npy", "parameters/parameter_batches_3 (copy).pkl"])
def test_notebook_source_open_misnamed_batch_is_refused(name: str, source: Path) -> None:
    (source / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"the name does not match.*Rename or remove"):
        NotebookSource.open(str(source))


def test_table_from_parts_numpy_values_become_json() -> None:
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


INTERVALS = {
    "linear": {"random_values": [20, 20_000], "unit": "Hz"},
    "log": {"random_values": (20.0, 20_000.0), "curve": "log"},
    "stepped": {"random_values": np.array([20, 20_000]), "step": 1},
    "negative": {"random_values": [-96, 0]},
    "wider than the values": {"random_values": [20, 20_000], "minimum": 0, "maximum": 30_000},
}


@pytest.mark.parametrize("name", INTERVALS)
def test_range_with_an_interval_of_values_is_scaled_by_the_table(name: str, source: Path) -> None:
    part = {"random_type": "range", **INTERVALS[name]}
    low, high = INTERVALS[name]["random_values"]
    _, columns = foreign.batch(0)
    columns[2] = np.linspace(low, high, 32)
    (source / PARTS).write_bytes(pickle.dumps([*foreign.PARTS[:2], part, *foreign.PARTS[3:]]))
    (source / "parameters/parameter_batches_0.pkl").write_bytes(pickle.dumps(columns))
    opened = NotebookSource.open(str(source))
    parameter, position = opened.table["1_osc_pitch"], opened.read(0).labels[:, 1]
    assert (parameter.minimum, parameter.maximum) == (part.get("minimum", low), part.get("maximum", high))
    assert -1e-9 <= position.min() <= position.max() <= 1 + 1e-9
    np.testing.assert_allclose(position, parameter.to_unit_interval(columns[2]))


@pytest.mark.parametrize("values", [None, [0, 1], (0.0, 1.0), [0.1, 0.2, 0.3], "x", []])
def test_range_without_an_interval_holds_positions(values: object, source: Path) -> None:
    part = {"random_type": "range", "minimum": 20, "maximum": 20_000} | ({"random_values": values} if values else {})
    (source / PARTS).write_bytes(pickle.dumps([*foreign.PARTS[:2], part, *foreign.PARTS[3:]]))
    opened = NotebookSource.open(str(source))
    _, columns = foreign.batch(0)
    np.testing.assert_array_equal(opened.read(0).labels[:, 1], columns[2])
    assert opened.table["1_osc_pitch"].maximum == 20_000


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_value_that_is_not_on_the_log_curve_is_refused(value: float, source: Path) -> None:
    part = {"random_type": "range", "random_values": [20, 20_000], "curve": "log"}
    (source / PARTS).write_bytes(pickle.dumps([*foreign.PARTS[:2], part, *foreign.PARTS[3:]]))
    _, columns = foreign.batch(0)
    columns[2] = np.full(32, 440.0)
    columns[2][5] = value
    (source / "parameters/parameter_batches_0.pkl").write_bytes(pickle.dumps(columns))
    with pytest.raises(BadBatch, match=rf"1_osc_pitch, example 5: {value} is not above 0 \(log curve\)"):
        NotebookSource.open(str(source)).read(0)


@pytest.mark.parametrize("values", [[5, 5], [3, 2], [0, float("nan")], ["a", "b"], [None, 1], [[1], [2, 3]]])
def test_interval_that_is_none_is_refused(values: list, source: Path) -> None:
    part = {"random_type": "range", "random_values": values}
    (source / PARTS).write_bytes(pickle.dumps([*foreign.PARTS[:2], part, *foreign.PARTS[3:]]))
    with pytest.raises(DataError, match=r"parameter 2 \(1_osc_pitch\)"):
        NotebookSource.open(str(source))


def test_table_from_parts_choice_between_lists_has_a_class_each() -> None:
    parts = [{"random_type": "choice", "random_values": [[0, 1], [2, 3]]}, {"random_type": "range"}]
    table = table_from_parts([["pair"], ["level"]], parts)
    assert table.choices[0].values == ("[0, 1]", "[2, 3]")


def test_notebook_source_open_gaps_and_other_files_are_ignored(source: Path) -> None:
    for folder, name in (("fft", "fft_batch_1.npy"), ("parameters", "parameter_batches_1.pkl")):
        (source / folder / name).unlink()
        (source / folder / f"{name}.bak").write_bytes(b"x")
        (source / folder / f"old_{name}").write_bytes(b"x")
    assert NotebookSource.open(str(source)).batches == (0, 2, 3, 4, 5, 6)
