"""Search for a preset whose sound is near a target.

Presets drawn from the network's distribution are screened, and the best ones become a population. Two steps then take
turns. Children cross two parents and change some parameters, and replace a parent if they are better. The best presets
are improved by least squares (Levenberg 1944, Marquardt 1963) on the continuous parameters, whose derivatives are
measured by one block of lanes. The population shrinks towards the end (Tanabe and Fukunaga 2014, "L-SHADE").

The distance is in ``objective.py``. ``docs/experiments.md`` says what else was tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.match.objective import FREE, Objective, Slope
from synthray.model.distribution import PresetDistribution
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.lanes import LANES, Floats
from synthray.synth.parameters import Choice, Range
from synthray.synth.priors import SWAPPED

Improvement = Callable[[Floats, float], None]
"""Is called with the labels and the distance of each new best preset."""

INTERVALS = np.array([1, 2, 3, 4, 5, 7, 12, 19, 24])
"""Semitones by which a pitch moves up or down: near ones, and the intervals of strong overtones."""
DAMPINGS = 10.0 ** np.linspace(-3.5, 0.5, 8)
"""Multiples of the curvature that are added to it; a large one makes a short step downhill."""
LONGEST_STEP = 0.3
"""Largest change of a parameter in one step of least squares."""
EXHAUSTED = 0.002
"""A preset that a step improves by a smaller share than this gets no further step."""

_STEPS = np.array([p.num_steps if isinstance(p, Range) else 0 for p in INSTRUMENT.learned])
_CLASSES = np.array([len(p.values) if isinstance(p, Choice) else 1 for p in INSTRUMENT.learned])
_IS_CHOICE = _CLASSES > 1
_IS_FREE = np.isin(np.arange(len(_STEPS)), FREE)
_PITCHES = np.flatnonzero(_STEPS)
_FIRST, _SECOND = (
    np.array([INSTRUMENT.label_index[f"oscillator_{number}_{name}"] for name in SWAPPED]) for number in (1, 2)
)


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search."""

    sampled: float = 0.2
    """Share of the search in which presets are only drawn from the network's distribution."""
    population: int = 32
    """Presets that are kept at first."""
    fewest: int = 4
    """Presets that are kept at the end."""
    children: int = 2 * LANES
    """Presets made in each generation; 32 are rendered together at no more cost."""
    improved: int = 4
    """Presets that make a step of least squares after each generation."""
    crossed: float = 0.5
    """Share of the children that have two parents."""
    changes: float = 3.0
    """Mean number of parameters that a child changes."""
    differing: float = 0.25
    """Share of the children that move along the difference of two other presets (Storn and Price 1997)."""
    likely: float = 0.4
    """Share of the changes to a value that the network finds likely; others are to values nearby."""
    spread: float = 0.08
    """Standard deviation of a change to a value nearby, at first."""


@dataclass
class _Population:
    """The presets that are kept, the best first."""

    labels: Floats
    distances: npt.NDArray[np.float64]
    is_exhausted: npt.NDArray[np.bool_]

    def sort(self, size: int) -> None:
        """Order by distance and keep at most ``size``."""
        order = np.argsort(self.distances, kind="stable")[:size]
        self.labels, self.distances = self.labels[order], self.distances[order]
        self.is_exhausted = self.is_exhausted[order]

    def replace(self, rows: npt.NDArray[np.int64], labels: Floats, distances: npt.NDArray[np.float64]) -> None:
        """Replace presets by those of ``labels`` that are nearer; of several for one row, the nearest."""
        for candidate in np.argsort(-distances, kind="stable"):
            row = rows[candidate]
            if distances[candidate] < self.distances[row]:
                self.labels[row], self.distances[row] = labels[candidate], distances[candidate]
                self.is_exhausted[row] = False


@dataclass(frozen=True)
class Found:
    """Presets and their distances, the best first."""

    labels: Floats
    """float32 ``(presets, learned)``."""
    distances: npt.NDArray[np.float64]
    """float64 ``(presets,)``."""


def search(
    objective: Objective,
    proposal: PresetDistribution,
    progress: Callable[[int], float],
    random: np.random.Generator,
    config: SearchConfig | None = None,
    on_improvement: Improvement = lambda _labels, _distance: None,
) -> Found:
    """Return the best presets found.

    Args:
        objective: is minimised.
        proposal: what the network knows about the sound.
        progress: returns the share of the search that is over after a number of evaluations; 1 ends it.
        random: its state decides the result, for a given number of evaluations.
        config: settings of the search.
        on_improvement: is called with each new best preset.
    """
    config = config or SearchConfig()
    start = objective.evaluations
    population = _screen(objective, proposal, lambda count: progress(count - start) / config.sampled, random, config)
    best = np.inf
    while True:
        left = 1 - progress(objective.evaluations - start)
        population.sort(max(config.fewest, round(config.population * left / (1 - config.sampled))))
        if population.distances[0] < best:
            best = float(population.distances[0])
            on_improvement(population.labels[0].copy(), best)
        if left <= 0:
            return Found(population.labels, population.distances)
        rows, children = breed(population.labels, proposal, left, random, config)
        population.replace(rows, children, objective(children))
        if progress(objective.evaluations - start) < 1:
            _improve(objective, population, config.improved)


def _screen(
    objective: Objective,
    proposal: PresetDistribution,
    progress: Callable[[int], float],
    random: np.random.Generator,
    config: SearchConfig,
) -> _Population:
    """Return the likeliest preset and samples of the distribution, the best first."""
    labels = proposal.likeliest()[None]
    population = _Population(labels, objective(labels), np.zeros(1, np.bool_))
    while progress(objective.evaluations) < 1:
        labels = proposal.sample(config.children, random)
        population.labels = np.concatenate([population.labels, labels])
        population.distances = np.concatenate([population.distances, objective(labels)])
        population.is_exhausted = np.zeros(len(population.labels), np.bool_)
        population.sort(config.population)
    return population


def breed(
    parents: Floats, proposal: PresetDistribution, left: float, random: np.random.Generator, config: SearchConfig
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the first parent's row of each child, and the children's labels, float32 ``(children, learned)``.

    Args:
        parents: labels float32 ``(parents, learned)``, the best first.
        proposal: what the network knows about the sound.
        left: share of the search that is left.
        random: the generator.
        config: settings of the search.
    """
    count, shape = config.children, (config.children, parents.shape[1])
    rows = (random.random(count) ** 1.5 * len(parents)).astype(np.int64)
    children = parents[rows]
    is_crossed = random.random((count, 1)) < config.crossed
    is_crossed = is_crossed & (random.random(shape) < 0.5 * random.random((count, 1)))
    children = np.where(is_crossed, parents[random.integers(len(parents), size=count)], children)
    one, other = parents[random.integers(len(parents), size=(2, count))]
    moved = np.clip(children + random.uniform(0.2, 0.8, (count, 1)) * (one - other), 0, 1)
    children = np.where((random.random((count, 1)) < config.differing) & _IS_FREE, moved, children)
    is_changed = random.random(shape) < config.changes / shape[1]
    is_changed[np.arange(count), random.integers(shape[1], size=count)] = True
    is_likely = random.random(shape) < config.likely
    changed = np.where(is_likely, proposal.sample(count, random), _nearby(children, config.spread * left, random))
    return rows, _with_moved_pairs(np.where(is_changed, changed, children).astype(np.float32), random)


def _nearby(labels: Floats, spread: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return other labels: a random class, a pitch at an interval, or a number nearby."""
    classes = np.floor(random.random(labels.shape) * _CLASSES)
    moves = random.choice(INTERVALS, labels.shape) * random.choice([-1, 1], labels.shape)
    pitches = labels + moves / np.maximum(_STEPS, 1)
    # Mostly small changes and a few large ones, because the scales of parameters differ.
    numbers = labels + spread * random.standard_normal(labels.shape) * random.exponential(1.0, labels.shape)
    ranges = np.clip(np.where(_STEPS > 0, pitches, numbers), 0, 1)
    return np.where(_IS_CHOICE, classes, ranges)


def _with_moved_pairs(labels: Floats, random: np.random.Generator) -> Floats:
    """Swap the oscillators of a few presets, and move both pitches of a few others by the same interval."""
    kind = random.random((len(labels), 1))
    swapped = labels.copy()
    swapped[:, np.r_[_FIRST, _SECOND]] = labels[:, np.r_[_SECOND, _FIRST]]
    labels = np.where(kind < 0.03, swapped, labels)
    moves = random.choice(INTERVALS, (len(labels), 1)) * random.choice([-1, 1], (len(labels), 1))
    moved = labels.copy()
    moved[:, _PITCHES] = np.clip(labels[:, _PITCHES] + moves / _STEPS[_PITCHES], 0, 1)
    return np.where(kind > 0.97, moved, labels).astype(np.float32)


def _improve(objective: Objective, population: _Population, count: int) -> None:
    """Make a step of least squares from the best presets that are not exhausted."""
    rows = np.flatnonzero(~population.is_exhausted)
    rows = rows[np.argsort(population.distances[rows], kind="stable")][:count]
    if not len(rows):
        return
    before, origins = population.distances[rows], population.labels[rows]
    slopes = objective.slopes(origins)
    population.replace(rows, np.stack([s.best for s in slopes]), np.array([s.best_distance for s in slopes]))
    trials = np.concatenate([least_squares_steps(*pair) for pair in zip(origins, slopes, strict=True)])
    population.replace(np.repeat(rows, len(DAMPINGS)), trials, objective(trials))
    population.is_exhausted[rows] = population.distances[rows] > before * (1 - EXHAUSTED)


def least_squares_steps(labels: Floats, slope: Slope) -> Floats:
    """Return the labels after steps of all ``DAMPINGS``, float32 ``(dampings, learned)``.

    Args:
        labels: float32 ``(learned,)``, at which the slope was measured.
        slope: of the objective.
    """
    position = labels[FREE]
    is_blocked = ((position <= 0) & (slope.gradient > 0)) | ((position >= 1) & (slope.gradient < 0))
    moves = ~is_blocked
    curvature = slope.curvature * np.outer(moves, moves)
    diagonal = np.diag(curvature) + 1e-6 * np.trace(curvature) / len(FREE) + 1e-9
    systems = curvature + DAMPINGS[:, None, None] * np.diag(diagonal)
    steps = np.linalg.solve(systems, -np.where(moves, slope.gradient, 0)[None, :, None])[..., 0]
    trials = np.repeat(labels[None], len(DAMPINGS), axis=0)
    trials[:, FREE] = np.clip(position + np.clip(steps, -LONGEST_STEP, LONGEST_STEP), 0, 1)
    return trials
