"""Decoding of request bodies into feature arrays; every error names the instance, row and column.

``http/body.py`` reads the body, ``encode.py`` writes the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synthray.errors import RequestError, json_type, shown
from synthray.model.heads import INPUT_NAME
from synthray.serve.http.body import parse_object

SIGNATURES = ("", "serving_default")


def decode_raw(body: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Return the features of a body of little-endian float32 numbers.

    Args:
        body: the sounds one after the other, each ``frames * bins`` numbers.
        shape: ``(frames, bins)``.

    Returns:
        float32 ``(sounds, frames, bins)``.

    Raises:
        RequestError: 400, the length is no multiple of one sound, or a number is not finite.
    """
    frames, bins = shape
    size = frames * bins * 4
    if not body or len(body) % size:
        raise RequestError(
            400, f"the body has {len(body)} bytes, expected a multiple of {size}: float32 x {frames} x {bins} a sound"
        )
    features = np.frombuffer(body, "<f4").reshape(-1, frames, bins).astype(np.float32, copy=False)
    check_finite(features)
    return features


def decode_json(body: bytes, shape: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Return the features of a TensorFlow Serving request, and its format.

    The features are float32 ``(sounds, frames, bins)``. The second value is True for the row format
    ``{"instances": [...]}`` and False for the column format ``{"inputs": ...}``. Both formats take a bare array or
    ``{"in_fft": array}``.

    Raises:
        RequestError: 400, the message names the instance, row and column.
    """
    request = parse_object(body)
    signature = request.get("signature_name", "")
    if signature not in SIGNATURES:
        raise RequestError(400, f"signature_name is {shown(signature)}, expected 'serving_default' or none")
    if ("instances" in request) == ("inputs" in request):
        raise RequestError(400, "expected either 'instances' (rows) or 'inputs' (columns) in the request")
    if in_rows := "instances" in request:
        instances = request["instances"]
        if isinstance(instances, list):
            instances = [_unwrap(instance, f"instance {i}") for i, instance in enumerate(instances)]
    else:
        instances = _unwrap(request["inputs"], "'inputs'")
    return to_features(instances, "instances" if in_rows else "inputs", shape), in_rows


def _unwrap(value: Any, where: str) -> Any:
    """Return the array of ``{"in_fft": array}``, or any other value itself."""
    if not isinstance(value, dict):
        return value
    if set(value) != {INPUT_NAME}:
        raise RequestError(400, f"{where}: has inputs {shown(sorted(value))}, expected {[INPUT_NAME]}")
    return value[INPUT_NAME]


def to_features(instances: Any, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return nested lists as float32 ``(sounds, frames, bins)``.

    Args:
        instances: a list of sounds, from JSON.
        name: name of the list, for messages.
        shape: ``(frames, bins)``.

    Raises:
        RequestError: 400, the message names the instance, row and column.
    """
    if not isinstance(instances, list):
        raise RequestError(400, f"{name!r} is {json_type(instances)}, expected an array of sounds")
    if not instances:
        raise RequestError(400, f"{name!r} is empty, expected at least one sound")
    features = np.stack([_to_instance(instance, i, shape) for i, instance in enumerate(instances)])
    check_finite(features)
    return features


def to_numbers(value: Any, axes: int) -> np.ndarray | None:
    """Return nested lists as an array of numbers; None if they are ragged, deeper, too large or hold anything else."""
    if not _holds_numbers(value, axes):
        return None
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype == object else array  # integers beyond 64 bits are objects
    except (ValueError, OverflowError):
        return None


def _holds_numbers(value: Any, axes: int) -> bool:
    """Return whether lists nested as deep as ``axes`` hold only numbers.

    NumPy would accept booleans. With a text, it would allocate the length of the longest text for each number.
    """
    if not isinstance(value, list):
        return False
    if axes == 1:
        return set(map(type, value)) <= {int, float}
    return all(_holds_numbers(each, axes - 1) for each in value)


def to_float32(array: np.ndarray) -> np.ndarray:
    """Return numbers as float32; those that are too large become infinite."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _to_instance(instance: Any, index: int, shape: tuple[int, int]) -> np.ndarray:
    """Return one sound's nested lists as float32 ``(frames, bins)``."""
    array = to_numbers(instance, 2)
    if array is None or array.shape != shape:
        raise _shape_error(instance, index, shape)
    return to_float32(array)


def _shape_error(instance: Any, index: int, shape: tuple[int, int]) -> RequestError:
    """Return the error for the first fault of an invalid instance."""
    where = f"instance {index}"
    frames, bins = shape
    expected = f"expected {frames} rows of {bins} numbers"
    if not isinstance(instance, list):
        return RequestError(400, f"{where}: is {json_type(instance)}, {expected}")
    if len(instance) != frames:
        return RequestError(400, f"{where}: has {_shape_of(instance)}, expected ({frames}, {bins})")
    for row, numbers in enumerate(instance):
        if not isinstance(numbers, list):
            return RequestError(400, f"{where}, row {row}: is {json_type(numbers)}, {expected}")
        if len(numbers) != bins:
            return RequestError(400, f"{where}, row {row}: has {len(numbers)} columns, {expected}")
        for column, number in enumerate(numbers):
            if isinstance(number, bool) or not isinstance(number, int | float):
                return RequestError(400, f"{where}, row {row}, column {column}: {shown(number)} is not a number")
    return RequestError(400, f"{where}: holds a number that is too large for float32")


def _shape_of(value: Any) -> str:
    """Return ``shape (19, 551)``, following the first element of each list."""
    lengths: list[int] = []
    while isinstance(value, list) and len(lengths) < 8:
        lengths.append(len(value))
        value = value[0] if value else None
    return f"shape ({', '.join(map(str, lengths))}{',' if len(lengths) == 1 else ''})"


def check_finite(features: np.ndarray) -> None:
    """Raise RequestError 400 unless all numbers of features ``(sounds, frames, bins)`` are finite."""
    finite = np.isfinite(features)
    if finite.all():
        return
    instance, row, column = (int(i) for i in np.argwhere(~finite)[0])
    value = features[instance, row, column]
    raise RequestError(400, f"instance {instance}, row {row}, column {column}: {value} is not a finite float32 number")
