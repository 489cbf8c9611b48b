"""Presets: random ones, each a pure function of a seed and its own index, and their form as JSON for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthray.errors import ConfigError, SoundError
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

FORMAT = "synthray-preset/1"
LABELS_STREAM, NOISE_STREAM, REDRAWN_STREAM = 0, 1, 2
LARGEST_NUMBER = 1e30  # that a preset may hold; float32 ends at 3e38
WORDS_PER_COUNT = 4  # Philox makes four 64-bit words from each value of its counter


def random_labels(table: ParameterTable, seed: int, first: int, count: int, redrawn: int = 0) -> np.ndarray:
    """Labels of the random presets number ``first`` to ``first + count - 1`` of ``seed``.

    Preset ``i`` depends on ``seed``, ``i`` and the table alone, and on how often it was drawn again, ``redrawn``.
    Ranges are uniform over [0, 1) in steps of 2**-24, choices over their classes (to one in 2**30).

    Returns:
        float32 (count, learned): positions in [0, 1) and indices of classes.

    Raises:
        ConfigError: the seed, ``first`` or ``count`` is negative, or the seed needs more than 64 bits.
    """
    learned = len(table.learned)
    stream = LABELS_STREAM if redrawn == 0 else REDRAWN_STREAM + redrawn - 1
    words = random_words(seed, stream, first, count, learned)
    labels = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    for column, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            upper = words[:, column] >> np.uint64(32)
            labels[:, column] = (upper * np.uint64(parameter.num_outputs)) >> np.uint64(32)
    return labels


def noise_seeds(seed: int, first: int, count: int) -> np.ndarray:
    """Noise seeds of the random presets number ``first`` to ``first + count - 1`` of ``seed``: uint64 (count,).

    Raises:
        ConfigError: as ``random_labels``.
    """
    return random_words(seed, NOISE_STREAM, first, count, 1)[:, 0]


def random_words(seed: int, stream: int, first: int, count: int, width: int) -> np.ndarray:
    """Rows ``first`` to ``first + count - 1`` of an endless table of random words, uint64 (count, width).

    Philox-4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a counter into
    words: the key is seed and stream, and each row has its own stretch of the counter.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"the seed is {seed}, not from 0 to 2**64 - 1")
    if first < 0 or count < 0:
        raise ConfigError(f"presets are numbered from 0: first is {first}, count is {count}")
    counts_per_row = -(-width // WORDS_PER_COUNT)
    key = np.array([seed, stream], np.uint64)
    words = np.random.Philox(key=key, counter=first * counts_per_row).random_raw(
        count * counts_per_row * WORDS_PER_COUNT
    )
    return words.reshape(count, counts_per_row * WORDS_PER_COUNT)[:, :width]


def preset_to_json(table: ParameterTable, settings_row: np.ndarray, **extra: Any) -> dict[str, Any]:
    """A preset as plain JSON values, for people to read and change.

    Args:
        table: whose parameters the row holds.
        settings_row: float32 (parameters,), in units.
        extra: further entries beside ``format`` and ``parameters``.

    Returns:
        ``{"format": "synthray-preset/1", "parameters": {"filter_cutoff": {"value": 812.4, "unit": "Hz"}, …}}``, numbers
        to six significant digits.

    Raises:
        SoundError: the row does not fit the table.
    """
    row = np.asarray(settings_row, np.float64)
    if row.shape != (len(table),):
        raise SoundError(f"a preset of this table has {len(table)} settings, not the shape {row.shape}")
    parameters = {p.name: _entry(p, value) for p, value in zip(table.parameters, row, strict=True)}
    return {"format": FORMAT, **extra, "parameters": parameters}


def _entry(parameter: Range | Choice | Constant, value: float) -> dict[str, Any]:
    if not math.isfinite(value):
        raise SoundError(f"{parameter.name} is {value}, not a number")
    if isinstance(parameter, Choice):
        if value not in range(len(parameter.values)):
            raise SoundError(f"{parameter.name} is {value:g}, not the index of one of {', '.join(parameter.values)}")
        return {"value": parameter.values[int(value)]}
    entry = {"value": float(f"{value:.6g}")}
    return {**entry, "unit": parameter.unit} if parameter.unit else entry


def preset_from_json(table: ParameterTable, preset: Mapping[str, Any]) -> np.ndarray:
    """Settings, float32 (parameters,), from what ``preset_to_json`` wrote and a person may have changed.

    A plain number or name stands as well as ``{"value": …}``; the unit is for reading and not converted. The service's
    answer to ``:match``, which holds a preset beside other things, is read as the preset in it.

    Raises:
        SoundError: a parameter is missing, unknown or not what the table allows; the message names it.
    """
    if isinstance(preset, Mapping):
        preset = preset.get("preset", preset)
    parameters = preset.get("parameters") if isinstance(preset, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise SoundError('a preset is an object with the entry "parameters", which holds each parameter by its name')
    if preset.get("format", FORMAT) != FORMAT:
        raise SoundError(f"the preset's format is {preset['format']!r}, not {FORMAT!r}")
    unknown = [name for name in parameters if name not in table.index]
    missing = [name for name in table.index if name not in parameters]
    if unknown or missing:
        told = f"unknown: {', '.join(map(str, unknown)) or 'none'}; missing: {', '.join(missing) or 'none'}"
        raise SoundError(f"the preset's parameters are not those of the instrument ({told})")
    return np.array([_setting(p, parameters[p.name]) for p in table.parameters], np.float32)


def _setting(parameter: Range | Choice | Constant, entry: Any) -> float:
    """The number that stands for ``entry`` in settings."""
    value = entry
    if isinstance(entry, Mapping):
        value, unit = entry.get("value"), getattr(parameter, "unit", "")
        if entry.get("unit", unit) != unit:
            raise SoundError(f"{parameter.name} has the unit {entry['unit']!r}, not {unit!r}")
    if isinstance(parameter, Choice):
        if value not in parameter.values:
            raise SoundError(f"{parameter.name} is {value!r}, not one of {', '.join(parameter.values)}")
        return parameter.values.index(value)
    return _within(parameter, _number(parameter.name, value))


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
        return float(value)
    raise SoundError(f"{name} is {value!r:.40}, not a number")


def _within(parameter: Range | Constant, value: float) -> float:
    """``value``, put onto the end of the range where rounding to six digits took it beyond; any for a constant."""
    if isinstance(parameter, Constant):
        return value
    rounding = 1e-5 * max(abs(parameter.minimum), abs(parameter.maximum))
    if not parameter.minimum - rounding <= value <= parameter.maximum + rounding:
        allowed = f"{parameter.minimum:g} to {parameter.maximum:g} {parameter.unit}".rstrip()
        raise SoundError(f"{parameter.name} is {value:g}, outside of {allowed}")
    return min(max(value, parameter.minimum), parameter.maximum)
