"""Plain pickles are read, and all others are refused without a side effect."""

from __future__ import annotations

import contextlib
import datetime
import functools
import io
import os
import pickle
import re
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from infra.ray_head import REPOSITORY
from synthray.data.sources.safe_pickle import load_plain
from synthray.errors import UnsafePickle

PROTOCOLS = range(6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
DTYPES = ["<f4", "<f8", ">f8", "i1", "<i8", ">u2", "?", "<U3", "S2", "f2"]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw an array in C order, in Fortran order, or with two axes swapped."""
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)
    array = draw(hnp.arrays(st.sampled_from(DTYPES), shapes))
    return draw(st.sampled_from([array, np.asfortranarray(array), array.swapaxes(0, array.ndim // 2)]))


def nested(leaves: st.SearchStrategy) -> st.SearchStrategy:
    keys = st.text() | st.integers(-(2**60), 2**60)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


def assert_same(read: object, expected: object) -> None:
    """Compare nested data including types, dtypes and NaN."""
    assert type(read) is type(expected)
    if isinstance(expected, (list, tuple)):
        assert len(read) == len(expected)
        for pair in zip(read, expected, strict=True):
            assert_same(*pair)
    elif isinstance(expected, dict):
        assert_same(list(read.items()), list(expected.items()))
    elif isinstance(expected, (np.ndarray, np.generic)):
        # ``pickle`` turns an array into the machine's byte order.
        assert read.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, expected)
    else:
        assert read == expected


@given(nested(scalars | arrays() | hnp.from_dtype(np.dtype("f4"))), st.sampled_from(PROTOCOLS))
def test_load_plain_with_arrays_equals_pickle(value: object, protocol: int) -> None:
    raw = pickle.dumps(value, protocol)
    assert_same(load_plain(raw), pickle.loads(raw))


@given(arrays(), st.sampled_from(PROTOCOLS))
def test_load_plain_array_keeps_its_dtype(array: np.ndarray, protocol: int) -> None:
    assert load_plain(pickle.dumps(array, protocol)).dtype == array.dtype


def test_load_plain_integers_of_any_length_equal_pickle() -> None:
    value = [sign * (1 << bits) for bits in (7, 8, 15, 16, 31, 32, 63, 64, 2039, 2048) for sign in (1, -1)]
    for protocol in PROTOCOLS:
        assert load_plain(pickle.dumps(value, protocol)) == value


def test_load_plain_repeated_references_equal_pickle() -> None:
    shared, text = [1, "a"], "text"
    value = [shared, text, {"k": shared, text: text}, (shared, text), np.arange(3), text]
    for protocol in PROTOCOLS:
        assert_same(load_plain(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("raw", [b"S'na\\xefve'\np0\n.", b"U\x05na\xefve.", b"T\x05\0\0\0na\xefve."])
def test_load_plain_python_2_text_is_read_as_latin1(raw: bytes) -> None:
    assert load_plain(raw) == "naïve"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_load_plain_numpy_1_and_2_are_read(protocol: int) -> None:
    raw = pickle.dumps([np.float32(0.5), np.arange(3)], protocol)
    old = raw.replace(b"numpy._core.", b"numpy.core.")
    if protocol >= 4:  # which state the length of a name before it, and of the frame before both
        old = re.sub(rb"\x8c.(numpy\.core\.\w+)", lambda found: b"\x8c%c%b" % (len(found[1]), found[1]), old)
        old = b"\x80%c\x95%b%b" % (protocol, struct.pack("<Q", len(old) - 11), old[11:])
    assert old != raw
    for spelling in (raw, old):
        scalar, array = load_plain(spelling)
        assert scalar == np.float32(0.5)
        assert array.tolist() == [0, 1, 2]


class Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


HOSTILE = {
    "a command": Calls(os.system, "touch made"),
    "a process": Calls(subprocess.Popen, ["touch", "made"]),
    "code": Calls(eval, "open('made', 'w')"),
    "a file": Calls(io.open, "made", "w"),
    "a gadget of numpy": Calls(np.load, "made"),
    "a memory map": Calls(np.memmap, "made", "u1", "w+", 0, (8,)),
    "attributes": Calls(getattr, "text", "upper"),
    "a partial": functools.partial(print, 1),
    "an object array": np.array([OrderedDict()], object),
    "an array of lists": np.array([[1], None], object),
    "a structured array": np.zeros(2, [("a", "f4"), ("b", "O")]),
    "a record of numbers": np.zeros(2, [("a", "f4")]),
    "a date": datetime.date(2020, 1, 1),
    "a datetime array": np.zeros(2, "M8[s]"),
    "a set": {1, 2},
    "a class": OrderedDict,
    "a generator": np.random.default_rng(0),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("case", HOSTILE)
def test_load_plain_other_objects_are_refused(
    case: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps([HOSTILE[case]], protocol)
    with pytest.raises(UnsafePickle):
        load_plain(raw)
    assert list(tmp_path.iterdir()) == []


BOMBS = {
    "a memo of two thousand million places": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a text memo as large": b"]p2000000000\n.",
    "a byte array of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "a frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "an int of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a hundred thousand lists in each other": b"]" * 100_000 + b"a" * 99_999 + b".",
    "lists that double": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x01" + b"".join(
        b"(h%ch%clq%c" % (i, i, i + 1) for i in range(1, 60)
    ) + b".",
    "an endless list": b"\x80\x02]q\x00h\x00a.",
    "nothing": b"",
    "a text": b"no pickle at all",
}  # fmt: skip


TEXT = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
KEYS = b"".join(b"\x8a\x0b" + (k * ((1 << 61) - 1)).to_bytes(11, "little") + b"N" for k in range(1, 30_001))
DOUBLED = b"q\x00h\x00\x86" * 40  # each level holds the one below twice
COSTLY = {
    "a key of a million tuples in each other": b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns.",
    "the same in one go": b"\x80\x02}()" + b"\x85" * 1_000_000 + b"Nu.",
    "the same in a dictionary of protocol 0": b"\x80\x02()" + b"\x85" * 1_000_000 + b"Nd.",
    "a key of tuples that double": b"\x80\x02})" + DOUBLED + b"Ns.",
    "keys of one hash": b"\x80\x02}(" + KEYS + b"u.",
    "one text spelt as bytes again and again": b"\x80\x02c_codecs\nencode\nq\x00" + TEXT
    + b"q\x01X\x06\x00\x00\x00latin1q\x02](" + b"h\x00h\x01h\x02\x86R" * 1500 + b"e.",
    "a shape of tuples that double": b"\x80\x02cnumpy.core.numeric\n_frombuffer\n(C\x00"
    + b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R)" + DOUBLED + b"tR.",
    "a byte order of tuples that double": b"\x80\x02cnumpy.core.multiarray\nscalar\n"
    + b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R(K\x03)" + DOUBLED
    + b"NNNtbC\x00\x86R.",
    "sides of a million digits": b"\x80\x02cnumpy.core.numeric\n_frombuffer\nq\x00\x8b"
    + struct.pack("<I", 1_000_000) + b"\x7f" * 1_000_000
    + b"q\x01](" + b"h\x00(C\x00cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R(" + b"h\x01" * 8 + b"ttRe.",
    "one large scalar again and again": b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
    + b"X\x06\x00\x00\x00S99999\x85RB" + struct.pack("<I", 99_999) + b"a" * 99_999
    + b"\x86Rq\x00](" + b"h\x00" * 20_000 + b"e.",
    "one text again and again": b"\x80\x02](" + TEXT + b"q\x00" + b"h\x00" * 10_000 + b"e.",
    "calls with a million arguments": b"\x80\x02cnumpy.core.multiarray\nscalar\nq\x00(" + b"N" * 1_000_000
    + b"tq\x01](" + b"h\x00h\x01R" * 400_000 + b"e.",
    "a name of tuples that double": b"\x80\x04)" + DOUBLED + b"\x8c\x01a\x93.",
    "keys of a million letters that are equal": b"\x80\x02}(" + TEXT + b"q\x00N" + TEXT + b"q\x01N"
    + b"h\x00Nh\x01N" * 600_000 + b"u.",
    "lists that are not used": b"\x80\x02" + b"]" * 20_000_000 + b".",
}  # fmt: skip


@pytest.mark.slow
def test_load_plain_costly_pickles_are_refused(tmp_path: Path) -> None:
    """Read each in a process of its own, which it could exhaust."""
    for case, raw in COSTLY.items():
        (tmp_path / case).write_bytes(raw)
    script = """
import os, pathlib, resource, sys
from synthray.data.sources.safe_pickle import load_plain
from synthray.errors import UnsafePickle

def read(file):
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        load_plain(file.read_bytes())
    except UnsafePickle:
        if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 < 300:
            os._exit(0)

for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if not child:
        read(file)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        print(file.name)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ended.stdout == "", "these were read, or took too much memory or time"


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.timeout(20)
def test_load_plain_bombs_are_refused_in_bounded_memory(case: str) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(UnsafePickle):
            load_plain(BOMBS[case])
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


def test_load_plain_array_larger_than_its_bytes_is_refused() -> None:
    raw = pickle.dumps(np.zeros(4), 2).replace(b"K\x04\x85", b"J\x00\x00\x00\x70\x85")
    with pytest.raises(UnsafePickle, match="bytes"):
        load_plain(raw)


@pytest.mark.parametrize("code", [b"f4,f4", b"float", b"V8", b"O8", b"M8", b"f8 "])
def test_load_plain_dtype_of_another_kind_is_refused(code: bytes) -> None:
    raw = pickle.dumps(np.zeros(1), 2)
    changed = raw.replace(b"X\x02\x00\x00\x00f8", b"X" + struct.pack("<I", len(code)) + code)
    assert changed != raw
    with pytest.raises(UnsafePickle, match="neither numbers nor text"):
        load_plain(changed)


@given(st.integers(0, 400), st.integers(0, 255))
def test_load_plain_corrupt_pickle_is_plain_or_refused(index: int, value: int) -> None:
    raw = bytearray(pickle.dumps(["constant", np.eye(3), {"a": [1, 2.5]}], 4))
    raw[index % len(raw)] = value
    with contextlib.suppress(UnsafePickle):
        assert_plain(load_plain(bytes(raw)))


def assert_plain(value: object) -> None:
    if isinstance(value, (list, tuple)):
        [assert_plain(item) for item in value]
    elif isinstance(value, dict):
        [assert_plain(item) for pair in value.items() for item in pair]
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufSU"
    else:
        assert (
            value is None or type(value) in (bool, int, float, str, bytes, bytearray) or isinstance(value, np.generic)
        )


def frame(size: int) -> bytes:
    return b"\x95" + struct.pack("<Q", size)


# Read without regard to the frame, these bytes are part of a text.
_HIDDEN = b"r" + struct.pack("<I", 6_000_000) + b"."


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x80\x04" + frame(2) + b"Jx" + b"\0\0\0\x8c)" + _HIDDEN.ljust(41, b".") + b".", "not enough data"),
        (b"\x80\x04" + frame(30) + frame(3) + b"N." + bytes(30), "begins within another"),
        (b"\x80\x04" + frame(9) + b"N." + bytes(30), "ends after the end"),
        (b"\x80\x04" + frame(3) + b"]p-" + b"3000000\n.", "not a whole pickle"),
        (b"]p-3000000\n.", "uses -3000000 as a memo number"),
    ],
)
def test_load_plain_inconsistent_frames_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(UnsafePickle, match=message):
        load_plain(raw)


DEFAULTS = b"X\x0c\x00\x00\x00__defaults__K\x01"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x80\x06N.", "its protocol is 6, newer than 5"),
        (b"N\x86.", "takes more items from the stack than there are"),
        (b"N(", "ends without STOP"),
        (b"](q\x01e.", "not a whole pickle"),  # it refers to the list below the mark
        (b"NNa.", "appends to something that is not a list"),
        (b"]NNs.", "sets a key of something that is not a dictionary"),
        (b"})Ns.", "a key of a dictionary is neither"),
        (b"N)R.", "calls something that is not a function"),
        (b"cnumpy\nndarray\n)R.", "calls something that is not a function"),
        (b"cnumpy\nndarray\n.", "something that is not plain data"),
        (b"]Nb.", "sets the state of something that is not an array"),
        (b"c_codecs\nencode\n}" + DEFAULTS + b"sb.", "sets the state of something that is not an array"),
        (b"c_codecs\nencode\nN}" + DEFAULTS + b"s\x86b.", "sets the state of something that is not an array"),
        (b"\x8f.", "uses the opcode EMPTY_SET"),
        (b"Pid\n.", "uses the opcode PERSID"),
    ],
)
def test_load_plain_invalid_program_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(UnsafePickle, match=message):
        load_plain(raw)


@pytest.mark.parametrize("protocol", [4, 5])
def test_load_plain_large_arrays_outside_of_frames_are_read(protocol: int) -> None:
    value = [np.arange(100_000.0), "a", np.arange(40_000), list(range(3000))]
    read = load_plain(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(read[0], value[0])
    np.testing.assert_array_equal(read[2], value[2])
    assert read[1::2] == value[1::2]


def test_load_plain_name_with_control_characters_is_escaped() -> None:
    for module in ("\x1b]0;owned\x07os", "o" * 100_000):
        with pytest.raises(UnsafePickle) as refusal:
            load_plain(f"c{module}\nsystem\n.".encode())
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 150


@pytest.mark.slow
def test_load_plain_a_million_numbers_are_read() -> None:
    """Read them in the protocol that needs the most opcodes for each."""
    assert load_plain(pickle.dumps([0.5] * 999_000, 0)) == [0.5] * 999_000
