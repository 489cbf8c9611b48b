"""Checks of a sound that is matched, and the normalisation of its level. The match itself is in ``match.py``.

The predictor itself is in ``synthray.model.predictor``, distances between sounds in ``distances``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthray.errors import ModelError, SoundError
from synthray.synth.features import ANALYSES, feature_shape
from synthray.synth.instrument import DURATION_S, INSTRUMENT, N_SAMPLES

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

TRAINED_RMS_DB = (-56.0, -20.0)
"""RMS levels of random presets: 5 % are quieter, 5 % are louder."""
SILENCE_RMS = 1e-5


def require_sound(audio: np.ndarray) -> np.ndarray:
    """Return ``audio``; raise SoundError unless it is float32 ``(22050,)`` of finite numbers."""
    if audio.shape != (N_SAMPLES,) or not np.isfinite(audio).all():
        raise SoundError(f"the sound has shape {audio.shape}, expected ({N_SAMPLES},) with finite numbers")
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


def rms_of(audio: np.ndarray) -> np.ndarray:
    """Return the RMS levels of sounds ``(…, samples)``, float64 ``(…,)``."""
    return np.asarray(np.sqrt(np.mean(np.square(audio, dtype=np.float64), axis=-1)))


def normalize_level(audio: np.ndarray) -> np.ndarray:
    """Scale a sound float32 ``(samples,)`` to a level that occurs in training.

    A level outside of ``TRAINED_RMS_DB`` is moved to the nearer end. Most recordings are louder, so the answer does not
    depend on their level. Levels inside are kept, because they carry information about presets.

    Raises:
        SoundError: the sound is silent.
    """
    rms = float(rms_of(audio))
    if rms < SILENCE_RMS:
        raise SoundError(f"the sound is silent in its first {DURATION_S:.0f} s: there is nothing to match")
    quietest, loudest = (10 ** (level_db / 20) for level_db in TRAINED_RMS_DB)
    return np.asarray(audio * (np.clip(rms, quietest, loudest) / rms), np.float32)
