"""A search for a preset within a budget of time or evaluations. The exact distance chooses among its last candidates.

The search itself is in ``search.py``, the distances in ``objective.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.errors import ConfigError
from synthray.match.objective import EXACT, Objective
from synthray.match.search import EvolutionConfig, Improvement, search
from synthray.match.sound import require_sound
from synthray.model.distribution import PresetDistribution
from synthray.synth.dsp.lanes import Floats

PRESETS_PER_S = 8_000.0
"""Presets that one core compares in a second, roughly. It decides how many populations a search has."""
FINALISTS = 8
"""Best presets of a search that are compared again, by ``EXACT``."""


@dataclass(frozen=True)
class Refined:
    """The best preset that a search found."""

    labels: Floats
    """float32 ``(learned,)``."""
    distance_db: float
    """Multi-scale distance (MSS) from the target, by the windows of ``EXACT``."""
    evaluations: int
    """Presets that were rendered and compared."""


def refine(
    target: npt.ArrayLike,
    proposal: PresetDistribution,
    *,
    budget_s: float | None = None,
    max_evaluations: int | None = None,
    seed: int = 0,
    threads: int = 1,
    on_improvement: Improvement = lambda _labels, _evaluations: None,
    is_stopped: Callable[[], bool] = lambda: False,
    start: Floats | None = None,
) -> Refined:
    """Return a preset whose sound is near a target.

    It is at least as near as the sounds of the network's likeliest preset and of ``start``.

    Args:
        target: float32 ``(22050,)``, 2 s at 11025 Hz. Its level matters little.
        proposal: the network's distribution over presets.
        budget_s: seconds for the search. If there is no budget, or one is 0, there is no search.
        max_evaluations: presets to try. With no ``budget_s``, the result depends only on this number and the seed.
        seed: of the search.
        threads: threads that render. They change the time only.
        on_improvement: is called with each new best preset's labels, and the number of presets tried so far.
        is_stopped: ends the search when it returns True. It is called once a generation.
        start: labels float32 ``(learned,)`` of a preset that is already known to be near.

    Raises:
        ConfigError: a budget is negative.
        SoundError: the target has another shape, or is not finite.
    """
    audio = require_sound(np.asarray(target, np.float32))
    objective = Objective(audio, threads)
    candidates = np.stack([proposal.likeliest()] + ([] if start is None else [start]))
    objective(candidates)  # loads the machine code, which is not part of the budget
    progress = _progress(budget_s, max_evaluations, time.perf_counter(), is_stopped)
    if progress(0) < 1:
        random = np.random.default_rng(seed)
        config = EvolutionConfig.of_length(_expected_evaluations(budget_s, max_evaluations, threads))
        found = search(objective, proposal, progress, random, config, on_improvement, candidates)
        candidates = np.concatenate([candidates, found.labels[:FINALISTS]])
    labels, distance_db = _nearest(audio, candidates)
    return Refined(labels, distance_db, objective.evaluations + len(candidates))


def _nearest(audio: Floats, candidates: Floats) -> tuple[Floats, float]:
    """Return the nearest of ``candidates`` (presets, learned) by ``EXACT``, and its distance in dB."""
    distances = Objective(audio, 1, EXACT, loudness_weight=0.0)(candidates)
    nearest = int(distances.argmin())
    return candidates[nearest], float(distances[nearest])


def _expected_evaluations(budget_s: float | None, max_evaluations: int | None, threads: int) -> float:
    """Return how many presets a search is likely to compare."""
    by_time = np.inf if budget_s is None else budget_s * PRESETS_PER_S * threads
    return min(by_time, np.inf if max_evaluations is None else max_evaluations)


def _progress(
    budget_s: float | None, max_evaluations: int | None, started_s: float, is_stopped: Callable[[], bool]
) -> Callable[[int], float]:
    """Return a function from a number of evaluations to the share of the search that is over."""
    for name, value in (("budget_s", budget_s), ("max_evaluations", max_evaluations)):
        if value is not None and not value >= 0:
            raise ConfigError(f"{name} is {value}. It may not be negative.")

    def progress(evaluations: int) -> float:
        shares = [1.0] if is_stopped() or (budget_s is None and max_evaluations is None) else []
        if budget_s is not None:
            shares.append((time.perf_counter() - started_s) / budget_s if budget_s else 1.0)
        if max_evaluations is not None:
            shares.append(evaluations / max_evaluations if max_evaluations else 1.0)
        return max(shares)

    return progress
