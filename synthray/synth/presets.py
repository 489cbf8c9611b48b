"""Random presets, each a pure function of a seed and its index, and presets as JSON for people.

Preset arrays are described in ``parameters.py``, rendering is in ``voice.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.errors import ConfigError, SoundError, shown
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

FORMAT = "synthray-preset/1"
LABELS_STREAM, NOISE_STREAM, REDRAWN_STREAM = 0, 1, 2
LARGEST_NUMBER = 1e30  # in a preset; float32 ends at 3e38
WORDS_PER_COUNT = 4  # Philox makes four 64-bit words from each value of its counter


def random_labels(
    table: ParameterTable, seed: int, first: int, count: int, redrawn: int = 0
) -> npt.NDArray[np.float32]:
    """Return the labels of the random presets ``first`` to ``first + count - 1`` of a seed.

    Preset *i* depends only on the seed, *i*, the table and ``redrawn``. Ranges are uniform over [0, 1) in steps of
    2**-24, or over the positions of their own steps. Choices are uniform over their classes, to one part in 2**30.

    Args:
        table: the parameters.
        seed: which sequence of presets.
        first: number of the first preset.
        count: how many presets.
        redrawn: how often these presets have been replaced by other ones.

    Returns:
        float32 (count, learned): positions in [0, 1] and indices of classes.

    Raises:
        ConfigError: the seed, ``first`` or ``count`` is negative, or the seed needs more than 64 bits.
    """
    learned = len(table.learned)
    stream = LABELS_STREAM if redrawn == 0 else REDRAWN_STREAM + redrawn - 1
    words = random_words(seed, stream, first, count, learned)
    labels = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    for column, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            labels[:, column] = _below(parameter.num_outputs, words[:, column])
        elif parameter.step:
            labels[:, column] = _below(parameter.num_steps + 1, words[:, column]) / parameter.num_steps
    return labels


def _below(count: int, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a whole number below ``count`` for each random word."""
    return ((words >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)


def noise_seeds(seed: int, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Return noise seeds of the random presets ``first`` to ``first + count - 1``, uint64 (count,).

    Raises:
        ConfigError: as ``random_labels``.
    """
    return random_words(seed, NOISE_STREAM, first, count, 1)[:, 0]


def random_words(seed: int, stream: int, first: int, count: int, width: int) -> npt.NDArray[np.uint64]:
    """Return rows ``first`` to ``first + count - 1`` of an endless random table, uint64 (count, width).

    Philox-4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") computes words from a key and a
    counter. The key is seed and stream, and each row has its own range of the counter.

    Raises:
        ConfigError: as ``random_labels``.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed is {seed}. It must be from 0 to 2**64 - 1.")
    if first < 0 or count < 0:
        raise ConfigError(f"first is {first} and count is {count}; neither may be negative")
    counts_per_row = -(-width // WORDS_PER_COUNT)
    key = np.array([seed, stream], np.uint64)
    words = np.random.Philox(key=key, counter=first * counts_per_row).random_raw(
        count * counts_per_row * WORDS_PER_COUNT
    )
    return words.reshape(count, counts_per_row * WORDS_PER_COUNT)[:, :width]


def preset_to_json(table: ParameterTable, settings_row: npt.ArrayLike, **extra: Any) -> dict[str, Any]:
    """Return a preset as plain JSON values, for people to read and change.

    Args:
        table: the parameters of the row.
        settings_row: float32 (parameters,), in human units.
        extra: entries in addition to ``format`` and ``parameters``.

    Returns:
        ``{"format": "synthray-preset/1", "parameters": {"filter_cutoff": {"value": 812.4, "unit": "Hz"}, …}}``, numbers
        to six significant digits.

    Raises:
        SoundError: the row does not fit the table.
    """
    row = np.asarray(settings_row, np.float64)
    if row.shape != (len(table),):
        raise SoundError(f"the preset has the shape {row.shape}, not one row of {len(table)} settings")
    parameters = {p.name: _entry(p, value) for p, value in zip(table.parameters, row, strict=True)}
    return {"format": FORMAT, **extra, "parameters": parameters}


def _entry(parameter: Range | Choice | Constant, value: float) -> dict[str, Any]:
    if not math.isfinite(value):
        raise SoundError(f"{parameter.name} is {value}, not a number")
    if isinstance(parameter, Choice):
        if value not in range(len(parameter.values)):
            names = ", ".join(parameter.values)
            raise SoundError(f"{parameter.name} is {value:g}. It must be the index of one of {names}.")
        return {"value": parameter.values[int(value)]}
    unit = {"unit": parameter.unit} if parameter.unit else {}
    return {"value": float(f"{value:.6g}"), **unit}


def preset_from_json(table: ParameterTable, preset: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Return the settings, float32 (parameters,), of a preset as JSON.

    An entry may be ``{"value": …}`` or a plain number or name. Units are checked, not converted. The service's answer
    to ``:match``, which has the preset as an entry, is accepted too.

    Raises:
        SoundError: a parameter is missing, unknown or outside of its range.
    """
    if isinstance(preset, Mapping):
        preset = preset.get("preset", preset)
    parameters = preset.get("parameters") if isinstance(preset, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise SoundError('a preset is an object with the entry "parameters", an object of values by name')
    if preset.get("format", FORMAT) != FORMAT:
        raise SoundError(f"the preset's format is {shown(preset['format'])}, not {FORMAT!r}")
    unknown = [name for name in parameters if name not in table.index]
    missing = [name for name in table.index if name not in parameters]
    if unknown or missing:
        difference = f"unknown: {shown(unknown) if unknown else 'none'}; missing: {', '.join(missing) or 'none'}"
        raise SoundError(f"the preset and the instrument have different parameters ({difference})")
    return np.array([_setting(p, parameters[p.name]) for p in table.parameters], np.float32)


def _setting(parameter: Range | Choice | Constant, entry: Any) -> float:
    """Return the number that represents a JSON entry in settings."""
    value = entry
    if isinstance(entry, Mapping):
        value, unit = entry.get("value"), getattr(parameter, "unit", "")
        if entry.get("unit", unit) != unit:
            raise SoundError(f"{parameter.name} has the unit {shown(entry['unit'])}, not {unit!r}")
    if isinstance(parameter, Choice):
        if value not in parameter.values:
            raise SoundError(f"{parameter.name} is {shown(value)}. It must be one of: {', '.join(parameter.values)}.")
        return parameter.values.index(value)
    return _within(parameter, _number(parameter.name, value))


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
        return float(value)
    raise SoundError(f"{name} is {shown(value)}, not a number")


def _within(parameter: Range | Constant, value: float) -> float:
    """Return ``value``, clipped to the parameter's range. An excess larger than rounding to six digits is an error."""
    if isinstance(parameter, Constant):
        return value
    rounding = 1e-5 * max(abs(parameter.minimum), abs(parameter.maximum))
    if not parameter.minimum - rounding <= value <= parameter.maximum + rounding:
        allowed = f"{parameter.minimum:g} to {parameter.maximum:g} {parameter.unit}".rstrip()
        raise SoundError(f"{parameter.name} is {value:g}. It must be from {allowed}.")
    if parameter.step:
        nearest = float(parameter.from_unit_interval(parameter.to_unit_interval(value)))
        if abs(value - nearest) > rounding:
            raise SoundError(
                f"{parameter.name} is {value:g}, which is not in steps of {parameter.step:g} {parameter.unit} "
                f"from {parameter.minimum:g}. The nearest is {nearest:g}."
            )
        return nearest
    return min(max(value, parameter.minimum), parameter.maximum)
