"""An evaluation as tables for a terminal. Everything else that was measured is in its JSON (``report.py``)."""

from __future__ import annotations

from collections.abc import Sequence

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.report import RENDERED_AGAIN, Evaluation, measure
from synthray.evaluate.scores import Score
from synthray.match.distances.table import DISTANCES
from synthray.text_tables import align

ORIGINS = {"holdout": "not used for training", "all": "all examples, possibly used for training"}
NOTHING = "-"


def to_text(evaluation: Evaluation) -> str:
    """Return aligned tables: one line per parameter and the means, then the distances."""
    names = ", ".join(evaluation.models)
    title = f"{names} on {evaluation.rows} examples of {evaluation.data} ({ORIGINS[evaluation.examples]})"
    lines = [title, "", *_score_table(evaluation)]
    if evaluation.distances:
        lines += ["", *_distance_table(evaluation)]
    return "\n".join(lines)


def _score_table(evaluation: Evaluation) -> list[str]:
    scored = evaluation.scores
    parameters = list(zip(*(found.parameters for found in scored.values()), strict=True))
    means = list(zip(*(found.means for found in scored.values()), strict=True))
    heard = ("audible",) if evaluation.knows_audible else ()
    rows: list[Sequence[str]] = [("parameter", "measure", *heard, *(f"{name} " for name in scored))]
    rows += [_score_row(evaluation, same, where_audible=True) for same in parameters]
    rows.append([""] * len(rows[0]))
    rows += [_score_row(evaluation, same, where_audible=True) for same in means]
    if evaluation.knows_audible:
        rows += [_score_row(evaluation, same, where_audible=False) for same in means]
    notes = "* better than chance (95 % interval)"
    if evaluation.knows_audible:
        notes = f"scores of the sounds in which a parameter can be heard; {notes}"
    return [*align(rows, right=range(2, len(rows[0]))), "", notes]


def _score_row(evaluation: Evaluation, same: Sequence[Score], *, where_audible: bool) -> list[str]:
    """Return the cells of one parameter or mean; ``same`` holds its score for each answer."""
    first, chance = same[0], same[-1]
    cells = [_cell(score, chance, where_audible) for score in same]
    if not evaluation.knows_audible:
        return [first.name, measure(first.kind), *cells]
    if not where_audible:
        return [f"{first.name}, all sounds", measure(first.kind), "", *cells]
    share = first.where_audible.count / first.over_all.count if first.where_audible else 0.0
    return [first.name, measure(first.kind), f"{share:.0%}", *cells]


def _cell(score: Score, chance: Score, where_audible: bool) -> str:
    found: Estimate | None = score.where_audible if where_audible else score.over_all
    if found is None:
        return f"{NOTHING} "
    return f"{found.value:.3f}{'*' if where_audible and score.beats(chance) else ' '}"


def _distance_table(evaluation: Evaluation) -> list[str]:
    assert evaluation.distances
    titles = [f"{distance.title}{f', {distance.unit}' if distance.unit else ''}" for distance in DISTANCES]
    rows: list[Sequence[str]] = [(f"mean of {evaluation.sounds} sounds", *titles)]
    for answer, estimates in evaluation.distances.items():
        rows.append([answer, *(_number(estimates[distance.name]) for distance in DISTANCES)])
    lines = align(rows, right=range(1, len(rows[0])))
    if evaluation.originals == RENDERED_AGAIN:
        lines += ["", f"The data set does not store its noise: originals are {RENDERED_AGAIN}."]
    return lines


def _number(found: Estimate) -> str:
    return f"{found.value:.2f}" if found.value >= 1 else f"{found.value:.3f}"
