"""The parameter table in ``keys.pkl`` and ``randomizer_parts.pkl``, the files that all batches of a layout share.

The batch layout that they belong to is in ``notebook.py``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from synthray.errors import ConfigError, DataError
from synthray.synth.parameters import Choice, Constant, Parameter, ParameterTable, Range

KEYS = "keys.pkl"
PARTS = "randomizer_parts.pkl"


def table_from_parts(keys: Sequence[Any], parts: Sequence[Any]) -> ParameterTable:
    """Return the parameter table of ``keys.pkl`` and ``randomizer_parts.pkl``; raises DataError."""
    if len(keys) != len(parts):
        raise DataError(f"{KEYS} names {len(keys)} parameters, {PARTS} has {len(parts)}")
    pairs = zip(keys, parts, strict=True)
    return ParameterTable(tuple(_parameter(number, key_path, part) for number, (key_path, part) in enumerate(pairs)))


def _parameter(number: int, key_path: Any, part: Any) -> Parameter:
    if not isinstance(key_path, (list, tuple, str)):
        raise DataError(f"{KEYS}, parameter {number}: {reprlib.repr(key_path)} is not a list of keys")
    try:
        name = "_".join(str(key) for key in key_path)  # keys may be numbers; a text is split into letters
    except ValueError as error:  # Python refuses to print an int of thousands of digits
        raise DataError(f"{KEYS}, parameter {number}: the name cannot be formed ({error})") from None
    kind = part.get("random_type") if isinstance(part, dict) else None
    try:
        if kind == "constant":
            return Constant(name, **_fields(part, value=_plain_value, unit=str, description=str))
        if kind == "choice":
            if not isinstance(part["random_values"], (list, tuple, np.ndarray)):
                raise TypeError("random_values is not a list")
            return Choice(
                name, _distinct([str(value) for value in part["random_values"]]), **_fields(part, description=str)
            )
        if kind == "range":
            numbers = interval(part) | _fields(part, minimum=float, maximum=float, step=float)
            return Range(name, **numbers, **_fields(part, curve=str, unit=str, description=str))
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise DataError(f"{PARTS}, parameter {number} ({name}): {reprlib.repr(part)} is invalid ({error!r})") from None
    raise DataError(
        f"{PARTS}, parameter {number} ({name}): random_type is {reprlib.repr(kind)}, not range, choice or constant"
    )


def _fields(part: dict[str, Any], **converters: Callable[[Any], Any]) -> dict[str, Any]:
    """Return those fields that the part has, converted to JSON values."""
    return {key: convert(part[key]) for key, convert in converters.items() if key in part}


def interval(part: dict[str, Any]) -> dict[str, float]:
    """Return the minimum and maximum that ``random_values`` of a range gives, or {} if its numbers are positions."""
    values = part.get("random_values")
    if not isinstance(values, (list, tuple, np.ndarray)) or len(values) != 2:
        return {}
    low, high = (float(value) for value in values)
    return {} if (low, high) == (0, 1) else {"minimum": low, "maximum": high}


def _plain_value(value: Any) -> Any:
    """Return a constant's value; anything but a number or a text as its ``repr``."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else reprlib.repr(value)


def _distinct(values: list[str]) -> tuple[str, ...]:
    """Return the values, numbered if two of them are equal."""
    return tuple(values) if len(set(values)) == len(values) else tuple(f"{i}: {v}" for i, v in enumerate(values))


def keys_and_parts(table: ParameterTable) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Return the contents of ``keys.pkl`` and ``randomizer_parts.pkl`` for a table."""
    keys, parts = [], []
    for parameter in table.parameters:
        keys.append(parameter.name.split("_", 2))  # amplitude_lfo_waveform: ["amplitude", "lfo", "waveform"]
        row: dict[str, Any] = {"random_type": parameter.kind, "description": parameter.description}
        if isinstance(parameter, Choice):
            row["random_values"] = list(parameter.values)
        elif isinstance(parameter, Range):
            row |= {"random_values": [0.0, 1.0], "minimum": parameter.minimum, "maximum": parameter.maximum}
            row |= {"curve": parameter.curve, "unit": parameter.unit}
            row |= {"step": parameter.step} if parameter.step else {}
        else:
            row |= {"value": parameter.value, "unit": parameter.unit}
        parts.append(row)
    return keys, parts
