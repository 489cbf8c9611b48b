"""Tables of a report: the comparison of models, distances, scores of parameters, and settings of an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.examples import Example
from synthray.evaluate.html.markup import Html, number, percent, readable, tag
from synthray.evaluate.html.plots import marker
from synthray.evaluate.html.results import Result
from synthray.match.distances.table import DISTANCES
from synthray.synth.audible.audible import audible
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Range

NOTHING = "\N{EN DASH}"


def model_table(results: Sequence[Result]) -> Html:
    """Return one row per model or search: mean scores where audible, and mean distances. The best are bold."""
    columns: list[tuple[str, list[float | None], bool, Callable[[float], str]]] = []
    for kind, title in ((Choice.kind, "choices right"), (Range.kind, "ranges off by")):
        columns.append((title, [mean_score(each, kind) for each in results], kind == Choice.kind, _percentage))
    for distance in DISTANCES:
        means: list[float | None] = [each.distances[distance.name].value for each in results]
        columns.append((distance.title, means, distance.higher_is_better, number))
    rows = [
        [tag("th", marker(each.series), each.name, scope="row"), *(_best_cell(column, row) for column in columns)]
        for row, each in enumerate(results)
    ]
    return _table("Comparison of the models", ["model", *(title for title, *_ in columns)], rows)


def mean_score(result: Result, kind: str) -> float | None:
    """Return the mean score of the parameters of a kind where they are audible, or None without scores."""
    found = [score.main.value for score in result.scores if score.kind == kind]
    return float(np.mean(found)) if found else None


def distance_table(results: Sequence[Result], sounds: int) -> Html:
    """Return one row per result: each distance with its interval and its median."""
    rows = [
        [
            tag("th", marker(result.series), result.name, scope="row"),
            *(_estimate_cell(result.distances[distance.name], number, sounds) for distance in DISTANCES),
        ]
        for result in results
    ]
    return _table("Mean distances, 95 % intervals and medians", ["answer", *(d.title for d in DISTANCES)], rows)


def score_table(caption: str, kind: str, models: Sequence[Result], sounds: int) -> Html:
    """Return one row per parameter of a kind: each model's score where the parameter is audible and over all sounds."""
    first = tag("tr", tag("td"), *(tag("th", model.name, scope="colgroup", colspan=2) for model in models))
    second = tag("tr", *(tag("th", text, scope="col") for text in ["parameter", *["audible", "all"] * len(models)]))
    rows = []
    for same in zip(*(model.scores for model in models), strict=True):
        if same[0].kind == kind:
            both = [estimate for score in same for estimate in (score.where_audible, score.over_all)]
            cells = [_estimate_cell(estimate, _percentage, sounds) for estimate in both]
            rows.append([tag("th", readable(same[0].name), scope="row"), *cells])
    return _table(caption, [], rows, tag("thead", first, second))


def settings_table(example: Example, series: Mapping[str, int | None], caption: str) -> Html:
    """Return one row per learned parameter: the true setting and every answer. Inaudible ones are grey."""
    heard = audible(np.stack([example.settings, *(answer.settings for answer in example.answers)]))
    rows = []
    for column, parameter in enumerate(INSTRUMENT.learned):
        at = INSTRUMENT.index[parameter.name]
        truth = float(example.settings[at])
        cells = [
            tag("th", readable(parameter.name), scope="row"),
            _setting_cell(parameter, truth, bool(heard[0, column])),
        ]
        for answer, of_answer in zip(example.answers, heard[1:], strict=True):
            setting = float(answer.settings[at])
            comparison = _comparison(parameter, setting, truth)
            cells.append(_setting_cell(parameter, setting, bool(of_answer[column]), comparison))
        rows.append(cells)
    head = [tag("th", text, scope="col") for text in ("parameter", "original")]
    names = [tag("th", marker(series[answer.model]), answer.model, scope="col") for answer in example.answers]
    return _table(caption, [], rows, tag("thead", tag("tr", *head, *names)))


def format_setting(parameter: Range | Choice, setting: float) -> str:
    """Return a setting with its unit, or the name of a choice."""
    if isinstance(parameter, Choice):
        return parameter.values[int(setting)]
    text = f"{setting:.0f}".replace("-", "\N{MINUS SIGN}") if parameter.step else number(setting)
    return f"{text} {parameter.unit}".rstrip()


def _setting_cell(parameter: Range | Choice, setting: float, is_audible: bool, comparison: Html | str = "") -> Html:
    value = format_setting(parameter, setting)
    if not is_audible:
        return tag("td", value, tag("span", "inaudible", class_="note"), class_="inaudible")
    return tag("td", value, tag("div", comparison, class_="remarks") if comparison else "")


def _comparison(parameter: Range | Choice, setting: float, truth: float) -> Html:
    """Return the word right or wrong for a choice; for a range, a small picture of both settings."""
    if isinstance(parameter, Choice):
        right = setting == truth
        return tag("span", "\N{CHECK MARK} right" if right else "\N{MULTIPLICATION SIGN} wrong", class_="verdict")
    dots = [
        tag("i", class_=class_, style=f"left:{percent(float(parameter.to_unit_interval(value)))}")
        for class_, value in (("truth", truth), ("answer", setting))
    ]
    return tag("span", *dots, class_="track", aria_hidden="true")


def _best_cell(column: tuple[str, list[float | None], bool, Callable[[float], str]], row: int) -> Html:
    _, values, higher_is_better, text = column
    value, known = values[row], [each for each in values if each is not None]
    if value is None:
        return tag("td", NOTHING)
    is_best = len(known) > 1 and value == (max(known) if higher_is_better else min(known))
    return tag("td", tag("strong", text(value), class_="best") if is_best else text(value))


def _estimate_cell(estimate: Estimate | None, text: Callable[[float], str], all_sounds: int) -> Html:
    if estimate is None:
        return tag("td", NOTHING)
    notes = [f"{text(estimate.low)} to {text(estimate.high)}"]
    if estimate.median is not None:
        notes.append(f"median {text(estimate.median)}")
    if estimate.chance is not None:
        notes.append(f"chance {text(estimate.chance)}")
    if estimate.count != all_sounds:
        notes.append(f"{estimate.count:,} sounds")
    return tag("td", text(estimate.value), *(tag("span", note, class_="note") for note in notes))


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Html]], header: Html | None = None) -> Html:
    """Return a table that scrolls sideways where it is too wide."""
    thead = header or tag("thead", tag("tr", *(tag("th", text, scope="col") for text in head)))
    body = tag("tbody", *(tag("tr", *cells) for cells in rows))
    table = tag("table", tag("caption", caption), thead, body)
    return tag("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _percentage(share: float) -> str:
    return f"{100 * share:.1f} %"
