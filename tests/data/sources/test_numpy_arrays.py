"""Arrays as NumPy writes them are read with equal values, or refused with a reason; never with other values."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthray.data.sources.features_file import decode_features
from synthray.data.sources.notebook import NotebookSource
from synthray.data.sources.safe_pickle import load_plain
from synthray.errors import BadBatch, UnsafePickle

READ_FROM_NPY, READ_FROM_PICKLE = "iuf", "biufSU"
"""Kinds of dtypes that are read."""
NUMBERS = [
    f"{order}{code}"
    for order in "<>"
    for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g")
]
OTHERS = ["?", "<c8", ">c16", "<M8[s]", ">m8[D]", "S3", "<U2", ">U2", "V4", "<f4,<i2", "O"]


def filled(shape: tuple[int, ...], dtype: np.dtype, seed: int) -> np.ndarray:
    """Return an array of a dtype with varied values, in C order."""
    random = np.random.default_rng(seed)
    if dtype.hasobject:
        return np.full(shape, [1, "a"][seed % 2], dtype)
    if dtype.kind in "fc":
        return np.asarray(random.standard_normal(shape) * 100).astype(dtype)
    if dtype.kind in "SU":
        return np.asarray(random.integers(0, 99, shape)).astype(dtype)
    count = int(np.prod(shape))
    raw = random.integers(0, 2 if dtype.kind == "b" else 256, count * dtype.itemsize, np.uint8)
    return np.frombuffer(raw.tobytes(), dtype, count).reshape(shape)


LAYOUTS = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "axes turned": lambda array: array.transpose(*range(1, array.ndim), 0) if array.ndim else array,
    "axes reversed": lambda array: array.T,
    "reversed": lambda array: array[(slice(None, None, -1),) * array.ndim],
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2] if array.ndim else array,
    "a part": lambda array: array[..., 1:] if array.ndim and array.shape[-1] > 1 else array,
    "broadcast": lambda array: np.broadcast_to(array[:1], array.shape) if array.ndim else array,
    "not aligned": lambda array: np.frombuffer(b"x" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape),
    "not writeable": lambda array: _locked(array),
}


def _locked(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@st.composite
def arrays(draw: st.DrawFn, least_axes: int = 0, most_axes: int = 4) -> np.ndarray:
    """Draw an array of any dtype and layout."""
    dtype = np.dtype(draw(st.sampled_from(NUMBERS + OTHERS)))
    shape = draw(hnp.array_shapes(min_dims=least_axes, max_dims=most_axes, min_side=0, max_side=4) | st.just(()))
    array = filled(shape, dtype, draw(st.integers(0, 99)))
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    return array if dtype.hasobject and layout == "not aligned" else np.asarray(LAYOUTS[layout](array))


def assert_equal(found: object, expected: object) -> None:
    """Compare values, shape and dtype; byte orders may differ, and an array without axes may be a scalar."""
    found, expected = (np.asarray(np.asarray(value)[()]) for value in (found, expected))
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def npy(array: np.ndarray, version: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


@given(arrays(), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
@example(np.ones((2, 3, 4), ">f4"), (3, 0))
@example(np.ones((2, 3, 4), np.longdouble), (2, 0))
def test_npy_file_is_read_as_by_numpy_or_refused(array: np.ndarray, version: tuple[int, int]) -> None:
    raw = npy(array, version)
    is_features = array.dtype.kind in READ_FROM_NPY and array.ndim == 3 and array.size
    if is_features:
        assert_equal(decode_features(raw, "batch"), np.load(io.BytesIO(raw)))
    else:
        with pytest.raises(BadBatch, match=r"batch: it holds .*, not numbers of \(examples, frames, bins\)"):
            decode_features(raw, "batch")


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (2, 1), (3, 1), (4, 0)])
def test_npy_file_of_an_unknown_version_is_refused(version: tuple[int, int]) -> None:
    raw = bytearray(npy(np.ones((2, 3, 4), np.float32), (2, 0)))
    raw[6:8] = version
    with pytest.raises(BadBatch, match=r"not a whole \.npy file"):
        decode_features(bytes(raw), "batch")


def is_plain(array: np.ndarray) -> bool:
    return array.dtype.kind in READ_FROM_PICKLE


@given(arrays(), st.sampled_from(range(6)))
@example(np.array(3.5, np.float16), 5)
@example(np.array(["é", "ab"]).reshape(2, 1).T, 0)
@example(np.zeros(3, "S0"), 2)
def test_pickled_array_is_read_as_by_pickle_or_refused(array: np.ndarray, protocol: int) -> None:
    raw = pickle.dumps([array, array[()]], protocol)
    if is_plain(array):
        for found, expected in zip(load_plain(raw), pickle.loads(raw), strict=True):
            assert_equal(found, expected)
    else:
        with pytest.raises(UnsafePickle, match=r"dtype|objects instead of numbers|it calls"):
            load_plain(raw)


@given(arrays())
def test_array_with_its_buffer_outside_of_the_pickle_is_refused(array: np.ndarray) -> None:
    buffers: list[pickle.PickleBuffer] = []
    raw = pickle.dumps(array, 5, buffer_callback=buffers.append)
    if buffers:
        with pytest.raises(UnsafePickle, match=r"NEXT_BUFFER|READONLY_BUFFER"):
            load_plain(raw)
    elif is_plain(array):
        assert_equal(load_plain(raw), array)


SUBCLASSES = {
    "matrix": lambda _: np.ones((1, 2)).view(np.matrix),
    "masked": lambda _: np.ma.array([1.0, 2.0], mask=[False, True]),
    "recarray": lambda _: np.rec.array([(1, 2.0)]),
    "record": lambda _: np.rec.array([(1, 2.0)])[0],
    "memmap": lambda folder: np.memmap(folder / "file", np.float32, "w+", shape=(2,)),
    "chararray": lambda _: np.char.array(["ab"]),
    "text of any length": lambda _: np.array(["ab"], np.dtypes.StringDType()),
    "datetime": lambda _: np.datetime64("2020-01-01"),
    "complex": lambda _: np.complex64(1j),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", SUBCLASSES)
def test_pickled_subclass_is_refused_by_name(name: str, protocol: int, tmp_path: Path) -> None:
    raw = pickle.dumps([SUBCLASSES[name](tmp_path)], protocol)
    with pytest.raises(
        UnsafePickle, match=r"it calls numpy\.[\w.]+, which plain data|dtype is neither numbers nor text"
    ):
        load_plain(raw)


@pytest.mark.parametrize(
    ("order", "axes", "is_read"),
    [
        ("C", None, True),
        ("F", None, True),
        ("K", (1, 0), True),
        ("A", None, False),
        ("K", None, False),
        ("C", (1, 0), False),
        (0, None, False),
        ("", None, False),
    ],
)
def test_pickled_order_that_numpy_does_not_write_is_refused(order: object, axes: object, *, is_read: bool) -> None:
    class Writer:
        """A pickle that calls NumPy's reader with these arguments."""

        def __reduce__(self) -> tuple:
            from numpy._core.numeric import _frombuffer

            return _frombuffer, (bytes(range(24)), np.dtype("i4"), (2, 3), order, axes)

    raw = pickle.dumps(Writer())
    if is_read:
        assert_equal(load_plain(raw), pickle.loads(raw))
    else:
        with pytest.raises(UnsafePickle, match="an array has the order"):
            load_plain(raw)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_batch_of_any_number_type_and_layout_has_numpys_values(dtype: str, tmp_path: Path) -> None:
    (tmp_path / "fft").mkdir()
    (tmp_path / "parameters").mkdir()
    (tmp_path / "keys.pkl").write_bytes(pickle.dumps([["level"]]))
    (tmp_path / "randomizer_parts.pkl").write_bytes(pickle.dumps([{"random_type": "range"}]))
    written = []
    for number, layout in enumerate(LAYOUTS.values()):
        features = layout(np.arange(60, dtype=dtype).reshape(5, 4, 3))
        values = layout(np.arange(len(features) + (layout is LAYOUTS["a part"]), dtype=dtype))
        np.save(tmp_path / f"fft/fft_batch_{number}.npy", features)
        (tmp_path / f"parameters/parameter_batches_{number}.pkl").write_bytes(pickle.dumps([values]))
        written.append((features, values))
    source = NotebookSource.open(str(tmp_path))
    for number, (features, values) in enumerate(written):
        batch = source.read(number)
        assert_equal(batch.features, features)
        np.testing.assert_array_equal(batch.labels[:, 0], values.astype(np.float64))
