"""Parameters and the table that holds them: names, kinds, ranges, units, and the way to [0, 1] and back.

Three kinds, as in the notebook that this follows: a ``Range`` is learned as a number in [0, 1], a ``Choice`` as
one class among several, a ``Constant`` not at all. A table is data: the instrument's own stands in
``instrument.py``, a data set and a model each carry theirs as JSON.

Two forms of a preset, each an array with one row a sound:

- *labels*, float32 ``(sounds, learned)``: a range in [0, 1], a choice as the index of its class. For learning.
- *settings*, float32 ``(sounds, parameters)``: a range and a constant in the parameter's unit, a choice as the
  index of its class. For rendering, and for people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from synthray.errors import ConfigError, DataError

Curve = Literal["linear", "log"]


@dataclass(frozen=True)
class Range:
    """A number between ``minimum`` and ``maximum``, both in ``unit``.

    On the ``log`` curve equal steps in [0, 1] are equal ratios, as the ear hears frequency and time.
    """

    kind: ClassVar[str] = "range"
    name: str
    minimum: float = 0.0
    maximum: float = 1.0
    curve: Curve = "linear"
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if self.curve not in ("linear", "log"):
            raise ConfigError(f"{self.name}: curve is {self.curve!r}, not 'linear' or 'log'")
        if not (np.isfinite([self.minimum, self.maximum]).all() and self.minimum < self.maximum):
            raise ConfigError(f"{self.name}: minimum {self.minimum} is not below maximum {self.maximum}")
        if self.curve == "log" and self.minimum <= 0:
            raise ConfigError(f"{self.name}: a log curve needs a minimum above 0, not {self.minimum}")

    @property
    def num_outputs(self) -> int:
        """Outputs that a network's head for this parameter has."""
        return 1

    def from_unit_interval(self, position: np.ndarray | float) -> np.ndarray:
        """Position in [0, 1] to a value in ``unit``, float64."""
        position = np.asarray(position, np.float64)
        if self.curve == "log":
            return self.minimum * np.exp(position * np.log(self.maximum / self.minimum))
        return self.minimum + position * (self.maximum - self.minimum)

    def to_unit_interval(self, value: np.ndarray | float) -> np.ndarray:
        """Value in ``unit`` to its position in [0, 1], float64; the inverse of ``from_unit_interval``."""
        value = np.asarray(value, np.float64)
        if self.curve == "log":
            return np.log(value / self.minimum) / np.log(self.maximum / self.minimum)
        return (value - self.minimum) / (self.maximum - self.minimum)


@dataclass(frozen=True)
class Choice:
    """One of several named ``values``; learned as a class."""

    kind: ClassVar[str] = "choice"
    name: str
    values: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values or len(set(self.values)) != len(self.values):
            raise ConfigError(f"{self.name}: values {self.values} are empty or repeat themselves")

    @property
    def num_outputs(self) -> int:
        """Outputs that a network's head for this parameter has."""
        return len(self.values)


@dataclass(frozen=True)
class Constant:
    """A setting that is never randomised and so never learned; the instrument honours its ``value``."""

    kind: ClassVar[str] = "constant"
    name: str
    value: float = 0.0
    unit: str = ""
    description: str = ""

    @property
    def num_outputs(self) -> int:
        """A constant has no head."""
        return 0


Parameter = Range | Choice | Constant
_KINDS: dict[str, type[Parameter]] = {cls.kind: cls for cls in (Range, Choice, Constant)}


@dataclass(frozen=True)
class ParameterTable:
    """All parameters of an instrument, in the order in which files and arrays hold them."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        seen: set[str] = set()
        for index, parameter in enumerate(self.parameters):
            if not parameter.name or "/" in parameter.name:
                raise DataError(f"parameter {index}: the name {parameter.name!r} is empty or holds a '/'")
            if parameter.name in seen:
                raise DataError(f"parameter {index}: the name {parameter.name!r} appears twice")
            seen.add(parameter.name)
        if not self.learned:
            raise DataError(f"none of the {len(self.parameters)} parameters is a range or a choice: nothing to learn")

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[self.index[name]]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each name in the table."""
        return {parameter.name: i for i, parameter in enumerate(self.parameters)}

    @cached_property
    def learned(self) -> tuple[Range | Choice, ...]:
        """Ranges and choices, in the table's order: the columns of *labels*."""
        return tuple(p for p in self.parameters if not isinstance(p, Constant))

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        return tuple(p for p in self.parameters if isinstance(p, Range))

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return tuple(p for p in self.parameters if isinstance(p, Choice))

    @cached_property
    def label_index(self) -> dict[str, int]:
        """Column of each learned name in *labels*."""
        return {parameter.name: i for i, parameter in enumerate(self.learned)}

    def labels_to_settings(self, labels: np.ndarray) -> np.ndarray:
        """Labels ``(sounds, learned)`` to settings ``(sounds, parameters)``, float32, in each parameter's unit."""
        labels = np.asarray(labels)
        settings = np.empty((len(labels), len(self)), np.float32)
        for column, parameter in enumerate(self.parameters):
            if isinstance(parameter, Constant):
                settings[:, column] = parameter.value
                continue
            label = labels[:, self.label_index[parameter.name]]
            settings[:, column] = parameter.from_unit_interval(label) if isinstance(parameter, Range) else label
        return settings

    def settings_to_labels(self, settings: np.ndarray) -> np.ndarray:
        """Settings ``(sounds, parameters)`` to labels ``(sounds, learned)``, float32; constants are dropped."""
        settings = np.asarray(settings)
        labels = np.empty((len(settings), len(self.learned)), np.float32)
        for column, parameter in enumerate(self.learned):
            setting = settings[:, self.index[parameter.name]]
            labels[:, column] = parameter.to_unit_interval(setting) if isinstance(parameter, Range) else setting
        return labels

    def to_json(self) -> list[dict[str, Any]]:
        """The table as plain JSON values."""
        return [{"kind": p.kind, **asdict(p)} for p in self.parameters]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> ParameterTable:
        """The inverse of ``to_json``.

        Raises:
            DataError: a row has an unknown kind or field.
        """
        parameters = []
        for number, row in enumerate(rows):
            fields = dict(row)
            kind = fields.pop("kind", None)
            try:
                parameters.append(_KINDS[kind](**fields))
            except (KeyError, TypeError, ConfigError) as error:
                raise DataError(f"parameter {number} of the table cannot be read: {row!r} ({error})") from None
        return cls(tuple(parameters))
