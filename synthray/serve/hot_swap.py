"""The served model: loaded on request, and swapped when its folder promotes another one.

HTTP is app.py's concern, promotions are ``synthray.model.registry``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthray.errors import ConfigError, ModelError
from synthray.model.promotions import Promotion
from synthray.model.registry import default_registry, promoted, served_model
from synthray.model.saved import SUFFIX
from synthray.serve.models import Served, require_ready

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

logger = logging.getLogger("ray.serve")


def load_predictor(uri: str) -> Predictor:
    """Load and warm up the ``.keras`` file at ``uri``; raise NotFound or ModelError."""
    # Imported in the replica only: the job that deploys it needs no TensorFlow.
    from synthray.match.match import warm_up
    from synthray.model.predictor import Predictor

    predictor = Predictor.load(uri)
    warm_up(predictor)
    return predictor


class HotSwapModel:
    """The served model of one event loop, which keeps answering while another model loads in a thread.

    Args:
        follow_s: seconds between polls of the followed folder; 0 for none.
        load_file: loads the predictor of a ``.keras`` URI.
    """

    def __init__(self, follow_s: float, load_file: Callable[[str], Predictor] = load_predictor) -> None:
        self.predictor: Predictor | None = None
        """The served model; None before the first :meth:`load`."""
        self.last_error: str | None = None
        """The reason why the configured or promoted model is not served; None if it is."""
        self._follow_s, self._load_file = follow_s, load_file
        self._following: asyncio.Task[None] | None = None

    @property
    def served(self) -> tuple[Served, ...]:
        """Return the model that answers requests, if it is ready."""
        return (Served(self.predictor),) if self.predictor else ()

    def choose(self) -> Served:
        """Return the model for a request that names none; raise RequestError 503 if there is none."""
        return require_ready(self)

    async def load(self, user_config: dict[str, Any]) -> None:
        """Load and serve the model that ``user_config`` names, and follow its folder.

        The first model must load: its errors are raised. If a later one fails, the service keeps its present model.

        Args:
            user_config: ``model`` is a URI for ``served_model``. ``follow`` is the folder whose promotions take
                precedence over ``model``; by default ``model`` itself, unless it is a file.
        """
        folder = ""
        try:
            model, folder = _parse(user_config)
            if self._following:
                self._following.cancel()  # a model that its thread is still loading is not served either
            self.predictor = await asyncio.to_thread(self._load_configured, model, folder)
            self.last_error = None
        except Exception as error:
            if self.predictor is None:
                raise
            self._keep_serving(error)
        if folder and self._follow_s:
            self._following = asyncio.create_task(self._follow(folder))

    def _load_configured(self, model: str, folder: str) -> Predictor:
        promotion = promoted(folder) if folder else None
        return self._load_promoted(folder, promotion) if promotion else self._load_file(served_model(model))

    def _load_promoted(self, folder: str, promotion: Promotion) -> Predictor:
        """Load a promoted model; raise ModelError if it changed meanwhile."""
        predictor = self._load_file(served_model(folder))
        if predictor.card.sha256 != promotion.sha256:
            raise ModelError(f"{folder}: changed while {promotion.model} was loading; it is loaded again")
        return predictor

    async def _follow(self, folder: str) -> None:
        """Swap the model at each promotion; log each error once and retry."""
        logged: object = None
        while True:
            await asyncio.sleep(self._follow_s)
            promotion = None
            try:
                promotion = await asyncio.to_thread(promoted, folder)
                if promotion is None:
                    continue
                if self.predictor is None or self.predictor.card.sha256 != promotion.sha256:
                    self.predictor = await asyncio.to_thread(self._load_promoted, folder, promotion)
                    logger.info("now serving %s, promoted at %s", promotion.model, folder)
                self.last_error = logged = None
            except Exception as error:
                # The message may differ at each poll, for example by a count of retries.
                cause = type(error), promotion
                self._keep_serving(error, log=cause != logged)
                logged = cause

    def _keep_serving(self, error: Exception, *, log: bool = True) -> None:
        """Record why the present model stays."""
        self.last_error = str(error)
        if log and self.predictor is not None:
            logger.warning("still serving %s, because the new model failed: %s", self.predictor.card.name, error)


def _parse(user_config: dict[str, Any]) -> tuple[str, str]:
    """Return the model and the folder to follow (empty for none); raise ConfigError."""
    if not {"model"} <= set(user_config) <= {"model", "follow"}:
        raise ConfigError(f"user_config is {user_config!r}, expected {{'model': URI}} and optionally 'follow'")
    model, folder = user_config["model"], user_config.get("follow", "")
    return model, folder or ("" if model.endswith(SUFFIX) else model or default_registry())
