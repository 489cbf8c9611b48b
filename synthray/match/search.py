"""Search for a preset whose sound is near a target.

An evolutionary search over labels: a population of the best presets so far has children, of which the best survive.
Children cross two parents, and change some parameters: to other values that the network finds likely, to values nearby,
or along the difference of two other presets (Storn and Price 1997, "Differential evolution"). Pitches move by
intervals, because a wrong pitch is most often wrong by an octave or a fifth. Changes become smaller towards the end.

The distance is in ``objective.py``. ``docs/experiments.md`` says what else was tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthray.model.distribution import PresetDistribution
from synthray.synth.parameters import Choice, ParameterTable

Distance = Callable[[np.ndarray], np.ndarray]
"""Returns the distances float64 ``(count,)`` of labels float32 ``(count, learned)``."""

INTERVALS = np.array([1, 2, 3, 4, 5, 7, 12, 19, 24])
"""Steps by which a stepped range moves up or down: near ones, and the intervals of strong overtones."""


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search."""

    sampled: float = 0.25
    """Share of the search in which presets are only drawn from the network's distribution."""
    population: int = 16
    """Presets that survive."""
    children: int = 32
    """Presets made in each generation; 32 are rendered together at no more cost."""
    crossed: float = 0.5
    """Share of the children that have two parents."""
    changes: float = 3.0
    """Mean number of parameters that a child changes at first."""
    widest: float = 0.12
    """Standard deviation of a change to a value nearby, in positions, at first."""
    narrowest: float = 0.008
    """Standard deviation of such a change at the end."""


@dataclass(frozen=True)
class Found:
    """Presets and their distances, the best first."""

    labels: np.ndarray
    """float32 ``(presets, learned)``."""
    distances: np.ndarray
    """float64 ``(presets,)``."""


def search(
    distance: Distance,
    proposal: PresetDistribution,
    progress: Callable[[int], float],
    random: np.random.Generator,
    config: SearchConfig | None = None,
    on_improvement: Callable[[np.ndarray, float], None] = lambda _labels, _distance: None,
) -> Found:
    """Return the best presets found.

    Args:
        distance: is minimised. It is called with at most ``children`` presets at a time.
        proposal: what the network knows about the sound.
        progress: returns the share of the search that is over after a number of evaluations; 1 ends it.
        random: its state decides the result, for a given number of evaluations.
        config: settings of the search.
        on_improvement: is called with the labels and the distance of each new best preset.
    """
    config = config or SearchConfig()
    population = _Population(config.population, on_improvement)
    labels = proposal.likeliest()[None]
    evaluations = 0
    while True:
        population.add(labels, distance(labels))
        evaluations += len(labels)
        share = progress(evaluations)
        if share >= 1:
            return Found(population.labels, population.distances)
        if share < config.sampled:
            labels = proposal.sample(config.children, random)
        else:
            share = (share - config.sampled) / (1 - config.sampled)
            labels = _Breeding(proposal, population.labels, share, config, random).children()


class _Population:
    """The best presets so far, each once."""

    def __init__(self, size: int, on_improvement: Callable[[np.ndarray, float], None]) -> None:
        self._size, self._on_improvement = size, on_improvement
        self.labels = np.empty((0, 0), np.float32)
        self.distances = np.empty(0)

    def add(self, labels: np.ndarray, distances: np.ndarray) -> None:
        """Keep the best of the population and of these presets."""
        best = self.distances[0] if len(self.distances) else np.inf
        if len(self.distances):
            labels = np.concatenate([self.labels, labels])
            distances = np.concatenate([self.distances, distances])
        _, first = np.unique(labels, axis=0, return_index=True)
        order = first[np.argsort(distances[first], kind="stable")][: self._size]
        self.labels, self.distances = labels[order], distances[order]
        if self.distances[0] < best:
            self._on_improvement(self.labels[0], float(self.distances[0]))


class _Breeding:
    """One generation of children."""

    def __init__(
        self,
        proposal: PresetDistribution,
        parents: np.ndarray,
        share: float,
        config: SearchConfig,
        random: np.random.Generator,
    ) -> None:
        self._proposal, self._parents, self._config, self._random = proposal, parents, config, random
        self._left = 1 - share
        self._spread = config.narrowest + config.widest * self._left**1.5
        table = proposal.table
        self._is_free = np.array([not isinstance(p, Choice) and not p.step for p in table.learned])

    def children(self) -> np.ndarray:
        """Return labels float32 ``(children, learned)``."""
        config, random = self._config, self._random
        count, learned = config.children, self._parents.shape[1]
        # Better parents are chosen more often, and towards the end only the best ones.
        eligible = min(len(self._parents), max(4, int(config.population * self._left)))
        chosen = (random.random(count) ** 1.5 * eligible).astype(int)
        children = self._crossed(self._parents[chosen])
        mean_changes = max(1.0, config.changes * (1 + self._left) / 2)
        is_changed = random.random((count, learned)) < mean_changes / learned
        is_changed[np.arange(count), random.integers(learned, size=count)] = True
        for column in range(learned):
            rows = np.flatnonzero(is_changed[:, column])
            if len(rows):
                children[rows, column] = self._changed(column, children[rows, column])
        return self._along_differences(children)

    def _crossed(self, children: np.ndarray) -> np.ndarray:
        """Replace parameters of some children by those of another parent."""
        config, random = self._config, self._random
        count, learned = children.shape
        others = self._parents[random.integers(len(self._parents), size=count)]
        is_crossed = random.random((count, 1)) < config.crossed
        taken = random.random((count, learned)) < 0.5 * random.random((count, 1))
        return np.where(is_crossed & taken, others, children)

    def _changed(self, column: int, labels: np.ndarray) -> np.ndarray:
        """Return other labels of one parameter."""
        random, count = self._random, len(labels)
        likely = self._proposal.quantiles(column, random.random(count))
        parameter = self._proposal.table.learned[column]
        if isinstance(parameter, Choice):
            return np.where(random.random(count) < 0.6, likely, random.integers(parameter.num_outputs, size=count))
        if parameter.step:
            moves = random.choice(INTERVALS, count) * random.choice([-1, 1], count) / parameter.num_steps
            return np.where(random.random(count) < 0.5, likely, np.clip(labels + moves, 0, 1))
        nearby = np.clip(labels + self._spread * random.standard_normal(count), 0, 1)
        return np.where(random.random(count) < 0.05 + 0.35 * self._left, likely, nearby)

    def _along_differences(self, children: np.ndarray) -> np.ndarray:
        """Move some children along the difference of two presets of the population."""
        random, count = self._random, len(children)
        one, other = self._parents[random.integers(len(self._parents), size=(2, count))]
        moved = children + random.uniform(0.2, 0.8, (count, 1)) * (one - other)
        is_moved = (random.random((count, 1)) < 0.25) & self._is_free
        return np.where(is_moved, np.clip(moved, 0, 1), children).astype(np.float32)


def uniform(table: ParameterTable, bins: int = 32) -> PresetDistribution:
    """Return the distribution that knows nothing."""
    counts = [p.num_outputs if isinstance(p, Choice) else (p.num_steps + 1 if p.step else bins) for p in table.learned]
    return PresetDistribution(table, tuple(np.full(count, 1 / count) for count in counts))
