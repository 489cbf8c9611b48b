"""The canary: a second model that answers a share of the requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from synthray.errors import ConfigError

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

CANARY = "canary"
"""Label of the canary."""


class Share:
    """Picks a share of the requests, spread evenly: at 10 %, every tenth request."""

    def __init__(self, percent: float) -> None:
        self._percent, self._asked = percent, 0

    def takes_next(self) -> bool:
        """Return whether the next request belongs to the share."""
        before, self._asked = self._asked, self._asked + 1
        return math.floor(self._asked * self._percent / 100) > math.floor(before * self._percent / 100)


def is_compatible(canary: ModelCard, stable: ModelCard) -> bool:
    """Return whether both models take the same features and have the same parameters."""
    return all(getattr(canary, name) == getattr(stable, name) for name in ("table", "feature_shape", "analysis"))


def require_compatible(canary: ModelCard, stable: ModelCard) -> None:
    """Raise ConfigError unless a client can send the same request to both models."""
    if not is_compatible(canary, stable):
        raise ConfigError(
            f"canary {canary.name}: its features ({canary.analysis}, {canary.feature_shape}) or parameters differ from "
            f"{stable.name} ({stable.analysis}, {stable.feature_shape}). Serve the canary as a separate service."
        )
