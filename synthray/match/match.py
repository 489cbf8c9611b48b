"""From a sound to a preset: the network's answer, improved by a search within a time budget.

The command, the service and evaluations use ``match``. The search is in ``refine.py``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.match.distances.spectral import mel_levels, multi_scale_distance
from synthray.match.refine import refine
from synthray.match.search import Improvement
from synthray.match.sound import is_instrument_model, normalize_level, require_instrument, require_sound
from synthray.model.distribution import PresetDistribution
from synthray.synth.audible import audible, with_inaudible_defaults
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.presets import preset_to_json
from synthray.synth.voice import render

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor

HARMLESS_DB = 0.02
"""Largest increase of the distance for which inaudible parameters are set to their defaults."""


@dataclass(frozen=True)
class Match:
    """A preset for a sound."""

    settings: np.ndarray
    """float32 ``(parameters,)``, in units."""
    distance_db: float
    """Multi-scale distance (MSS) between the preset's sound and the target."""
    confidence: np.ndarray
    """Probability that the network gives to each learned parameter's value, float64 ``(learned,)``."""
    is_audible: np.ndarray
    """Whether each learned parameter can be heard in the preset, bool ``(learned,)``."""
    evaluations: int
    """Presets that were rendered and compared."""
    elapsed_s: float

    def to_json(self, **extra: Any) -> dict[str, Any]:
        """Return the match as a preset (``preset_to_json``) with what is known about it.

        Returns:
            ``{"distance_db": 2.31, "seconds": 1.04, "parameters": {"filter_cutoff": {"value": 812.4, "unit": "Hz",
            "confidence": 0.71, "audible": true}, …}, …}``. Constants have neither confidence nor audibility.
        """
        spent = {"evaluations": self.evaluations, "seconds": round(self.elapsed_s, 3)}
        found = {"distance_db": round(self.distance_db, 3), **spent}
        preset = preset_to_json(INSTRUMENT, self.settings, **extra, **found)
        for parameter, confidence, is_audible in zip(
            INSTRUMENT.learned, self.confidence.tolist(), self.is_audible.tolist(), strict=True
        ):
            preset["parameters"][parameter.name] |= {"confidence": round(confidence, 3), "audible": is_audible}
        return preset


def match(
    predictor: Predictor,
    audio: np.ndarray,
    refine_s: float = 0.0,
    *,
    max_evaluations: int | None = None,
    seed: int = 0,
    threads: int = 1,
    on_improvement: Improvement = lambda _labels, _distance: None,
) -> Match:
    """Return a preset whose sound is near ``audio``.

    Args:
        predictor: of synthray's own instrument.
        audio: float32 ``(22050,)``, 2 s at 11025 Hz.
        refine_s: seconds of search; 0 for the network's answer.
        max_evaluations: length of the search in presets, instead of ``refine_s``. The result is then reproducible.
        seed: of the search.
        threads: threads that render.
        on_improvement: is called with the labels and the distance of each new best preset.

    Raises:
        ModelError: the model was trained on another instrument.
        SoundError: the sound has another length, is not finite, or is silent.
        ConfigError: ``refine_s`` or ``max_evaluations`` is negative.
    """
    require_instrument(predictor)
    started_s = time.perf_counter()
    target = normalize_level(require_sound(audio))
    features = analyse(target[None], analysis=predictor.card.analysis)
    [proposal] = predictor.distributions(features)
    labels, evaluations = predictor.labels(features)[0], 0
    if refine_s or max_evaluations:
        found = refine(
            target,
            proposal,
            budget_s=refine_s if max_evaluations is None else None,
            max_evaluations=max_evaluations,
            seed=seed,
            threads=threads,
            on_improvement=on_improvement,
        )
        labels, evaluations = found.labels, found.evaluations
    settings, distance_db = _simplified(target, INSTRUMENT.labels_to_settings(labels[None])[0])
    return Match(
        settings,
        distance_db,
        _confidence(proposal, INSTRUMENT.settings_to_labels(settings[None])[0]),
        audible(settings[None])[0],
        evaluations,
        time.perf_counter() - started_s,
    )


def warm_up(predictor: Predictor) -> None:
    """Match a sound, if the model can, to compile the voice and the distances now."""
    if is_instrument_model(predictor):
        match(predictor, np.full(N_SAMPLES, 0.01, np.float32))


def _simplified(target: np.ndarray, settings: np.ndarray) -> tuple[np.ndarray, float]:
    """Return settings ``(parameters,)`` with defaults where nothing can be heard, and their multi-scale distance.

    The rules for what can be heard are approximate, so defaults that change the sound are not used.
    """
    both = np.concatenate([settings[None], with_inaudible_defaults(settings[None])])
    found_db, default_db = _distances_db(target, both)
    index = int(default_db <= found_db + HARMLESS_DB)
    return both[index], float([found_db, default_db][index])


def _distances_db(target: np.ndarray, settings: np.ndarray) -> np.ndarray:
    """Return the multi-scale distances of presets, float64 ``(presets,)``."""
    sounds = mel_levels(render(settings, threads=1))
    repeated = tuple(np.repeat(levels, len(settings), axis=0) for levels in mel_levels(target[None]))
    return multi_scale_distance(repeated, sounds)


def _confidence(proposal: PresetDistribution, labels: np.ndarray) -> np.ndarray:
    return np.array([proposal.confidence(column, label) for column, label in enumerate(labels)])
