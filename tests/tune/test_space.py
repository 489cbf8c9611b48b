"""What a search tries: what flags mean, and which settings are drawn of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synthray.errors import ConfigError
from synthray.train.config import LEARNING_RATES, TrainConfig
from synthray.tune.space import TUNABLE, Axis, draw, parse_axis, space


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
    ],
)
def test_what_flags_mean(name: str, text: str, axis: Axis) -> None:
    assert parse_axis(name, text) == axis


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("learning_rate", "1e-1:1e-4", r"learning_rate is '1e-1:1e-4'; a range is FROM:TO, both above 0"),
        ("weight_decay", "0:1", r"weight_decay is '0:1'; a range is FROM:TO, both above 0"),
        ("learning_rate", "1:2:3", "a range is FROM:TO"),
        ("clip_norm", "none:1", "a range is FROM:TO"),
        ("learning_rate", "fast", "learning_rate is 'fast'; it can be a number, several"),
        ("learning_rate", "0.1,", "learning_rate is ''"),
        ("learning_rate", "nan", "learning_rate is nan. It must be finite and above 0"),
        ("clip_norm", "no", "a number or none"),
        ("width", "128:512", "width is '128:512'; only numbers with a fraction have a range"),
        ("width", "2.5", "width is '2.5'; it can be a whole number"),
        ("width", "0,128", "width is 0. It must be at least 1"),
        ("width", "128,128", "names a value twice"),
        ("optimizer", "sgd,adma", "optimizer is 'adma'. It must be one of: sgd, adamw"),
        ("learning_rate", "none", "it can be a number"),
        ("ema", "0.5:1.5", r"ema is 1\.5. It must be between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_told(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_axis(name, text)


def test_every_setting_that_is_drawn_can_be_trained() -> None:
    drawn = draw(space({}), 40, seed=3)
    assert len(drawn) == 40
    for settings in drawn:
        assert settings.keys() == TUNABLE.keys()
        assert TrainConfig("data", "out", **settings).to_json().items() >= settings.items()


def test_nothing_said_rates_lie_around_the_optimizers_own() -> None:
    drawn = draw(space({}), 200, seed=0)
    for optimizer, own in LEARNING_RATES.items():
        rates = [settings["learning_rate"] / own for settings in drawn if settings["optimizer"] == optimizer]
        assert len(rates) > 80
        assert 0.1 <= min(rates) < 0.15
        assert 7 < max(rates) <= 10


def test_a_range_is_spread_evenly_over_its_logarithm() -> None:
    drawn = draw(space({"learning_rate": "1e-4:1e-1"}), 300, seed=1)
    rates = np.log10([settings["learning_rate"] for settings in drawn])
    assert np.histogram(rates, bins=3, range=(-4, -1))[0] == pytest.approx(100, abs=10)


def test_more_trials_begin_with_those_of_fewer_and_the_seed_decides() -> None:
    axes = space({"batch_size": "32,64"})
    assert draw(axes, 30, seed=5)[:7] == draw(axes, 7, seed=5)
    assert draw(axes, 7, seed=6) != draw(axes, 7, seed=5)


def test_no_setting_is_tried_twice_and_all_are_where_there_are_few() -> None:
    axes = space({"learning_rate": "0.1,0.01", "batch_size": "32,64,128"})
    drawn = draw(axes, 1000, seed=0)
    assert len(drawn) == math.prod((2, 3, 2, 3, 2))
    assert len({tuple(settings.values()) for settings in drawn}) == len(drawn)
    assert len(draw(space(dict.fromkeys(("width", "learning_rate"), "1") | {"network": "log"}), 9, seed=0)) == 2
    fixed = draw(space({"network": "log", "width": "8", "optimizer": "sgd", "learning_rate": "1"}), 9, seed=0)
    assert [settings["learning_rate"] for settings in fixed] == [1.0]
