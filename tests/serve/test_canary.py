"""The canary: its share of the requests, its label, and models that cannot be one. No weights are loaded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthray.errors import ConfigError, NotFound
from synthray.model.registry import promote
from synthray.model.saved import read_card
from synthray.serve.models.canary import Share
from synthray.serve.models.hot_swap import HotSwapModels
from synthray.serve.models.served import choose
from tests.model.files import write_model


@pytest.mark.parametrize(
    ("percent", "requests", "expected"), [(10, 100, 10), (0, 100, 0), (100, 7, 7), (0.5, 1000, 5), (33, 100, 33)]
)
def test_share_takes_exactly_its_percentage(percent: float, requests: int, expected: int) -> None:
    share = Share(percent)
    assert sum(share.takes_next() for _ in range(requests)) == expected


def test_share_is_spread_evenly() -> None:
    share = Share(10)
    assert [number for number in range(1, 31) if share.takes_next()] == [10, 20, 30]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models 1 and 2."""
    for number in (1, 2):
        write_model(tmp_path, f"a/model_{number}.keras", b"%d" % number, number)
    return tmp_path


def load_card(uri: str) -> SimpleNamespace:
    card = read_card(uri)
    return SimpleNamespace(card=replace(card, feature_shape=(9, 9)) if "other" in uri else card)


def load(settings: dict[str, object]) -> HotSwapModels:
    models = HotSwapModels(0, load_card)
    asyncio.run(models.load(settings))
    return models


def test_canary_answers_its_share_and_its_label_and_number(folder: Path) -> None:
    promote(f"{folder}/a/model_1.keras", str(folder))
    models = load({"model": str(folder), "canary": f"{folder}/a/model_2.keras", "canary_percent": 25})
    assert [(served.version, served.label) for served in models.served] == [(1, "stable"), (2, "canary")]
    assert [choose(models).label for _ in range(8)] == (["stable"] * 3 + ["canary"]) * 2
    assert {choose(models, predicts=False).label for _ in range(8)} == {"stable"}
    assert {choose(models, version="2").label for _ in range(8)} == {"canary"}
    assert {choose(models, label="stable").version for _ in range(8)} == {1}


def test_canary_missing_or_of_other_features_fails_at_start(folder: Path) -> None:
    other = write_model(folder, "other/model_3.keras")
    with pytest.raises(NotFound, match=r"none\.keras"):
        load({"model": str(folder), "canary": f"{folder}/none.keras"})
    with pytest.raises(ConfigError, match=r"canary model_3: its features \(fft, \(9, 9\)\) or parameters differ"):
        load({"model": f"{folder}/a/model_1.keras", "canary": other})


def test_canary_answers_no_share_while_the_promoted_model_takes_other_features(folder: Path) -> None:
    models = load({"model": f"{folder}/a/model_1.keras", "canary": f"{folder}/a/model_2.keras", "canary_percent": 100})
    assert choose(models).label == "canary"
    models.stable = replace(models.stable, predictor=load_card(write_model(folder, "other/model_3.keras")))
    assert choose(models).label == "stable"
    assert choose(models, label="canary").predictor.card.name == "model_2"
