"""What a report shows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from synthray.evaluate import bootstrap
from synthray.evaluate.examples import Example
from synthray.evaluate.html.data import (
    Answer,
    Baseline,
    Distance,
    Estimate,
    ExampleMatch,
    ModelResult,
    ParameterScore,
    ReportData,
)
from synthray.evaluate.parts import BASELINES
from synthray.evaluate.report import CHANCE, Evaluation
from synthray.match.distances.table import DISTANCES
from synthray.synth.audible import audible


def report_data(evaluation: Evaluation) -> ReportData:
    """Return the content of the report of an evaluation whose distances were measured."""
    assert evaluation.distances is not None
    answers = [name for name in evaluation.distances if name not in BASELINES]
    return ReportData(
        title=", ".join(evaluation.models),
        data_uri=evaluation.data,
        sounds=evaluation.sounds,
        models=tuple(_model(evaluation, name) for name in answers),
        distances=tuple(
            Distance(d.name, f"{d.title} in {d.unit}" if d.unit else d.title, not d.higher_is_better) for d in DISTANCES
        ),
        baselines=tuple(Baseline(name, _estimates(evaluation.distances[name])) for name in BASELINES),
        examples=tuple(map(_example, evaluation.listen)),
    )


def _model(evaluation: Evaluation, name: str) -> ModelResult:
    """Return the results of a model, or of its answers after a search, which have no scores of their own."""
    assert evaluation.distances is not None
    scored, chance = evaluation.scores.get(name), evaluation.scores[CHANCE]
    pairs = zip(scored.parameters, chance.parameters, strict=True) if scored else ()
    return ModelResult(
        name,
        scores=tuple(
            ParameterScore(
                found.name,
                _estimate(found.over_all, guess.over_all.value),
                _estimate(found.where_audible, guess.where_audible.value if guess.where_audible else None)
                if found.where_audible
                else None,
            )
            for found, guess in pairs
        ),
        distances=_estimates(evaluation.distances[name]),
        description=(("file", evaluation.models[name]),) if name in evaluation.models else (),
    )


def _estimates(found: Mapping[str, bootstrap.Estimate]) -> dict[str, Estimate]:
    return {name: _estimate(estimate) for name, estimate in found.items()}


def _estimate(found: bootstrap.Estimate, chance: float | None = None) -> Estimate:
    return Estimate(found.value, found.low, found.high, found.count, chance, found.median)


def _example(example: Example) -> ExampleMatch:
    answers = tuple(
        Answer(each.model, each.settings, each.audio, audible(each.settings[None])[0], distances=each.distances)
        for each in example.answers
    )
    heard = audible(example.settings[None])[0]
    return ExampleMatch(
        example.kind, example.audio, answers, example.settings, heard, f"Sound {example.row} of the data set."
    )
