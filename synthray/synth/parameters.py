"""Parameters, parameter tables, and the conversion between units and [0, 1].

There are three kinds. A ``Range`` is learned as a number in [0, 1], a ``Choice`` as one of several classes, and a
``Constant`` is not learned. The instrument's table is in ``instrument.py``; data sets and models store theirs as JSON.

Presets are arrays with one row per sound, in two forms:

- *labels*, float32 ``(sounds, learned)``: a range in [0, 1], a choice as the index of its class. For learning.
- *settings*, float32 ``(sounds, parameters)``: a range or a constant in its unit, a choice as the index of its class.
  For rendering, and for people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from synthray.errors import ConfigError, DataError

Curve = Literal["linear", "log"]


# In double precision, NumPy's own exp and log differ in the last bit between types of CPU. Computed in extended
# precision and then rounded, a preset is the same everywhere.
def _exp(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(np.asarray(x, np.longdouble)), np.float64)


def _log(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(np.asarray(x, np.longdouble)), np.float64)


@dataclass(frozen=True)
class Range:
    """A number between ``minimum`` and ``maximum``, both in ``unit``."""

    kind: ClassVar[str] = "range"
    name: str
    minimum: float = 0.0
    maximum: float = 1.0
    curve: Curve = "linear"
    """``"log"`` makes equal steps in [0, 1] equal ratios, as the ear hears frequency and time."""
    unit: str = ""
    description: str = ""
    step: float = 0.0
    """Difference between neighbouring values, which start at the minimum; 0 if every value is allowed."""

    def __post_init__(self) -> None:
        if self.curve not in ("linear", "log"):
            raise ConfigError(f"{self.name}: curve is {self.curve!r}, not 'linear' or 'log'")
        if not (np.isfinite([self.minimum, self.maximum]).all() and self.minimum < self.maximum):
            raise ConfigError(f"{self.name}: the minimum {self.minimum} is not below the maximum {self.maximum}")
        if self.curve == "log" and self.minimum <= 0:
            raise ConfigError(f"{self.name}: a log curve needs a minimum above 0, not {self.minimum}")
        if self.step:
            steps = (self.maximum - self.minimum) / self.step
            if self.curve == "log" or not (self.step > 0 and steps == round(steps)):
                raise ConfigError(f"{self.name}: the step {self.step} does not divide a linear range into equal parts")

    @property
    def num_outputs(self) -> int:
        """Outputs of a network's head for this parameter."""
        return 1

    @property
    def num_steps(self) -> int:
        """Steps from the minimum to the maximum; 0 if every value is allowed."""
        return round((self.maximum - self.minimum) / self.step) if self.step else 0

    def from_unit_interval(self, position: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the values, in ``unit``, of positions in [0, 1]; with a step, the nearest allowed values."""
        exact = np.asarray(position, np.float64)
        if self.step:
            exact = np.rint(exact * self.num_steps) / self.num_steps
        value: npt.NDArray[np.float64]
        if self.curve == "log":
            value = self.minimum * _exp(exact * _log(self.maximum / self.minimum))
        else:
            value = self.minimum + exact * (self.maximum - self.minimum)
        return value

    def to_unit_interval(self, value: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the positions in [0, 1] of values in ``unit``."""
        value = np.asarray(value, np.float64)
        position: npt.NDArray[np.float64]
        if self.curve == "log":
            position = _log(value / self.minimum) / _log(self.maximum / self.minimum)
        else:
            position = (value - self.minimum) / (self.maximum - self.minimum)
        return position


@dataclass(frozen=True)
class Choice:
    """One of several named ``values``, learned as a class."""

    kind: ClassVar[str] = "choice"
    name: str
    values: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values or len(set(self.values)) != len(self.values):
            raise ConfigError(f"{self.name}: the values {self.values} are empty or repeat")

    @property
    def num_outputs(self) -> int:
        """Outputs of a network's head for this parameter."""
        return len(self.values)


@dataclass(frozen=True)
class Constant:
    """A setting that is neither randomised nor learned, but that the instrument obeys."""

    kind: ClassVar[str] = "constant"
    name: str
    value: float = 0.0
    unit: str = ""
    description: str = ""


Parameter = Range | Choice | Constant
_KINDS: dict[str, type[Parameter]] = {cls.kind: cls for cls in (Range, Choice, Constant)}


def _texts(parameter: Parameter) -> tuple[str, ...]:
    if isinstance(parameter, Choice):
        return (parameter.name, parameter.description, *parameter.values)
    value = str(parameter.value) if isinstance(parameter, Constant) else ""
    return (parameter.name, parameter.description, parameter.unit, value)


@dataclass(frozen=True)
class ParameterTable:
    """All parameters of an instrument, in the order of files and arrays."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        seen: set[str] = set()
        for index, parameter in enumerate(self.parameters):
            if not parameter.name:
                raise DataError(f"parameter {index}: the name is empty. Give it a name.")
            for text in _texts(parameter):
                # Some pickles contain surrogates, which UTF-8 cannot express.
                if any("\ud800" <= character <= "\udfff" for character in text):
                    raise DataError(f"parameter {index}: {text!r} holds half of a character. Write it as Unicode.")
            if parameter.name in seen:
                raise DataError(f"parameter {index}: the name {parameter.name!r} appears twice")
            seen.add(parameter.name)
        if not self.learned:
            raise DataError(f"the table has nothing to learn: all {len(self.parameters)} parameters are constants")

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[self.index[name]]

    @cached_property
    def index(self) -> dict[str, int]:
        """Column of each parameter in *settings*, by name."""
        return {parameter.name: i for i, parameter in enumerate(self.parameters)}

    @cached_property
    def learned(self) -> tuple[Range | Choice, ...]:
        """Ranges and choices in the table's order, which are the columns of *labels*."""
        return tuple(p for p in self.parameters if not isinstance(p, Constant))

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """Ranges in the table's order."""
        return tuple(p for p in self.parameters if isinstance(p, Range))

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Choices in the table's order."""
        return tuple(p for p in self.parameters if isinstance(p, Choice))

    @cached_property
    def label_index(self) -> dict[str, int]:
        """Column of each learned parameter in *labels*, by name."""
        return {parameter.name: i for i, parameter in enumerate(self.learned)}

    def labels_to_settings(self, labels: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return settings ``(sounds, parameters)`` for labels ``(sounds, learned)``, with the table's constants."""
        labels = np.asarray(labels)
        settings = np.empty((len(labels), len(self)), np.float32)
        for column, parameter in enumerate(self.parameters):
            if isinstance(parameter, Constant):
                settings[:, column] = parameter.value
                continue
            label = labels[:, self.label_index[parameter.name]]
            settings[:, column] = parameter.from_unit_interval(label) if isinstance(parameter, Range) else label
        return settings

    def settings_to_labels(self, settings: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return labels ``(sounds, learned)`` for settings ``(sounds, parameters)``, without the constants."""
        settings = np.asarray(settings)
        labels = np.empty((len(settings), len(self.learned)), np.float32)
        for column, parameter in enumerate(self.learned):
            setting = settings[:, self.index[parameter.name]]
            labels[:, column] = parameter.to_unit_interval(setting) if isinstance(parameter, Range) else setting
        return labels

    def to_json(self) -> list[dict[str, Any]]:
        """Return the table as plain JSON values."""
        return [{"kind": p.kind, **asdict(p)} for p in self.parameters]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> ParameterTable:
        """Return the table that ``to_json`` describes.

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
                raise DataError(f"parameter {number} of the table: {row!r} is invalid ({error})") from None
        return cls(tuple(parameters))
