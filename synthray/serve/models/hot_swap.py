"""The served models: loaded on request, and swapped when their folder promotes another one.

HTTP is in ``serve/app.py``, loading and trying out a model in ``load.py``, promotions in ``synthray.model.registry``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synthray.errors import ModelError
from synthray.model.promotions import Promotion
from synthray.model.registry import model_number, promoted, served_model
from synthray.serve.config import ModelsConfig, from_values
from synthray.serve.models.canary import CANARY, Share, is_compatible, require_compatible
from synthray.serve.models.load import load_predictor
from synthray.serve.models.served import STABLE, Served, require_ready

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

logger = logging.getLogger(__name__)


class HotSwapModels:
    """The served models of one event loop, which keep answering while another model loads in a thread.

    Args:
        follow_s: seconds between polls of the followed folder; 0 for none.
        load_file: loads the predictor of a ``.keras`` URI.
    """

    def __init__(self, follow_s: float, load_file: Callable[[str], Predictor] = load_predictor) -> None:
        self.stable: Served | None = None
        """The promoted or only model; None before the first :meth:`load`."""
        self.canary: Served | None = None
        """The model that answers a share of the requests."""
        self._load_error: str | None = None
        """Error of the last :meth:`load`, whose configuration is then not in effect; None if it succeeded."""
        self._follow_error: str | None = None
        """Error of the last poll of the folder; None if it succeeded."""
        self._share = Share(0)
        self._follow_s, self._load_file = follow_s, load_file
        self._following: asyncio.Task[None] | None = None

    @property
    def last_error(self) -> str | None:
        """Return the reason why the configured or promoted models are not served; None if they are."""
        return self._load_error or self._follow_error

    @property
    def served(self) -> tuple[Served, ...]:
        """Return the models that answer requests, the stable one first; none before the first one is ready."""
        return tuple(served for served in (self.stable, self.canary) if served)

    def choose(self) -> Served:
        """Return the model for a request that names none; raise RequestError 503 if there is none."""
        stable = require_ready(self)
        canary = self.canary
        # A promotion may have changed the features of the stable model since the canary was loaded.
        if canary and is_compatible(canary.predictor.card, stable.predictor.card) and self._share.takes_next():
            return canary
        return stable

    async def load(self, settings: dict[str, Any]) -> None:
        """Load and serve the models that ``settings`` name, and follow the folder.

        The first models must load: their errors are raised. If later ones fail, the service keeps its present models.

        Args:
            settings: fields of :class:`.ModelsConfig`. Promotions of ``follow`` take precedence over ``model``.
        """
        folder = ""
        try:
            config = from_values(ModelsConfig, settings)
            folder = config.folder
            if self._following:
                self._following.cancel()  # also discards a model that is still loading
            self._follow_error = None
            self.stable, self.canary = await asyncio.to_thread(self._load_configured, config)
            self._share = Share(config.canary_percent)
            self._load_error = None
        except Exception as error:
            if self.stable is None:
                raise
            self._load_error = str(error)
            self._log_kept(error)
        if folder and self._follow_s:
            self._following = asyncio.create_task(self._follow(folder))

    def _load_configured(self, config: ModelsConfig) -> tuple[Served, Served | None]:
        folder = config.folder
        if folder and (promotion := promoted(folder)):
            stable = self._load_promoted(folder, promotion)
        else:
            stable = self._load(served_model(config.model), folder)
        if not config.canary:
            return stable, None
        canary = self._load(served_model(config.canary), folder, CANARY)
        require_compatible(canary.predictor.card, stable.predictor.card)
        return stable, canary

    def _load(self, uri: str, folder: str, label: str = STABLE) -> Served:
        return Served(self._load_file(uri), model_number(uri, folder), label)

    def _load_promoted(self, folder: str, promotion: Promotion) -> Served:
        """Load a promoted model; raise ModelError if the promotion changed meanwhile.

        If the model is already served, it only gets its version number in ``folder``.
        """
        uri, stable = served_model(folder), self.stable
        if stable and stable.predictor.card.sha256 == promotion.sha256:
            return replace(stable, version=model_number(uri, folder))
        served = self._load(uri, folder)
        if served.predictor.card.sha256 != promotion.sha256:
            raise ModelError(f"{folder}: changed while {promotion.model} was loading; it is loaded again")
        return served

    async def _follow(self, folder: str) -> None:
        """Swap the model at each promotion; log each error once and retry."""
        followed: Promotion | None = None
        logged: object = None
        while True:
            await asyncio.sleep(self._follow_s)
            promotion = None
            try:
                promotion = await asyncio.to_thread(promoted, folder)
                if promotion not in (None, followed):
                    self.stable = await asyncio.to_thread(self._load_promoted, folder, promotion)
                    followed = promotion
                    logger.info("serving %s, promoted at %s", promotion.model, folder)
                self._follow_error = logged = None
            except Exception as error:
                # The message may differ at each poll, for example by a count of retries.
                cause = type(error), promotion
                self._follow_error = str(error)
                if cause != logged:
                    self._log_kept(error)
                logged = cause

    def _log_kept(self, error: Exception) -> None:
        """Log why the service keeps its present models."""
        if self.stable is not None:
            name = self.stable.predictor.card.name
            logger.warning("still serving %s, because the new model failed: %s", name, error)
