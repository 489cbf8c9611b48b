"""The model of the moment and the place that it follows. The models are made of cards alone: nothing is loaded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthray.errors import ConfigError, ModelError, NotFound, StorageError
from synthray.model.registry import promote, rollback
from synthray.model.saved import read_card
from synthray.serve import hot_swap as current
from synthray.serve.hot_swap import HotSwapModel
from tests.model.files import write_model

SOON_S = 5.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Models 1, 2 and, the newest, 3."""
    for number in (1, 2, 3):
        write_model(tmp_path, f"a/model_{number}.keras", b"%d" % number, number)
    return tmp_path


def load(uri: str) -> SimpleNamespace:
    return SimpleNamespace(card=read_card(uri))


def following(body: Callable[[HotSwapModel], Awaitable[None]], load: Callable = load) -> None:
    async def run() -> None:
        await body(HotSwapModel(0.01, load))

    asyncio.run(run())


async def becomes(model: HotSwapModel, name: str, failed: str | None = None) -> None:
    """Wait until ``name`` answers, and what has failed is, or holds, ``failed``."""
    deadline = time.monotonic() + SOON_S
    while True:
        told = model.failed if failed is None else failed in (model.failed or "")
        if model.predictor.card.name == name and told == (None if failed is None else True):
            return
        assert time.monotonic() < deadline, (model.predictor.card.name, model.failed)
        await asyncio.sleep(0.01)


def test_what_is_promoted_answers_and_what_was_before_after_a_rollback(place: Path) -> None:
    async def body(model: HotSwapModel) -> None:
        await model.take({"model": str(place)})
        assert model.predictor.card.name == "model_3"
        write_model(place, "a/model_4.keras", b"4", 4)
        await asyncio.sleep(0.1)
        assert model.predictor.card.name == "model_3"  # what is trained is not promoted by that
        for number in (1, 2):
            promote(f"{place}/a/model_{number}.keras", str(place))
            await becomes(model, f"model_{number}")
        rollback(str(place))
        await becomes(model, "model_1")

    following(body)


def test_one_file_is_followed_by_nothing_unless_a_place_is_named(place: Path) -> None:
    first = f"{place}/a/model_1.keras"

    async def body(model: HotSwapModel) -> None:
        await model.take({"model": str(place)})
        await model.take({"model": first})
        promote(f"{place}/a/model_2.keras", str(place))
        await asyncio.sleep(0.1)
        assert model.predictor.card.name == "model_1"
        await model.take({"model": first, "follow": str(place)})
        assert model.predictor.card.name == "model_2"
        promote(f"{place}/a/model_3.keras", str(place))
        await becomes(model, "model_3")

    following(body)


def test_trouble_leaves_the_model_in_place_is_told_once_and_passes(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_load(uri: str) -> SimpleNamespace:
        if uri.endswith("model_2.keras"):
            raise ModelError("model_2 is damaged")
        return load(uri)

    away = threading.Event()
    calls = 0

    def promoted(place: str) -> object:
        nonlocal calls
        calls += 1
        if away.is_set():
            raise StorageError(f"the store is away, after {calls} tries")
        return original(place)

    original = current.promoted
    monkeypatch.setattr(current, "promoted", promoted)
    promote(f"{place}/a/model_1.keras", str(place))

    async def body(model: HotSwapModel) -> None:
        await model.take({"model": str(place)})
        promote(f"{place}/a/model_2.keras", str(place))
        await becomes(model, "model_1", failed="model_2 is damaged")
        await asyncio.sleep(0.1)
        rollback(str(place))
        await becomes(model, "model_1")
        away.set()
        await becomes(model, "model_1", failed="the store is away")
        await asyncio.sleep(0.1)
        away.clear()
        await becomes(model, "model_1")
        promote(f"{place}/a/model_3.keras", str(place))
        await becomes(model, "model_3")

    with caplog.at_level(logging.WARNING, "ray.serve"):
        following(body, failing_load)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0] == "still serving model_1, because the new model failed: model_2 is damaged"
    assert told[1].startswith("still serving model_1, because the new model failed: the store is away, after ")


class SlowLoad:
    """Loads model_2 once it is told to."""

    def __init__(self) -> None:
        self.loading, self.go_on = threading.Event(), threading.Event()

    def __call__(self, uri: str) -> SimpleNamespace:
        if uri.endswith("model_2.keras"):
            self.loading.set()
            assert self.go_on.wait(SOON_S)
        return load(uri)


def test_while_one_is_loaded_the_other_answers(place: Path) -> None:
    slow = SlowLoad()

    promote(f"{place}/a/model_1.keras", str(place))

    async def body(model: HotSwapModel) -> None:
        await model.take({"model": str(place)})
        promote(f"{place}/a/model_2.keras", str(place))
        assert await asyncio.to_thread(slow.loading.wait, SOON_S)
        assert (model.predictor.card.name, model.failed) == ("model_1", None)
        slow.go_on.set()
        await becomes(model, "model_2")

    following(body, slow)


def test_what_is_configured_counts_more_than_what_is_being_loaded(place: Path) -> None:
    slow = SlowLoad()

    async def body(model: HotSwapModel) -> None:
        await model.take({"model": str(place)})
        promote(f"{place}/a/model_2.keras", str(place))
        assert await asyncio.to_thread(slow.loading.wait, SOON_S)
        await model.take({"model": f"{place}/a/model_1.keras"})
        slow.go_on.set()
        await asyncio.sleep(0.1)
        assert model.predictor.card.name == "model_1"

    following(body, slow)


def test_a_first_model_that_cannot_be_is_raised_and_a_later_one_told(place: Path) -> None:
    async def body(model: HotSwapModel) -> None:
        with pytest.raises(NotFound, match="there is no model"):
            await model.take({"model": f"{place}/none.keras"})
        with pytest.raises(ConfigError, match=r"user_config is \{'modle': ''\}, expected"):
            await model.take({"modle": ""})
        assert model.predictor is None
        await model.take({"model": f"{place}/a/model_1.keras"})
        for config, reason in (({}, "user_config is {}"), ({"model": f"{place}/none.keras"}, "there is no model")):
            await model.take(config)
            assert model.predictor.card.name == "model_1"
            assert reason in model.failed

    following(body)
