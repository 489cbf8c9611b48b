"""From a sound to the preset that a model predicts for it.

The predictor itself is in ``synthray.model.predictor``, distances between sounds in ``distances``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.errors import ModelError, SoundError
from synthray.synth.features import ANALYSES, analyse, feature_shape
from synthray.synth.instrument import DURATION_S, INSTRUMENT, N_SAMPLES
from synthray.synth.presets import preset_to_json
from synthray.synth.voice import render

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

NORMAL_RMS = 10 ** (-33 / 20)
"""RMS level of every sound that is matched: half of the random presets are quieter."""
SILENCE_RMS = 1e-5


def match_sound(predictor: Predictor, audio: np.ndarray, **extra: Any) -> dict[str, Any]:
    """Return the preset predicted for a sound, in human units, with ``extra`` entries.

    Other arguments and errors are those of ``match_settings``.
    """
    settings = match_settings(predictor, audio)
    return preset_to_json(predictor.card.table, settings, model=predictor.card.name, **extra)


def match_settings(predictor: Predictor, audio: np.ndarray) -> np.ndarray:
    """Return the settings predicted for a sound, float32 ``(parameters,)``.

    Args:
        predictor: of synthray's own instrument.
        audio: float32 ``(samples,)``.

    Raises:
        ModelError: the model was trained on another instrument.
        SoundError: the sound has another length, is not finite, or is silent.
    """
    require_instrument(predictor)
    labels = predictor.labels(analyse(normalize_level(require_sound(audio))[None], analysis=predictor.card.analysis))
    return np.asarray(predictor.card.table.labels_to_settings(labels)[0])


def require_sound(audio: np.ndarray) -> np.ndarray:
    """Return ``audio``; raise SoundError unless it is float32 ``(22050,)`` of finite numbers."""
    if audio.shape != (N_SAMPLES,) or not np.isfinite(audio).all():
        raise SoundError(f"the sound has shape {audio.shape}, expected ({N_SAMPLES},) of finite numbers")
    return audio


def is_instrument_model(predictor: Predictor) -> bool:
    """Return whether the model was trained on synthray's own instrument."""
    card = predictor.card
    is_known = card.table == INSTRUMENT and card.analysis in ANALYSES
    return is_known and tuple(card.feature_shape) == feature_shape(card.analysis)


def require_instrument(predictor: Predictor) -> None:
    """Raise ModelError unless the model can match sounds."""
    if not is_instrument_model(predictor):
        raise ModelError(
            f"{predictor.card.name} was trained on another instrument. It can predict from features, "
            "but it cannot match a sound."
        )


def normalize_level(audio: np.ndarray) -> np.ndarray:
    """Scale a sound float32 ``(samples,)`` to the same level as all others.

    The level of a recording says nothing about the preset, so that a sound must have the same answer at every level.

    Raises:
        SoundError: the sound is silent.
    """
    rms = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    if rms < SILENCE_RMS:
        raise SoundError(f"the sound is silent in its first {DURATION_S:.0f} s: there is nothing to match")
    return np.asarray(audio * (NORMAL_RMS / rms), np.float32)


def warm_up(predictor: Predictor) -> None:
    """Match and render a sound, if the model can, to compile the voice now."""
    if is_instrument_model(predictor):
        render(match_settings(predictor, np.full(N_SAMPLES, 0.01, np.float32))[None])
