"""The search and the match: reproducible, within budget, never worse than the network's answer."""

import time

import numpy as np
import pytest

from synthray.errors import ConfigError, SoundError
from synthray.match.objective import EXACT, Objective
from synthray.match.refine import FINALISTS, Refined, refine
from synthray.match.search import Breeding, EvolutionConfig, Found, search
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.parameters import Choice
from synthray.synth.priors import random_presets
from synthray.synth.voice import check_settings, render
from tests.match.proposals import proposal_around

LABELS = random_presets(21, 0, 3)
GENERATION = EvolutionConfig().populations * EvolutionConfig().children
NUMBERS = [INSTRUMENT.label_index[p.name] for p in INSTRUMENT.ranges if not p.step]
VAGUE = proposal_around(LABELS[0], certainty=0.3)


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return render(INSTRUMENT.labels_to_settings(LABELS[:1]), [5], threads=1)[0]


@pytest.fixture(scope="module")
def found(target) -> Refined:
    return refine(target, VAGUE, max_evaluations=600, seed=1)


def test_refine_is_reproducible_with_any_number_of_threads(target, found):
    again = refine(target, VAGUE, max_evaluations=600, seed=1, threads=2)
    np.testing.assert_array_equal(again.labels, found.labels)
    assert (again.distance_db, again.evaluations) == (found.distance_db, found.evaluations)
    assert not np.array_equal(refine(target, VAGUE, max_evaluations=600, seed=2).labels, found.labels)


def test_refine_ends_within_one_generation_after_its_evaluations(found):
    assert 600 <= found.evaluations <= 600 + GENERATION + FINALISTS + 1


def test_refine_ends_when_its_time_is_over(target):
    start_s = time.perf_counter()
    match = refine(target, VAGUE, budget_s=0.05)
    assert match.evaluations > 1
    # Other processes may use the CPU.
    assert time.perf_counter() - start_s < 30


@pytest.mark.parametrize(
    "budget", [{}, {"budget_s": 0.0}, {"max_evaluations": 0}, {"budget_s": 9, "max_evaluations": 0}]
)
def test_refine_without_a_budget_returns_the_likeliest_preset(target, budget):
    match = refine(target, VAGUE, **budget)
    np.testing.assert_array_equal(match.labels, VAGUE.likeliest())
    assert match.distance_db == Objective(target, 1, EXACT, loudness_weight=0)(VAGUE.likeliest()[None])[0]


def test_refine_is_nearer_than_the_likeliest_preset(target, found):
    assert found.distance_db < refine(target, VAGUE).distance_db


def test_refine_recovers_a_preset_from_a_sharp_distribution(target):
    sharp = proposal_around(LABELS[0], certainty=0.97)
    floor = Objective(target, 1, EXACT, loudness_weight=0)(LABELS[:1])[0]
    match = refine(target, sharp, max_evaluations=1200)
    assert match.distance_db < floor + 1.0
    names = [p.name for p in INSTRUMENT.learned if isinstance(p, Choice)]
    choices = [INSTRUMENT.label_index[name] for name in names]
    assert (match.labels[choices] == LABELS[0, choices]).mean() > 0.7


@pytest.mark.parametrize("budget", [0, 200])
def test_refine_is_no_further_than_its_start(target, budget):
    start = LABELS[0]
    start_db = Objective(target, 1, EXACT, loudness_weight=0)(start[None])[0]
    assert refine(target, VAGUE, max_evaluations=budget).distance_db > start_db
    assert refine(target, VAGUE, max_evaluations=budget, start=start).distance_db <= start_db


def test_refine_calls_back_with_ever_smaller_distances(target):
    seen: list[tuple[np.ndarray, int]] = []
    match = refine(
        target,
        VAGUE,
        max_evaluations=600,
        seed=1,
        on_improvement=lambda *improvement: seen.append(improvement),
    )
    counts = [evaluations for _, evaluations in seen]
    assert counts == sorted(set(counts))
    assert counts[0] == 1
    assert counts[-1] <= match.evaluations
    distances = Objective(target)(np.stack([labels for labels, _ in seen])).tolist()
    assert len(distances) > 1
    assert distances == sorted(set(distances), reverse=True)
    assert match.labels.shape == (len(INSTRUMENT.learned),)


def test_refine_of_silence_and_of_a_constant_returns_valid_settings():
    for sound in (np.zeros(N_SAMPLES, np.float32), np.full(N_SAMPLES, 0.1, np.float32)):
        match = refine(sound, VAGUE, max_evaluations=200)
        assert np.isfinite(match.distance_db)
        check_settings(INSTRUMENT.labels_to_settings(match.labels[None]))


def test_refine_of_a_wrong_target_or_budget_raises(target):
    with pytest.raises(SoundError, match="the sound has shape"):
        refine(target[:-1], VAGUE)
    with pytest.raises(SoundError, match="finite"):
        refine(np.full(N_SAMPLES, np.nan), VAGUE)
    with pytest.raises(ConfigError, match="budget_s is -1"):
        refine(target, VAGUE, budget_s=-1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.59, 0.61, 0.99])
def test_children_are_valid_presets(share):
    parents = random_presets(3, 0, 16)
    children = Breeding(VAGUE, np.random.default_rng(0), EvolutionConfig()).children(parents, 256, share)
    assert children.dtype == np.float32
    for column, parameter in enumerate(INSTRUMENT.learned):
        values = children[:, column]
        if isinstance(parameter, Choice):
            assert np.isin(values, range(len(parameter.values))).all()
            continue
        assert ((values >= 0) & (values <= 1)).all()
        if parameter.step:
            steps = values * parameter.num_steps
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_children_change_every_parameter_and_few_of_each_preset():
    parent = random_presets(3, 0, 1)
    children = Breeding(VAGUE, np.random.default_rng(0), EvolutionConfig()).children(parent, 512, 0.3)
    is_changed = children != parent
    assert is_changed.any(axis=0).all()
    assert 1 <= is_changed.sum(axis=1).mean() < 5


def test_children_stay_nearer_to_their_parent_towards_the_end():
    parent = random_presets(3, 0, 1)
    parent[:, NUMBERS] = 0.5
    distances = []
    for share in (0.2, 0.58, 0.65, 0.99):
        children = Breeding(VAGUE, np.random.default_rng(0), EvolutionConfig()).children(parent, 512, share)
        distances.append(np.abs(children - parent)[:, NUMBERS].sum(axis=1).mean())
    first, apart, reopened, last = distances
    assert first > 3 * apart
    assert reopened > 2 * last


def test_best_with_keeps_the_nearest_presets_once():
    labels = random_presets(4, 0, 6)
    found = Found(labels[:3], np.array([1.0, 3.0, 5.0]))
    best = found.best_with(labels[[0, 3, 4]], np.array([1.0, 2.0, 9.0]), 3)
    np.testing.assert_array_equal(best.labels, labels[[0, 3, 1]])
    assert best.distances.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("budget", "populations"),
    [
        ({"max_evaluations": 2048}, 2),
        ({"max_evaluations": 17_999}, 2),
        ({"max_evaluations": 18_000}, 3),
        ({"max_evaluations": 10**9}, 8),
        ({"budget_s": 1.0}, 2),
        ({"budget_s": 3.0}, 4),
        ({"budget_s": 10.0, "threads": 2}, 8),
        ({"budget_s": 10.0, "max_evaluations": 2048}, 2),
    ],
)
def test_longer_search_has_more_populations(budget, populations, target, monkeypatch):
    configs = []

    def one_preset(distance, proposal, progress, random, config, on_improvement, first):
        configs.append(config)
        return Found(first, distance(first))

    monkeypatch.setattr("synthray.match.refine.search", one_preset)
    refine(target, VAGUE, **budget)
    assert configs == [EvolutionConfig(populations=populations)]


@pytest.mark.parametrize("populations", [1, 2, 8])
def test_search_finds_the_minimum_of_a_simple_distance(populations):
    """The distance to a hidden preset; half of the populations' presets are far away at first."""
    hidden = LABELS[1]

    def distance(labels: np.ndarray) -> np.ndarray:
        return np.abs(labels - hidden).sum(axis=1, dtype=np.float64)

    config = EvolutionConfig(populations=populations)
    first = VAGUE.likeliest()[None]
    found = search(
        distance,
        VAGUE,
        lambda evaluations: evaluations / 8000,
        np.random.default_rng(0),
        config,
        lambda *_: None,
        first,
    )
    assert (np.diff(found.distances) >= 0).all()
    np.testing.assert_allclose(distance(found.labels), found.distances)
    assert found.distances[0] < 0.1 * distance(first)[0]
