"""From a sound and a network's distribution to a preset, within a budget of time or of evaluations.

The search itself is in ``search.py``, the distances in ``objective.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.errors import ConfigError, SoundError
from synthray.match.objective import EXACT, Objective
from synthray.match.search import Improvement, search
from synthray.model.distribution import PresetDistribution
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.lanes import Floats
from synthray.synth.voice import render

FINALISTS = 8
"""Presets of a search that are compared by ``EXACT``."""


@dataclass(frozen=True)
class Match:
    """A preset for a sound."""

    settings: Floats
    """float32 ``(parameters,)``, in units."""
    audio: Floats
    """The preset's sound, float32 ``(22050,)``."""
    distance: float
    """Multi-scale spectral distance (MSS) from the target, in dB, by the windows of ``EXACT``."""
    evaluations: int
    """Presets that were rendered and compared."""
    elapsed_s: float
    confidence: npt.NDArray[np.float64]
    """Probability that the distribution gives to each learned parameter's value, float64 ``(learned,)``."""


def refine(
    target: npt.ArrayLike,
    proposal: PresetDistribution,
    *,
    budget_s: float | None = None,
    max_evaluations: int | None = None,
    seed: int = 0,
    threads: int = 1,
    on_improvement: Improvement = lambda _labels, _distance: None,
) -> Match:
    """Return a preset whose sound is near a target, at least as near as that of the likeliest preset.

    Args:
        target: float32 ``(22050,)``, 2 s at 11025 Hz. Its level matters little.
        proposal: the network's distribution over presets.
        budget_s: time for the search. Without any budget, or with one of 0, the likeliest preset is the match.
        max_evaluations: presets to try. With no ``budget_s``, the result depends only on this number and the seed.
        seed: of the search.
        threads: threads that render. They change the time only.
        on_improvement: is called with the labels and the searched distance of each new best preset.

    Raises:
        ConfigError: a budget is negative.
        SoundError: the target has another shape, or is not finite.
    """
    started_s = time.perf_counter()
    audio = np.asarray(target, np.float32)
    if audio.shape != (N_SAMPLES,) or not np.isfinite(audio).all():
        raise SoundError(f"the target has shape {audio.shape}, expected ({N_SAMPLES},) of finite numbers")
    objective = Objective(audio, threads)
    candidates = proposal.likeliest()[None]
    objective(candidates)  # loads the machine code, which is not part of the budget
    progress = _progress(budget_s, max_evaluations, time.perf_counter())
    if progress(0) < 1:
        found = search(objective, proposal, progress, np.random.default_rng(seed), on_improvement=on_improvement)
        candidates = np.concatenate([candidates, found.labels[:FINALISTS]])
    distances = Objective(audio, 1, EXACT, loudness_weight=0.0)(candidates)
    labels = candidates[distances.argmin()]
    settings = INSTRUMENT.labels_to_settings(labels[None])
    return Match(
        settings[0],
        render(settings, threads=1)[0],
        float(distances.min()),
        objective.evaluations + len(candidates),
        time.perf_counter() - started_s,
        np.array([proposal.confidence(column, label) for column, label in enumerate(labels)]),
    )


def _progress(budget_s: float | None, max_evaluations: int | None, started_s: float) -> Callable[[int], float]:
    """Return a function from a number of evaluations to the share of the search that is over."""
    for name, value in (("budget_s", budget_s), ("max_evaluations", max_evaluations)):
        if value is not None and not value >= 0:
            raise ConfigError(f"{name} is {value}. It may not be negative.")

    def progress(evaluations: int) -> float:
        shares = [1.0] if budget_s is None and max_evaluations is None else []
        if budget_s is not None:
            shares.append((time.perf_counter() - started_s) / budget_s if budget_s else 1.0)
        if max_evaluations is not None:
            shares.append(evaluations / max_evaluations if max_evaluations else 1.0)
        return max(shares)

    return progress
