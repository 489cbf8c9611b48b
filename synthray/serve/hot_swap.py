"""The model of the moment: loaded as it is asked for, swapped when its place promotes another. No Ray, no HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthray.errors import ConfigError, ModelError
from synthray.model.registry import Promotion, default_registry, promoted, served_model
from synthray.model.saved import SUFFIX

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

logger = logging.getLogger("ray.serve")


def load_predictor(uri: str) -> Predictor:
    """The model at the URI of a ``.keras`` file, warmed up; raises NotFound, ModelError."""
    # Imported where a model is loaded, in the replica: the job that deploys it needs no TensorFlow.
    from synthray.model.predictor import Predictor

    return Predictor.load(uri)


class HotSwapModel:
    """The model that answers, for one event loop; what takes long runs in threads, while it goes on answering.

    predictor: None before the first :meth:`take`. failed: why the model asked for last, by a configuration or by a
    promotion, is not the one that answers; None when it is.

    Args:
        follow_s: seconds between two looks at the place; 0 for none.
        load: from the URI of a ``.keras`` file to a predictor that is ready.
    """

    def __init__(self, follow_s: float, load: Callable[[str], Predictor] = load_predictor) -> None:
        self.predictor: Predictor | None = None
        self.failed: str | None = None
        self._follow_s, self._load = follow_s, load
        self._following: asyncio.Task[None] | None = None

    async def take(self, user_config: dict[str, Any]) -> None:
        """Load what ``user_config`` asks for, then let it answer, and follow its place from now on.

        The first model must load: what its loading raises is raised. A later one that does not leaves the one that
        answers in its place.

        Args:
            user_config: ``model``, a URI as ``served_model`` takes it. ``follow``, the place whose promotions count
                before ``model``; without it that is ``model`` itself, unless it is one file.
        """
        place = ""
        try:
            model, place = _parse(user_config)
            if self._following:
                self._following.cancel()  # it swaps nothing any more, whatever its thread is loading
            self.predictor = await asyncio.to_thread(self._load_first, model, place)
            self.failed = None
        except Exception as error:
            if self.predictor is None:
                raise
            self._keep(error)
        if place and self._follow_s:
            self._following = asyncio.create_task(self._follow(place))

    def _load_first(self, model: str, place: str) -> Predictor:
        promotion = promoted(place) if place else None
        return self._load_promoted(place, promotion) if promotion else self._load(served_model(model))

    def _load_promoted(self, place: str, promotion: Promotion) -> Predictor:
        """Raises NotFound, ModelError; the latter also when another model was promoted, or written, meanwhile."""
        predictor = self._load(served_model(place))
        if predictor.card.sha256 != promotion.sha256:
            raise ModelError(f"{place} changed while {promotion.model} was loaded")
        return predictor

    async def _follow(self, place: str) -> None:
        """Swap the model whenever the place has promoted another; trouble is logged once a cause, and tried again."""
        told: object = None
        while True:
            await asyncio.sleep(self._follow_s)
            promotion = None
            try:
                promotion = await asyncio.to_thread(promoted, place)
                if promotion is None:
                    continue
                if self.predictor is None or self.predictor.card.sha256 != promotion.sha256:
                    self.predictor = await asyncio.to_thread(self._load_promoted, place, promotion)
                    logger.info("now serving %s, promoted at %s", promotion.model, place)
                self.failed = told = None
            except Exception as error:
                # Not the message: it may count how often a store was asked.
                cause = type(error), promotion
                self._keep(error, quietly=cause == told)
                told = cause

    def _keep(self, error: Exception, *, quietly: bool = False) -> None:
        self.failed = str(error)
        if not quietly and self.predictor is not None:
            logger.warning("still serving %s, because the new model failed: %s", self.predictor.card.name, error)


def _parse(user_config: dict[str, Any]) -> tuple[str, str]:
    """Model and place; the place is empty where nothing is followed. Raises ConfigError."""
    if not {"model"} <= set(user_config) <= {"model", "follow"}:
        raise ConfigError(f"user_config is {user_config!r}, expected {{'model': URI}}, and 'follow' if need be")
    model, place = user_config["model"], user_config.get("follow", "")
    return model, place or ("" if model.endswith(SUFFIX) else model or default_registry())
