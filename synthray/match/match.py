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
from synthray.match.sound import is_instrument_model, normalize_level, require_instrument, require_sound
from synthray.model.distribution import PresetDistribution
from synthray.synth.audible.audible import why_inaudible, with_inaudible_defaults
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
    """float32 ``(parameters,)``, in human units."""
    distance_db: float
    """Multi-scale distance (MSS) between the preset's sound and the target."""
    confidence: np.ndarray
    """Probability that the network gives to each learned parameter's value, float64 ``(learned,)``."""
    evaluations: int
    """Presets that were rendered and compared."""
    elapsed_s: float

    def to_json(self, **extra: Any) -> dict[str, Any]:
        """Return the match as a preset (``preset_to_json``) with its distance, its effort and notes on parameters.

        Returns:
            ``{"distance_db": 2.31, "seconds": 1.04, "parameters": {"filter_cutoff": {"value": 812.4, "unit": "Hz",
            "confidence": 0.71, "audible": true}, …}, …}``. For a parameter that cannot be heard, ``why_inaudible`` is
            the reason. Constants have neither confidence nor audibility.
        """
        spent = {"evaluations": self.evaluations, "seconds": round(self.elapsed_s, 3)}
        found = {"distance_db": round(self.distance_db, 3), **spent}
        preset = described_preset(self.settings, **extra, **found)
        for parameter, confidence in zip(INSTRUMENT.learned, self.confidence.tolist(), strict=True):
            preset["parameters"][parameter.name]["confidence"] = round(confidence, 3)
        return preset


@dataclass(frozen=True)
class Guess:
    """A sound that is to be matched, and the network's answer to it."""

    target: np.ndarray
    """float32 ``(22050,)``, at a level that occurs in training."""
    proposal: PresetDistribution
    """The network's distribution over presets."""
    labels: np.ndarray
    """float32 ``(learned,)``, the network's answer."""
    started_s: float
    """Time at which the match began, by ``time.perf_counter``."""

    def described(self, labels: np.ndarray, evaluations: int = 0) -> Match:
        """Return labels float32 ``(learned,)`` as a match; inaudible parameters may get their defaults."""
        settings, distance_db = _simplified(self.target, INSTRUMENT.labels_to_settings(labels[None])[0])
        return self._match(settings, distance_db, evaluations)

    def kept(self, settings: np.ndarray, evaluations: int = 0) -> Match:
        """Return settings float32 ``(parameters,)`` as a match, unchanged."""
        return self._match(settings, float(_distances_db(self.target, settings[None])[0]), evaluations)

    def _match(self, settings: np.ndarray, distance_db: float, evaluations: int) -> Match:
        return Match(
            settings,
            distance_db,
            _confidence(self.proposal, INSTRUMENT.settings_to_labels(settings[None])[0]),
            evaluations,
            time.perf_counter() - self.started_s,
        )


def guess(predictor: Predictor, audio: np.ndarray) -> Guess:
    """Return the network's answer to a sound.

    Args:
        predictor: of synthray's own instrument.
        audio: float32 ``(22050,)``, 2 s at 11025 Hz.

    Raises:
        ModelError: the model was trained on another instrument.
        SoundError: the sound has another length, is not finite, or is silent.
    """
    require_instrument(predictor)
    started_s = time.perf_counter()
    target = normalize_level(require_sound(audio))
    features = analyse(target[None], analysis=predictor.card.analysis)
    [labels], [proposal] = predictor.labels_and_distributions(features)
    return Guess(target, proposal, labels, started_s)


def match(
    predictor: Predictor,
    audio: np.ndarray,
    refine_s: float = 0.0,
    *,
    max_evaluations: int | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Match:
    """Return a preset whose sound is near ``audio``.

    Args:
        predictor: of synthray's own instrument.
        audio: float32 ``(22050,)``, 2 s at 11025 Hz.
        refine_s: seconds of search; 0 for the network's answer.
        max_evaluations: length of the search in presets, instead of ``refine_s``. The result is then reproducible.
        seed: of the search.
        threads: threads that render.

    Raises:
        ModelError: the model was trained on another instrument.
        SoundError: the sound has another length, is not finite, or is silent.
        ConfigError: ``refine_s`` or ``max_evaluations`` is negative.
    """
    found = guess(predictor, audio)
    if not refine_s and not max_evaluations:
        return found.described(found.labels)
    refined = refine(
        found.target,
        found.proposal,
        budget_s=refine_s if max_evaluations is None else None,
        max_evaluations=max_evaluations,
        seed=seed,
        threads=threads,
    )
    return found.described(refined.labels, refined.evaluations)


def described_preset(settings: np.ndarray, **extra: Any) -> dict[str, Any]:
    """Return settings ``(parameters,)`` as a preset that marks each learned parameter as audible or not."""
    preset = preset_to_json(INSTRUMENT, settings, **extra)
    reasons = why_inaudible(settings)
    for parameter in INSTRUMENT.learned:
        entry = preset["parameters"][parameter.name]
        entry["audible"] = parameter.name not in reasons
        if parameter.name in reasons:
            entry["why_inaudible"] = reasons[parameter.name]
    return preset


def distance_db(audio: np.ndarray, settings: np.ndarray) -> float:
    """Return the multi-scale distance (MSS) of a preset's sound from ``audio``.

    Args:
        audio: float32 ``(22050,)``, 2 s at 11025 Hz.
        settings: float32 ``(parameters,)``, in human units.

    Raises:
        SoundError: the sound has another length, is not finite, or is silent.
    """
    return float(_distances_db(normalize_level(require_sound(audio)), settings[None])[0])


def warm_up(predictor: Predictor) -> None:
    """Match a sound with a short search, if the model can, to load all machine code now."""
    if is_instrument_model(predictor):
        match(predictor, np.full(N_SAMPLES, 0.01, np.float32), max_evaluations=2)


def _simplified(target: np.ndarray, settings: np.ndarray) -> tuple[np.ndarray, float]:
    """Return settings ``(parameters,)`` with inaudible parameters at their defaults, and their multi-scale distance.

    The rules for inaudible parameters are approximate. If the defaults change the sound, the settings stay unchanged.
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
