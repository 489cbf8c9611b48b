"""Search for a preset whose sound is near a target.

Several small populations evolve by themselves, and then the best of all of them together. A population starts with
presets that are drawn from the network's distribution. Its presets have children, and the best of both survive.
Children cross two parents, and change some parameters: to other values that the network finds likely, to values nearby,
or along the difference of two other presets (Storn and Price 1997, "Differential evolution"). Pitches move by
intervals, because a wrong pitch is most often wrong by an octave or a fifth. Changes become smaller towards the end.

The distance is in ``objective.py``. ``docs/experiments.md`` says what else was tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.model.distribution import PresetDistribution
from synthray.synth.dsp.lanes import LANES, Floats
from synthray.synth.parameters import Choice, Range

Distance = Callable[[Floats], npt.NDArray[np.float64]]
"""Returns the distances float64 ``(presets,)`` of labels float32 ``(presets, learned)``."""
Improvement = Callable[[Floats, int], None]
"""Is called with the labels of each new best preset, and the number of presets tried so far."""

INTERVALS = np.array([1, 2, 3, 4, 5, 7, 12, 19, 24])
"""Steps by which a stepped range moves up or down: near ones, and the intervals of strong overtones."""

PRESETS_OF_A_POPULATION = 6_000
"""Length of a search, in presets, that is worth one more population."""
FEWEST_POPULATIONS, MOST_POPULATIONS = 2, 8

REOPENED = 0.6
"""Width of changes just after the populations are merged, as a share of the initial width."""


@dataclass(frozen=True)
class EvolutionConfig:
    """Settings of a search."""

    populations: int = FEWEST_POPULATIONS
    """Number of populations at first. Where one is stuck, another may find a better preset."""
    apart: float = 0.6
    """Share of the search in which the populations evolve by themselves."""
    sampled: float = 0.25
    """Share of the first part in which presets are only drawn from the network's distribution."""
    size: int = 16
    """Presets of a population that survive."""
    children: int = LANES
    """Presets that each population makes in a generation; 32 are rendered together at no more cost."""
    crossed: float = 0.5
    """Share of the children that have two parents."""
    differing: float = 0.25
    """Share of the children that move along the difference of two other presets."""
    changes: float = 3.0
    """Mean number of parameters that a child changes at first."""
    widest: float = 0.12
    """Standard deviation of a change to a value nearby, in positions, at first."""
    narrowest: float = 0.008
    """Standard deviation of such a change at the end."""

    @classmethod
    def of_length(cls, presets: float) -> EvolutionConfig:
        """Return settings for a search of about ``presets`` presets; a longer search has more populations."""
        return cls(populations=int(np.clip(presets / PRESETS_OF_A_POPULATION, FEWEST_POPULATIONS, MOST_POPULATIONS)))


@dataclass(frozen=True)
class Found:
    """Presets and their distances, the best first."""

    labels: Floats
    """float32 ``(presets, learned)``."""
    distances: npt.NDArray[np.float64]
    """float64 ``(presets,)``."""

    def best_with(self, labels: Floats, distances: npt.NDArray[np.float64], size: int) -> Found:
        """Return the best ``size`` of these and other presets, without duplicates."""
        labels = np.concatenate([self.labels, labels])
        distances = np.concatenate([self.distances, distances])
        _, first = np.unique(labels, axis=0, return_index=True)
        order = first[np.argsort(distances[first], kind="stable")][:size]
        return Found(labels[order], distances[order])


def search(
    distance: Distance,
    proposal: PresetDistribution,
    progress: Callable[[int], float],
    random: np.random.Generator,
    config: EvolutionConfig,
    on_improvement: Improvement,
    first: Floats,
) -> Found:
    """Return the best presets found, ``first`` among those tried.

    Args:
        distance: is minimised. It is called with the children of all populations at once.
        proposal: the network's distribution for the sound.
        progress: returns the share of the search that is over after a number of evaluations; 1 ends it.
        random: its state decides the result, for a given number of evaluations.
        config: settings of the search.
        on_improvement: is called with each new best preset.
        first: labels float32 ``(presets, learned)`` to begin with.
    """
    breeding = Breeding(proposal, random, config)
    distances = distance(first)
    population = Found(first[:1], distances[:1]).best_with(first[1:], distances[1:], config.size)
    populations, evaluations, best = (population,) * config.populations, len(first), np.inf
    while True:
        leader = min(populations, key=lambda population: float(population.distances[0]))
        if leader.distances[0] < best:
            best = float(leader.distances[0])
            on_improvement(leader.labels[0].copy(), evaluations)
        share = progress(evaluations)
        if share >= 1:
            return _together(populations, config.size)
        if share >= config.apart:
            populations = (_together(populations, config.size),)
        count = config.children * config.populations // len(populations)
        litters = [breeding.children(population.labels, count, share) for population in populations]
        populations = _survivors(populations, litters, distance, config.size)
        evaluations += count * len(populations)


def _survivors(
    populations: tuple[Found, ...], litters: list[Floats], distance: Distance, size: int
) -> tuple[Found, ...]:
    """Return the best presets of each population and its children."""
    distances = np.split(distance(np.concatenate(litters)), len(litters))
    parts = zip(populations, litters, distances, strict=True)
    return tuple(population.best_with(litter, part, size) for population, litter, part in parts)


def _together(populations: tuple[Found, ...], size: int) -> Found:
    """Return one population of the best presets, equally many from each of ``populations``."""
    kept = size // len(populations)
    first, *others = (Found(p.labels[:kept], p.distances[:kept]) for p in populations)
    for other in others:
        first = first.best_with(other.labels, other.distances, size)
    return first


class Breeding:
    """Makes new presets from those of a population.

    Args:
        proposal: the network's distribution for the sound.
        random: the generator.
        config: settings of the search.
    """

    def __init__(self, proposal: PresetDistribution, random: np.random.Generator, config: EvolutionConfig) -> None:
        self._proposal, self._random, self._config = proposal, random, config
        learned = proposal.table.learned
        self._classes = np.array([len(p.values) if isinstance(p, Choice) else 0 for p in learned])
        self._steps = np.array([p.num_steps if isinstance(p, Range) else 0 for p in learned])
        self._is_number = (self._classes == 0) & (self._steps == 0)

    def children(self, parents: Floats, count: int, share: float) -> Floats:
        """Return labels float32 ``(count, learned)``.

        Args:
            parents: labels float32 ``(parents, learned)``, the best first.
            count: how many children.
            share: of the search that is over.
        """
        config, random = self._config, self._random
        together = (share - config.apart) / (1 - config.apart)
        alone = (share / config.apart - config.sampled) / (1 - config.sampled)
        if alone < 0:
            return self._proposal.sample(count, random)
        left = 1 - alone if together < 0 else REOPENED * (1 - together)
        # Better parents are chosen more often. Towards the end, only the best ones are chosen.
        eligible = min(len(parents), max(4, int(config.size * left)))
        children = self._crossed(parents, (random.random(count) ** 1.5 * eligible).astype(int))
        is_changed = random.random(children.shape) < max(1.0, config.changes * (1 + left) / 2) / children.shape[1]
        is_changed[np.arange(count), random.integers(children.shape[1], size=count)] = True
        children = np.where(is_changed, self._changed(children, left), children)
        return self._along_differences(parents, children).astype(np.float32)

    def _crossed(self, parents: Floats, chosen: npt.NDArray[np.int64]) -> Floats:
        """Return the chosen parents, some with parameters of another parent."""
        random, shape = self._random, (len(chosen), parents.shape[1])
        others = parents[random.integers(len(parents), size=len(chosen))]
        is_crossed = random.random((len(chosen), 1)) < self._config.crossed
        is_taken = is_crossed & (random.random(shape) < 0.5 * random.random((len(chosen), 1)))
        return np.where(is_taken, others, parents[chosen])

    def _changed(self, labels: Floats, left: float) -> npt.NDArray[np.float64]:
        """Return another label for each parameter; the caller uses a few of them."""
        random, shape = self._random, labels.shape
        classes = np.floor(random.random(shape) * self._classes)
        moves = random.choice(INTERVALS, shape) * random.choice([-1, 1], shape)
        moved = np.clip(labels + moves / np.maximum(self._steps, 1), 0, 1)
        spread = self._config.narrowest + self._config.widest * left**1.5
        nearby = np.clip(labels + spread * random.standard_normal(shape), 0, 1)
        other = np.where(self._is_number, nearby, np.where(self._steps > 0, moved, classes))
        likely_share = np.where(self._is_number, 0.05 + 0.35 * left, np.where(self._steps > 0, 0.5, 0.6))
        is_likely = random.random(shape) < likely_share
        return np.where(is_likely, self._proposal.sample(len(labels), random), other)

    def _along_differences(self, parents: Floats, children: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Move some children along the difference of two presets of the population."""
        random, count = self._random, len(children)
        one, other = parents[random.integers(len(parents), size=(2, count))]
        moved = np.clip(children + random.uniform(0.2, 0.8, (count, 1)) * (one - other), 0, 1)
        is_moved = (random.random((count, 1)) < self._config.differing) & self._is_number
        return np.where(is_moved, moved, children)
