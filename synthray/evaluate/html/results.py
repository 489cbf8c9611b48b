"""Rows of a report: the results of each model, of each search that follows one, and of each baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import CHANCE, Evaluation
from synthray.evaluate.scores import Score


@dataclass(frozen=True)
class Result:
    """The results of one kind of answer."""

    name: str
    series: int | None
    """Index of its colour and shape; None for a baseline."""
    distances: Mapping[str, Estimate]
    """Mean distances from the originals, by name in ``DISTANCES``."""
    scores: tuple[Score, ...] = ()
    """Scores of all parameters, each with the score of chance. A search or a baseline has no scores."""
    uri: str = ""
    """URI of the model; empty for a search or a baseline."""


def results_of(evaluation: Evaluation) -> tuple[Result, ...]:
    """Return the results of models and searches in the order of the evaluation, then those of the baselines."""
    assert evaluation.distances is not None
    found = []
    for index, (name, distances) in enumerate(evaluation.distances.items()):
        if name in BASELINES:
            found.append(Result(name, None, distances))
        else:
            found.append(Result(name, index, distances, _scores(evaluation, name), evaluation.models.get(name, "")))
    return tuple(found)


def _scores(evaluation: Evaluation, name: str) -> tuple[Score, ...]:
    """Return a model's scores, each with the score of chance on the same sounds."""
    scored = evaluation.scores.get(name)
    if scored is None:
        return ()
    return tuple(map(_with_chance, scored.parameters, evaluation.scores[CHANCE].parameters))


def _with_chance(found: Score, chance: Score) -> Score:
    over_all, where_audible = replace(found.over_all, chance=chance.over_all.value), found.where_audible
    if where_audible is not None and chance.where_audible is not None:
        where_audible = replace(where_audible, chance=chance.where_audible.value)
    return replace(found, over_all=over_all, where_audible=where_audible)
