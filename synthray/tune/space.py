"""What a search may try: flags such as ``1e-4:1e-1`` and ``128,256,512``, and the settings that come of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import qmc

from synthray.errors import ConfigError
from synthray.train.config import LEARNING_RATES, TrainConfig

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
}
"""The settings that can be searched, and what their values are."""
DEFAULT_SPACE = {"network": "notebook,log", "width": "128,256,512", "optimizer": "sgd,adamw"}
"""What is tried of a setting that nothing is said about; of all others, what ``TrainConfig`` has."""
LR_SPAN = 10.0
"""Nothing said about it, a learning rate is up to so many times lower or higher than the optimizer's own."""

_NONE = "none"
_WITHOUT = ("clip_norm", "ema")
_DIGITS = 3
_POINTS_AT_ONCE = 64


@dataclass(frozen=True)
class Axis:
    """One setting: one of ``choices``, or a number from ``low`` to ``high``, evenly spread over its logarithm."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 1.0
    high: float = 1.0

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.choices) == 1

    def at(self, place: float) -> Any:
        """The value at a place in [0, 1)."""
        if self.choices:
            return self.choices[int(place * len(self.choices))]
        return _rounded(self.low * (self.high / self.low) ** place)


def parse_axis(name: str, text: str) -> Axis:
    """What a flag says: ``a:b`` (from a to b, for numbers with a fraction), ``a,b,c`` (one of them) or ``a``.

    Raises:
        ConfigError: it says something else, or a value that the setting cannot have.
    """
    if ":" in text:
        return _parse_range(name, text)
    choices = tuple(_parse_value(name, part.strip()) for part in text.split(","))
    if len(set(choices)) < len(choices):
        raise ConfigError(f"{name} is {text!r}; it names a value twice")
    return Axis(name, choices)


def _parse_range(name: str, text: str) -> Axis:
    if TUNABLE[name] is not float:
        raise ConfigError(f"{name} is {text!r}; only numbers with a fraction have a range: give a,b,c")
    parts = [_parse_value(name, part.strip()) for part in text.split(":")]
    if len(parts) != 2 or None in parts or not 0 < parts[0] < parts[1]:
        raise ConfigError(f"{name} is {text!r}; a range is FROM:TO, both above 0, TO the higher one")
    return Axis(name, low=parts[0], high=parts[1])


def _parse_value(name: str, text: str) -> Any:
    if text == _NONE and name in _WITHOUT:
        return None
    kind = TUNABLE[name]
    try:
        value = kind(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}[kind] + (f" or {_NONE}" if name in _WITHOUT else "")
        raise ConfigError(f"{name} is {text!r}; it can be {what}, several (a,b,c) or a range (from:to)") from None
    TrainConfig("data", "out", **{name: value})  # which knows what it can be
    return value


def space(flags: Mapping[str, str | None]) -> tuple[Axis, ...]:
    """The axes of a search, from its flags; what is tried of a setting without one stands in ``DEFAULT_SPACE``."""
    said = DEFAULT_SPACE | {name: text for name, text in flags.items() if text is not None}
    return tuple(
        parse_axis(name, said[name]) if name in said else Axis(name, (getattr(TrainConfig, name),)) for name in TUNABLE
    )


def draw(axes: Sequence[Axis], trials: int, seed: int) -> list[dict[str, Any]]:
    """Settings to try, no two the same: ``trials`` of them, or all that there are where those are fewer.

    The points of a scrambled Halton sequence, which leave no corner out as drawing by lot does. Number *i* depends on
    the axes, the seed and *i* alone: more trials begin with those of fewer.
    """
    open_axes = [axis for axis in axes if not axis.fixed]
    # a learning rate of None stands for what the optimizer learns with: it is searched around that
    rate = [Axis("", low=1 / LR_SPAN, high=LR_SPAN)] if Axis("learning_rate", (None,)) in axes else []
    fixed = {axis.name: axis.choices[0] for axis in axes if axis.fixed}
    wanted = trials
    if not rate and all(axis.choices for axis in open_axes):
        wanted = min(trials, math.prod(len(axis.choices) for axis in open_axes))
    points = qmc.Halton(len(open_axes) + len(rate) or 1, rng=seed)
    found: list[dict[str, Any]] = []
    while len(found) < wanted:
        before = len(found)
        for point in points.random(_POINTS_AT_ONCE).tolist():
            settings = fixed | {axis.name: axis.at(place) for axis, place in zip(open_axes, point, strict=False)}
            if rate:
                own = LEARNING_RATES[settings["optimizer"]]
                settings["learning_rate"] = _rounded(own * rate[0].at(point[-1]))
            if settings not in found:
                found.append({name: settings[name] for name in TUNABLE})
        if len(found) == before:  # a narrow range has few values of so many digits
            break
    return found[:wanted]


def _rounded(value: float) -> float:
    """For people to read and to type."""
    return float(f"{value:.{_DIGITS}g}")
