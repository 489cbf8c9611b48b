"""Settings from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthray.errors import ConfigError, NotFound
from synthray.train.config import SETTINGS, TrainConfig, load_settings


def test_what_a_training_writes_into_its_card_can_be_read_back(tmp_path: Path) -> None:
    config = TrainConfig("data", "out", optimizer="adamw", ema=0.99, width=64)
    (tmp_path / "best.json").write_text('{"optimizer": "adamw", "ema": 0.99, "width": 64}')
    settings = load_settings(str(tmp_path / "best.json"))
    assert TrainConfig("data", "out", **settings) == config
    assert settings.keys() <= SETTINGS
    assert config.learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "best.json is not JSON"),
        ("[1]", "best.json holds no JSON object"),
        ('{"widht": 3, "data": "x"}', "best.json sets data, widht; it can set batch_size, "),
        ('{"epochs": "3"}', r'best.json: epochs is "3"; it must be int'),
        ('{"jit": 1}', r"best.json: jit is 1; it must be bool"),
        ('{"ema": [0.9]}', r"best.json: ema is \[0.9\]; it must be float or null"),
    ],
)
def test_what_is_no_file_of_settings_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(str(tmp_path / "best.json"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.json"):
        load_settings(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'; it can be sgd, adamw"),
        ({"schedule": "steps"}, "schedule is 'steps'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"ema": 1.0}, r"ema is 1\.0; it must be between 0 and 1"),
        ({"clip_norm": 0.0}, r"clip_norm is 0\.0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig("data", "out", **changes)
