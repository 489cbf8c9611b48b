"""Decoding of request bodies, and the message of each error."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.errors import RequestError
from synthray.serve.protocols.decode import decode_json, decode_raw

SHAPE = (2, 3)
GOOD = [[1, 2.5, 3], [4, 5, 6]]


def test_decode_json_all_formats_are_equal():
    for request, in_rows in [
        ({"instances": [GOOD, GOOD]}, True),
        ({"instances": [{"in_fft": GOOD}, GOOD]}, True),
        ({"signature_name": "serving_default", "inputs": [GOOD, GOOD]}, False),
        ({"inputs": {"in_fft": [GOOD, GOOD]}}, False),
    ]:
        features, rows = decode_json(json.dumps(request).encode(), SHAPE)
        assert rows is in_rows
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, [GOOD, GOOD])


def test_decode_json_accepts_integers_beyond_64_bits():
    features, _ = decode_json(json.dumps({"instances": [[[10**20, 1, 2], [3, 4, 5]]]}).encode(), SHAPE)
    assert features[0, 0, 0] == np.float32(1e20)


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6), min_size=1)
)
def test_decode_raw_and_json_are_bit_identical(sounds):
    features = np.array(sounds, np.float32).reshape(-1, *SHAPE)
    from_json, _ = decode_json(json.dumps({"instances": features.tolist()}).encode(), SHAPE)
    np.testing.assert_array_equal(decode_raw(features.astype("<f4").tobytes(), SHAPE), features)
    np.testing.assert_array_equal(from_json, features)


def changed(row, column, value):
    return [[value if (i, j) == (row, column) else GOOD[i][j] for j in range(3)] for i in range(2)]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
        (b"1" * 5000, "not JSON"),
        (b"[1]", "is an array, expected an object"),
        (b"{}", "expected either 'instances'"),
        ({"instances": [GOOD], "inputs": [GOOD]}, "expected either 'instances'"),
        ({"instances": [GOOD], "signature_name": "other"}, "signature_name is 'other'"),
        ({"instances": [GOOD], "signature_name": []}, r"signature_name is \[\]"),
        ({"instances": []}, "'instances' is empty"),
        ({"instances": {"in_fft": [GOOD]}}, "'instances' is an object"),
        ({"instances": None}, "'instances' is null"),
        ({"inputs": 3}, "'inputs' is a number"),
        ({"instances": [GOOD, {"x": GOOD}]}, r"instance 1: has inputs \['x'\], expected \['in_fft'\]"),
        ({"inputs": {}}, r"'inputs': has inputs \[\], expected \['in_fft'\]"),
        ({"instances": [GOOD, 7]}, "instance 1: is a number, expected 2 rows of 3 numbers"),
        ({"instances": [GOOD, GOOD[:1]]}, r"instance 1: has shape \(1, 3\), expected \(2, 3\)"),
        ({"instances": [[]]}, r"instance 0: has shape \(0,\), expected \(2, 3\)"),
        ({"instances": [[1, 2]]}, "instance 0, row 0: is a number"),
        ({"instances": GOOD}, r"instance 0: has shape \(3,\), expected \(2, 3\)"),
        ({"instances": [[[1, 2, 3], [4, 5]]]}, "instance 0, row 1: has 2 columns, expected 2 rows of 3 numbers"),
        ({"instances": [[[1, 2, 3, 4], [4, 5, 6, 7]]]}, "instance 0, row 0: has 4 columns"),
        ({"instances": [GOOD, changed(1, 2, "x")]}, "instance 1, row 1, column 2: 'x' is not a number"),
        ({"instances": [changed(0, 1, "3.5")]}, "instance 0, row 0, column 1: '3.5' is not a number"),
        ({"instances": [changed(0, 1, None)]}, "instance 0, row 0, column 1: null is not a number"),
        ({"instances": [changed(0, 1, True)]}, "instance 0, row 0, column 1: true is not a number"),
        ({"instances": [changed(0, 1, nested(500))]}, r"column 1: \[\[\[\.\.\.\]\]\] is not a number"),
        ({"instances": [GOOD], "signature_name": nested(500)}, r"signature_name is \[\[\["),
        ({"inputs": {"x" * 10_000: 1}}, r"has inputs \['x{10,}\.\.\.x{10,}'\], expected"),
        ({"instances": [[[[1], [2], [3]], [[4], [5], [6]]]]}, r"instance 0, row 0, column 0: \[1\] is not a number"),
        ({"instances": [GOOD, changed(1, 0, float("nan"))]}, "instance 1, row 1, column 0: nan is not a finite"),
        ({"instances": [changed(0, 2, float("-inf"))]}, "instance 0, row 0, column 2: -inf is not a finite"),
        ({"instances": [changed(0, 2, 1e39)]}, "instance 0, row 0, column 2: inf is not a finite float32"),
        ({"instances": [changed(0, 2, 10**400)]}, "instance 0: holds a number that is too large for float32"),
    ],
)
def test_decode_json_invalid_body_names_fault(body, message):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestError, match=message) as raised:
        decode_json(raw, SHAPE)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body has 0 bytes, expected a multiple of 24"),
        (b"\0" * 25, r"the body has 25 bytes, expected a multiple of 24: float32 x 2 x 3 a sound"),
        (np.array([0] * 6 + [0, 0, 0, 0, np.nan, 0], "<f4").tobytes(), "instance 1, row 1, column 1: nan is not"),
    ],
)
def test_decode_raw_invalid_body_names_fault(body, message):
    with pytest.raises(RequestError, match=message):
        decode_raw(body, SHAPE)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=20))
def test_decode_json_any_value_decodes_or_raises_request_error(value):
    for request in ({"instances": value}, {"inputs": value}, {"instances": [value]}, value):
        try:
            features, _ = decode_json(json.dumps(request).encode(), SHAPE)
        except RequestError:
            continue
        assert features.shape[1:] == SHAPE


def test_decode_json_long_text_among_numbers_reserves_no_memory():
    numbers = [["x" * 1_000_000, *[1] * 999]]
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="row 0, column 0: 'x"):
            decode_json(json.dumps({"instances": [numbers]}).encode(), (1, 1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # NumPy's array of texts would have 4 GB
