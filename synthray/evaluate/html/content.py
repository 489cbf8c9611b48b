"""Content of the report of an evaluation. How it is shown is in ``page.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.examples import KINDS, Example
from synthray.evaluate.html.data import (
    Answer,
    Baseline,
    Distance,
    ExampleMatch,
    ModelResult,
    ParameterScore,
    ReportData,
)
from synthray.evaluate.html.size import examples_that_fit
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import CHANCE, Evaluation
from synthray.evaluate.scores import Score
from synthray.match.distances.table import DISTANCES
from synthray.synth.audible import audible

TITLES = {distance.name: distance.title for distance in DISTANCES}


def report_data(evaluation: Evaluation) -> ReportData:
    """Return the content of the report of an evaluation whose distances were measured.

    It has as many of the examples as fit into one file, the same number of each kind.
    """
    assert evaluation.distances is not None
    answers = [name for name in evaluation.distances if name not in BASELINES]
    return ReportData(
        title=", ".join(evaluation.models),
        data_uri=evaluation.data,
        sounds=evaluation.sounds,
        models=tuple(_model(evaluation, name) for name in answers),
        distances=tuple(
            Distance(d.title, f"In {d.unit}." if d.unit else "", not d.higher_is_better) for d in DISTANCES
        ),
        baselines=tuple(Baseline(name, _by_title(evaluation.distances[name])) for name in BASELINES),
        examples=tuple(map(_example, _fitting(evaluation.listen, examples_that_fit(len(answers))))),
    )


def _fitting(examples: Sequence[Example], count: int) -> list[Example]:
    """Return at most ``count`` examples, the first ones of each kind."""
    kinds = {kind: [example for example in examples if example.kind == kind] for kind in KINDS}
    per_kind = max(1, count // len(KINDS))
    return [example for kind in KINDS for example in kinds[kind][:per_kind]][:count]


def _model(evaluation: Evaluation, name: str) -> ModelResult:
    """Return the results of a model, or of its answers after a search, which have no scores of their own."""
    assert evaluation.distances is not None
    scored = evaluation.scores.get(name)
    pairs = zip(scored.parameters, evaluation.scores[CHANCE].parameters, strict=True) if scored else ()
    return ModelResult(
        name,
        scores=tuple(_score(found, chance) for found, chance in pairs),
        distances=_by_title(evaluation.distances[name]),
        description=(("file", evaluation.models[name]),) if name in evaluation.models else (),
    )


def _score(found: Score, chance: Score) -> ParameterScore:
    """Return the score of a parameter and that of chance on the same sounds."""
    over_all = replace(found.over_all, chance=chance.over_all.value)
    if found.where_audible is None or chance.where_audible is None:
        return ParameterScore(found.name, over_all)
    return ParameterScore(found.name, over_all, replace(found.where_audible, chance=chance.where_audible.value))


def _by_title(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {TITLES[name]: estimate for name, estimate in estimates.items()}


def _example(example: Example) -> ExampleMatch:
    answers = tuple(
        Answer(
            each.model,
            each.settings,
            each.audio,
            audible(each.settings[None])[0],
            distances={TITLES[name]: value for name, value in each.distances.items()},
        )
        for each in example.answers
    )
    heard = audible(example.settings[None])[0]
    return ExampleMatch(
        example.kind, example.audio, answers, example.settings, heard, f"Sound {example.row} of the data set."
    )
