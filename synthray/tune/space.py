"""The search space: parses flags such as ``1e-4:1e-1`` and draws settings. Running trials is not in this package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthray.errors import ConfigError
from synthray.train.config import LEARNING_RATES, RECIPE, TrainConfig

TUNABLE: dict[str, type] = {
    "network": str,
    "width": int,
    "batch_size": int,
    "optimizer": str,
    "learning_rate": float,
    "weight_decay": float,
    "schedule": str,
    "warmup_steps": int,
    "clip_norm": float,
    "ema": float,
    "precision": str,
    "normalise": bool,
}
"""The settings that can be searched, and the types of their values."""
DEFAULT_SPACE = {"width": "128,256,512", "optimizer": "sgd,adamw"}
"""Default search space. Other settings keep their ``TrainConfig`` default. If no network is named, the settings in
``RECIPE`` keep the recipe's values instead, so that trials learn from features of any scale."""
LR_SPAN = 10.0
"""Without a flag, learning rates are the optimizer's own, divided or multiplied by up to this factor."""

ON, OFF = "on", "off"
"""Values of a flag that is true or false."""

_NONE = "none"
_CAN_BE_NONE = ("clip_norm", "ema")
_DIGITS = 3
_POINTS_PER_DRAW = 64


@dataclass(frozen=True)
class Axis:
    """The values of one setting: ``choices``, or a logarithmic range."""

    name: str
    choices: tuple[Any, ...] = ()
    """The values; empty for a range."""
    low: float = 1.0
    """Lower end of the range."""
    high: float = 1.0
    """Upper end of the range."""

    @property
    def is_fixed(self) -> bool:
        """Return whether there is only one value."""
        return len(self.choices) == 1

    def value_at(self, u: float) -> Any:
        """Return the value at a point ``u`` in [0, 1)."""
        if self.choices:
            return self.choices[int(u * len(self.choices))]
        return _rounded(self.low * (self.high / self.low) ** u)


def parse_axis(name: str, text: str) -> Axis:
    """Parse a range ``a:b``, a list ``a,b,c`` or a value ``a``.

    Raises:
        ConfigError: the text is none of them, or the setting cannot have this value.
    """
    if ":" in text:
        return _parse_range(name, text)
    choices = tuple(_parse_value(name, part.strip()) for part in text.split(","))
    if len(set(choices)) < len(choices):
        raise ConfigError(f"{name} is {text!r}; it names a value twice")
    return Axis(name, choices)


def _parse_range(name: str, text: str) -> Axis:
    if TUNABLE[name] is not float:
        raise ConfigError(f"{name} is {text!r}; ranges are for fractional numbers. Give a list (a,b,c).")
    parts = [_parse_value(name, part.strip()) for part in text.split(":")]
    if len(parts) != 2 or None in parts or not 0 < parts[0] < parts[1]:
        raise ConfigError(f"{name} is {text!r}; a range is LOW:HIGH, with 0 < LOW < HIGH")
    return Axis(name, low=parts[0], high=parts[1])


def _parse_value(name: str, text: str) -> Any:
    if text == _NONE and name in _CAN_BE_NONE:
        return None
    kind = TUNABLE[name]
    try:
        value: Any = {ON: True, OFF: False}[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        kinds = {int: "a whole number", float: "a number", bool: f"{ON} or {OFF}"}
        wanted = kinds[kind] + (f" or {_NONE}" if name in _CAN_BE_NONE else "")
        raise ConfigError(f"{name} is {text!r}. It must be {wanted}, a list (a,b,c) or a range (low:high).") from None
    TrainConfig("data", "out", **{name: value})  # raises for an invalid value
    return value


def parse_space(flags: Mapping[str, str | None]) -> tuple[Axis, ...]:
    """Return one axis for each setting of ``TUNABLE``, in that order.

    Its values come from the flag, else from ``RECIPE`` if no network is named, else from ``DEFAULT_SPACE``, else from
    ``TrainConfig``.
    """
    given = {name: text for name, text in flags.items() if text is not None}
    recipe = {} if "network" in given else RECIPE
    texts = {name: text for name, text in DEFAULT_SPACE.items() if name not in recipe} | given

    def axis(name: str) -> Axis:
        if name in texts:
            return parse_axis(name, texts[name])
        return Axis(name, (recipe.get(name, getattr(TrainConfig, name)),))

    return tuple(axis(name) for name in TUNABLE)


def draw(axes: Sequence[Axis], trials: int, seed: int) -> list[dict[str, Any]]:
    """Return ``trials`` different settings, or all possible ones if there are fewer.

    They are points of a scrambled Halton sequence, which covers the space more evenly than independent draws. Point
    *i* depends only on the axes, the seed and *i*, so a search with more trials begins with the same ones.
    """
    from scipy.stats import qmc  # imported here: it takes a second, and `synthray tune --help` does not need it

    open_axes = [axis for axis in axes if not axis.is_fixed]
    # a learning rate of None is searched around the optimizer's own
    rate_axis = [Axis("", low=1 / LR_SPAN, high=LR_SPAN)] if Axis("learning_rate", (None,)) in axes else []
    fixed = {axis.name: axis.choices[0] for axis in axes if axis.is_fixed}
    wanted = trials
    if not rate_axis and all(axis.choices for axis in open_axes):
        wanted = min(trials, math.prod(len(axis.choices) for axis in open_axes))
    sequence = qmc.Halton(len(open_axes) + len(rate_axis) or 1, rng=seed)
    drawn: list[dict[str, Any]] = []
    while len(drawn) < wanted:
        before = len(drawn)
        for point in sequence.random(_POINTS_PER_DRAW).tolist():
            settings = fixed | {axis.name: axis.value_at(u) for axis, u in zip(open_axes, point, strict=False)}
            if rate_axis:
                factor = rate_axis[0].value_at(point[-1])
                settings["learning_rate"] = _rounded(LEARNING_RATES[settings["optimizer"]] * factor)
            if settings not in drawn:
                drawn.append({name: settings[name] for name in TUNABLE})
        if len(drawn) == before:  # a narrow range has few different rounded values
            break
    return drawn[:wanted]


def _rounded(value: float) -> float:
    """Round to three significant digits, so that people can read and type the value."""
    return float(f"{value:.{_DIGITS}g}")
