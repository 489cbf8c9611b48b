"""Matching of one sound with one model. TEMPORARY: delegates to the predictor's own methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


def require_instrument(predictor: Predictor) -> None:
    """Raise ModelError unless sounds can be matched with this model."""
    predictor.require_instrument()


def match_settings(predictor: Predictor, audio: np.ndarray) -> np.ndarray:
    """Return the settings float32 ``(parameters,)`` that might have made a sound float32 ``(samples,)``."""
    return predictor.match_settings(audio)


def match_sound(predictor: Predictor, audio: np.ndarray) -> dict[str, Any]:
    """Return the preset of a sound float32 ``(samples,)``."""
    return predictor.match(audio)


def warm_up(predictor: Predictor) -> None:
    """Pay all first-time costs of predicting and matching."""
    predictor.warm_up()
