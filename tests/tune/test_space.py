"""The search space: parsed flags and drawn settings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synthray.errors import ConfigError
from synthray.train.config import LEARNING_RATES, RECIPE, TrainConfig
from synthray.tune.space import TUNABLE, Axis, draw, parse_axis, parse_space


@pytest.mark.parametrize(
    ("name", "text", "axis"),
    [
        ("learning_rate", "1e-4:1e-1", Axis("learning_rate", low=1e-4, high=1e-1)),
        ("learning_rate", "0.01", Axis("learning_rate", (0.01,))),
        ("width", "128, 256,512", Axis("width", (128, 256, 512))),
        ("optimizer", "adamw", Axis("optimizer", ("adamw",))),
        ("clip_norm", "none,1", Axis("clip_norm", (None, 1.0))),
        ("weight_decay", "0,0.01", Axis("weight_decay", (0.0, 0.01))),
        ("ema", "0.9:0.99", Axis("ema", low=0.9, high=0.99)),
        ("normalise", "on", Axis("normalise", (True,))),
        ("normalise", "off, on", Axis("normalise", (False, True))),
    ],
)
def test_parse_axis_accepts_values_lists_and_ranges(name: str, text: str, axis: Axis) -> None:
    assert parse_axis(name, text) == axis


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("learning_rate", "1e-1:1e-4", r"learning_rate is '1e-1:1e-4'; a range is LOW:HIGH, with 0 < LOW"),
        ("weight_decay", "0:1", r"weight_decay is '0:1'; a range is LOW:HIGH, with 0 < LOW"),
        ("learning_rate", "1:2:3", "a range is LOW:HIGH"),
        ("clip_norm", "none:1", "a range is LOW:HIGH"),
        ("learning_rate", "fast", "learning_rate is 'fast'. It must be a number, a list"),
        ("learning_rate", "0.1,", "learning_rate is ''"),
        ("learning_rate", "nan", "learning_rate is nan"),
        ("clip_norm", "no", "a number or none"),
        ("width", "128:512", "width is '128:512'; ranges are for fractional numbers"),
        ("width", "2.5", "width is '2.5'. It must be a whole number"),
        ("width", "0,128", "width is 0"),
        ("width", "128,128", "names a value twice"),
        ("optimizer", "sgd,adma", "optimizer is 'adma'"),
        ("learning_rate", "none", "It must be a number"),
        ("ema", "0.5:1.5", r"ema is 1\.5"),
        ("normalise", "true", "normalise is 'true'. It must be on or off, a list"),
        ("normalise", "off:on", "ranges are for fractional numbers"),
    ],
)
def test_parse_axis_names_an_invalid_value(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_axis(name, text)


@pytest.mark.parametrize("flags", [{}, {"width": "8"}, {"network": None, "batch_size": "16,64"}])
def test_draw_without_a_network_has_the_settings_of_the_recipe(flags: dict[str, str | None]) -> None:
    drawn = draw(parse_space(flags), 9, seed=0)
    assert len({settings["learning_rate"] for settings in drawn}) == 9
    for settings in drawn:
        assert settings.items() >= RECIPE.items()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("optimizer", "sgd", "sgd"),
        ("schedule", "constant", "constant"),
        ("warmup_steps", "7", 7),
        ("clip_norm", "none", None),
        ("normalise", "off", False),
    ],
)
def test_draw_without_a_network_keeps_what_a_flag_sets(name: str, text: str, value: object) -> None:
    [settings] = draw(parse_space({name: text, "width": "8", "learning_rate": "0.1"}), 1, seed=0)
    assert settings.items() >= (RECIPE | {name: value}).items()


def test_draw_of_a_network_has_the_defaults_of_its_config() -> None:
    drawn = draw(parse_space({"network": "notebook,log"}), 40, seed=0)
    assert {(settings["network"], settings["optimizer"]) for settings in drawn} == {
        (network, optimizer) for network in ("notebook", "log") for optimizer in ("sgd", "adamw")
    }
    kept = RECIPE.keys() - {"network", "optimizer"}
    assert {name: {settings[name] for settings in drawn} for name in kept} == {
        name: {getattr(TrainConfig, name)} for name in kept
    }


@pytest.mark.parametrize("flags", [{}, {"network": "notebook,log"}])
def test_draw_returns_valid_settings(flags: dict[str, str]) -> None:
    drawn = draw(parse_space(flags), 40, seed=3)
    assert len(drawn) == 40
    for settings in drawn:
        assert settings.keys() == TUNABLE.keys()
        given = {name: value for name, value in settings.items() if value is not None}
        assert TrainConfig("data", "out", **settings).to_json().items() >= given.items()


def test_draw_without_a_flag_varies_the_optimizers_own_rate() -> None:
    drawn = draw(parse_space({"optimizer": ",".join(LEARNING_RATES)}), 300, seed=0)
    for optimizer, own in LEARNING_RATES.items():
        rates = [settings["learning_rate"] / own for settings in drawn if settings["optimizer"] == optimizer]
        assert len(rates) > 80
        assert 0.1 <= min(rates) < 0.15
        assert 7 < max(rates) <= 10


def test_draw_of_a_range_is_even_in_its_logarithm() -> None:
    drawn = draw(parse_space({"learning_rate": "1e-4:1e-1"}), 300, seed=1)
    rates = np.log10([settings["learning_rate"] for settings in drawn])
    assert np.histogram(rates, bins=3, range=(-4, -1))[0] == pytest.approx(100, abs=10)


def test_draw_of_more_trials_begins_with_those_of_fewer() -> None:
    axes = parse_space({"batch_size": "32,64"})
    assert draw(axes, 30, seed=5)[:7] == draw(axes, 7, seed=5)
    assert draw(axes, 7, seed=6) != draw(axes, 7, seed=5)


def test_draw_returns_all_settings_once_if_there_are_few() -> None:
    axes = parse_space({"network": "notebook,log", "learning_rate": "0.1,0.01", "batch_size": "32,64,128"})
    drawn = draw(axes, 1000, seed=0)
    assert len(drawn) == math.prod((2, 3, 2, 3, 2))
    assert len({tuple(settings.values()) for settings in drawn}) == len(drawn)
    assert len(draw(parse_space(dict.fromkeys(("width", "learning_rate"), "1") | {"network": "log"}), 9, seed=0)) == 2
    fixed = draw(parse_space({"network": "log", "width": "8", "optimizer": "sgd", "learning_rate": "1"}), 9, seed=0)
    assert [settings["learning_rate"] for settings in fixed] == [1.0]
