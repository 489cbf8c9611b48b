"""Hot swap of the served model and the folder that it follows. Models are cards only: no weights are loaded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthray.errors import ConfigError, ModelError, NotFound, StorageError
from synthray.model.registry import promote, rollback
from synthray.model.saved import read_card
from synthray.serve.models import hot_swap
from synthray.serve.models.hot_swap import HotSwapModels
from tests.model.files import write_model

pytestmark = pytest.mark.faults

TIMEOUT_S = 5.0
SEVERAL_POLLS_S = 0.1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models 1, 2 and 3, of which 3 is the newest."""
    for number in (1, 2, 3):
        write_model(tmp_path, f"a/model_{number}.keras", b"%d" % number, number)
    return tmp_path


def load_card(uri: str) -> SimpleNamespace:
    return SimpleNamespace(card=read_card(uri))


def run_with_model(
    body: Callable[[HotSwapModels], Coroutine[Any, Any, None]], load: Callable[[str], SimpleNamespace] = load_card
) -> None:
    asyncio.run(body(HotSwapModels(0.01, load)))


async def wait_until_served(model: HotSwapModels, name: str, error: str | None = None) -> None:
    """Wait until ``name`` is served and the last error is None, or contains ``error``."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        matches = model.last_error is None if error is None else error in (model.last_error or "")
        if model.stable.predictor.card.name == name and matches:
            return
        assert time.monotonic() < deadline, (model.stable.predictor.card.name, model.last_error)
        await asyncio.sleep(0.01)


def test_follow_promotion_and_rollback_swap_the_model(folder: Path) -> None:
    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        assert (model.stable.predictor.card.name, model.stable.version) == ("model_3", 3)
        write_model(folder, "a/model_4.keras", b"4", 4)
        await asyncio.sleep(SEVERAL_POLLS_S)
        assert model.stable.predictor.card.name == "model_3"  # a new file is not a promotion
        for number in (1, 2):
            promote(f"{folder}/a/model_{number}.keras", str(folder))
            await wait_until_served(model, f"model_{number}")
            assert model.stable.version == number
        rollback(str(folder))
        await wait_until_served(model, "model_1")

    run_with_model(body)


def test_load_file_follows_only_a_named_folder(folder: Path) -> None:
    first = f"{folder}/a/model_1.keras"

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        await model.load({"model": first})
        promote(f"{folder}/a/model_2.keras", str(folder))
        await asyncio.sleep(SEVERAL_POLLS_S)
        assert model.stable.predictor.card.name == "model_1"
        await model.load({"model": first, "follow": str(folder)})
        assert model.stable.predictor.card.name == "model_2"
        promote(f"{folder}/a/model_3.keras", str(folder))
        await wait_until_served(model, "model_3")

    run_with_model(body)


def test_follow_errors_keep_the_model_and_are_logged_once(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_unless_corrupt(uri: str) -> SimpleNamespace:
        if uri.endswith("model_2.keras"):
            raise ModelError("model_2 is corrupt")
        return load_card(uri)

    unreachable = threading.Event()
    polls = 0

    def poll(folder: str) -> object:
        nonlocal polls
        polls += 1
        if unreachable.is_set():
            raise StorageError(f"the store is unreachable, after {polls} attempts")
        return promoted(folder)

    promoted = hot_swap.promoted
    monkeypatch.setattr(hot_swap, "promoted", poll)
    promote(f"{folder}/a/model_1.keras", str(folder))

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        promote(f"{folder}/a/model_2.keras", str(folder))
        await wait_until_served(model, "model_1", error="model_2 is corrupt")
        await asyncio.sleep(SEVERAL_POLLS_S)
        rollback(str(folder))
        await wait_until_served(model, "model_1")
        unreachable.set()
        await wait_until_served(model, "model_1", error="the store is unreachable")
        await asyncio.sleep(SEVERAL_POLLS_S)
        unreachable.clear()
        await wait_until_served(model, "model_1")
        promote(f"{folder}/a/model_3.keras", str(folder))
        await wait_until_served(model, "model_3")

    with caplog.at_level(logging.WARNING, hot_swap.__name__):
        run_with_model(body, load_unless_corrupt)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    prefix = "still serving model_1, because the new model failed:"
    assert messages[0] == f"{prefix} model_2 is corrupt"
    assert messages[1].startswith(f"{prefix} the store is unreachable, after ")


class SlowLoad:
    """A loader that holds model_2 until ``proceed`` is set."""

    def __init__(self) -> None:
        self.loading, self.proceed = threading.Event(), threading.Event()

    def __call__(self, uri: str) -> SimpleNamespace:
        if uri.endswith("model_2.keras"):
            self.loading.set()
            assert self.proceed.wait(TIMEOUT_S)
        return load_card(uri)


def test_follow_serves_the_present_model_while_another_loads(folder: Path) -> None:
    slow = SlowLoad()
    promote(f"{folder}/a/model_1.keras", str(folder))

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        promote(f"{folder}/a/model_2.keras", str(folder))
        assert await asyncio.to_thread(slow.loading.wait, TIMEOUT_S)
        assert (model.stable.predictor.card.name, model.last_error) == ("model_1", None)
        slow.proceed.set()
        await wait_until_served(model, "model_2")

    run_with_model(body, slow)


def test_load_discards_the_promoted_model_that_is_loading(folder: Path) -> None:
    slow = SlowLoad()

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        promote(f"{folder}/a/model_2.keras", str(folder))
        assert await asyncio.to_thread(slow.loading.wait, TIMEOUT_S)
        await model.load({"model": f"{folder}/a/model_1.keras"})
        slow.proceed.set()
        await asyncio.sleep(SEVERAL_POLLS_S)
        assert model.stable.predictor.card.name == "model_1"

    run_with_model(body, slow)


def test_load_first_error_is_raised_and_later_error_is_recorded(folder: Path) -> None:
    async def body(model: HotSwapModels) -> None:
        with pytest.raises(NotFound):
            await model.load({"model": f"{folder}/none.keras"})
        with pytest.raises(ConfigError, match=r"'modle' is unknown, expected one of model, follow, canary"):
            await model.load({"modle": ""})
        assert model.stable is None
        await model.load({"model": f"{folder}/a/model_1.keras"})
        for config, reason in (({"modle": ""}, "'modle'"), ({"model": f"{folder}/none.keras"}, "none.keras")):
            await model.load(config)
            assert model.stable.predictor.card.name == "model_1"
            assert reason in model.last_error

    run_with_model(body)


def test_follow_promotion_of_the_served_model_updates_its_number_without_loading(folder: Path) -> None:
    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        before = model.stable
        (folder / "a/model_1.keras").unlink()
        promote(f"{folder}/a/model_3.keras", str(folder))
        deadline = time.monotonic() + TIMEOUT_S
        while model.stable.version != 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert model.stable.predictor is before.predictor

    run_with_model(body)


def test_follow_without_a_promotion_clears_the_error_of_the_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = 0

    def poll(folder: str) -> None:
        nonlocal polls
        polls += 1
        if 2 <= polls <= 5:
            raise StorageError("the store is unreachable")

    monkeypatch.setattr(hot_swap, "promoted", poll)

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        await wait_until_served(model, "model_3", error="the store is unreachable")
        await wait_until_served(model, "model_3")

    run_with_model(body)


def test_follow_keeps_the_error_of_a_failed_load_until_the_next_load(folder: Path) -> None:
    promote(f"{folder}/a/model_1.keras", str(folder))

    async def body(model: HotSwapModels) -> None:
        await model.load({"model": str(folder)})
        await model.load({"model": str(folder), "canary": f"{folder}/none.keras"})
        await asyncio.sleep(SEVERAL_POLLS_S)
        assert "none.keras" in (model.last_error or "")
        promote(f"{folder}/a/model_2.keras", str(folder))
        await wait_until_served(model, "model_2", error="none.keras")
        await model.load({"model": str(folder)})
        assert model.last_error is None

    run_with_model(body)
