"""Tables of a report: the comparison of models, distances, scores of parameters, and settings of an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.html.data import Answer, Baseline, ExampleMatch, ModelResult, ReportData
from synthray.evaluate.html.markup import Html, number, percent, readable, tag
from synthray.evaluate.html.plots import marker
from synthray.synth.parameters import Choice, ParameterTable, Range

NOTHING = "\N{EN DASH}"


def model_table(data: ReportData) -> Html:
    """Return one row per model: mean scores where parameters are audible, and mean distances. The best are bold."""
    columns: list[tuple[str, list[float | None], bool, Callable[[float], str]]] = []
    for kind, title in ((Choice.kind, "choices right"), (Range.kind, "ranges off by")):
        names = {parameter.name for parameter in data.table.learned if parameter.kind == kind}
        columns.append((title, [mean_score(model, names) for model in data.models], kind == Range.kind, _percentage))
    for distance in data.distances:
        values = [model.distances.get(distance.name) for model in data.models]
        means = [None if value is None else value.value for value in values]
        columns.append((distance.name, means, distance.lower_is_better, number))
    columns = [column for column in columns if any(value is not None for value in column[1])]
    rows = [
        [tag("th", marker(series), model.name, scope="row"), *(_best_cell(column, series) for column in columns)]
        for series, model in enumerate(data.models)
    ]
    return _table("Comparison of the models", ["model", *(title for title, *_ in columns)], rows)


def mean_score(model: ModelResult, names: set[str]) -> float | None:
    """Return the mean of a model's scores of some parameters where they are audible, or None without scores."""
    found = [score.main.value for score in model.scores if score.name in names]
    return float(np.mean(found)) if found else None


def distance_table(data: ReportData, rows: Sequence[tuple[Baseline | ModelResult, int | None]]) -> Html:
    """Return one row per model and baseline: each distance with its interval and its median."""
    body = [
        [
            tag("th", marker(series), row.name, scope="row"),
            *(_estimate_cell(row.distances.get(distance.name), number, data.sounds) for distance in data.distances),
        ]
        for row, series in rows
    ]
    return _table("Mean distances, 95 % intervals and medians", ["answer", *(d.name for d in data.distances)], body)


def score_table(caption: str, names: Sequence[str], data: ReportData) -> Html:
    """Return one row per parameter: for each model its score where it is audible, and over all sounds."""
    models = data.models
    by_name = [{score.name: score for score in model.scores} for model in models]
    first = tag("tr", tag("td"), *(tag("th", model.name, scope="colgroup", colspan=2) for model in models))
    second = tag("tr", *(tag("th", text, scope="col") for text in ["parameter", *["audible", "all"] * len(models)]))
    rows = []
    for name in names:
        cells = [tag("th", readable(name), scope="row")]
        for scores in by_name:
            score = scores.get(name)
            cells.append(_estimate_cell(score.where_audible if score else None, _percentage, data.sounds))
            cells.append(_estimate_cell(score.over_all if score else None, _percentage, data.sounds))
        rows.append(cells)
    return _table(caption, [], rows, tag("thead", first, second))


def settings_table(example: ExampleMatch, series: Mapping[str, int], table: ParameterTable, caption: str) -> Html:
    """Return one row per learned parameter: the true setting and every answer. Inaudible ones are grey."""
    head = ["parameter", *(["original"] if example.settings is not None else [])]
    rows = []
    for column, parameter in enumerate(table.learned):
        at = table.index[parameter.name]
        truth = None if example.settings is None else float(example.settings[at])
        cells = [tag("th", readable(parameter.name), scope="row")]
        if truth is not None:
            cells.append(_setting_cell(parameter, truth, _is_audible(example.audible, column), "", Html("")))
        for answer in example.answers:
            cells.append(_answer_cell(parameter, answer, column, float(answer.settings[at]), truth))
        rows.append(cells)
    names = [tag("th", marker(series[answer.model]), answer.model, scope="col") for answer in example.answers]
    header = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in head), *names))
    return _table(caption, [], rows, header)


def format_setting(parameter: Range | Choice, setting: float) -> str:
    """Return a setting with its unit, or the name of a choice."""
    if isinstance(parameter, Choice):
        return parameter.values[int(setting)]
    text = f"{setting:.0f}".replace("-", "\N{MINUS SIGN}") if parameter.step else number(setting)
    return f"{text} {parameter.unit}".rstrip()


def _answer_cell(parameter: Range | Choice, answer: Answer, column: int, setting: float, truth: float | None) -> Html:
    sureness = "" if answer.confidence is None else f"{100 * answer.confidence[column]:.0f} % sure"
    if isinstance(parameter, Range):
        comparison = _track(parameter, setting, truth)
    elif truth is None:
        comparison = Html("")
    else:
        right = setting == truth
        comparison = tag("span", "\N{CHECK MARK} right" if right else "\N{MULTIPLICATION SIGN} wrong", class_="verdict")
    return _setting_cell(parameter, setting, _is_audible(answer.audible, column), sureness, comparison)


def _setting_cell(parameter: Range | Choice, setting: float, audible: bool, sureness: str, comparison: Html) -> Html:
    value = format_setting(parameter, setting)
    if not audible:
        return tag("td", value, tag("span", "inaudible", class_="note"), class_="inaudible")
    remarks = [remark for remark in (comparison, tag("span", sureness) if sureness else Html("")) if remark]
    return tag("td", value, tag("div", *remarks, class_="remarks") if remarks else "")


def _track(parameter: Range, setting: float, truth: float | None) -> Html:
    """Return a small picture of where a setting is in its range, and where the true one is."""
    places = [("truth", truth), ("answer", setting)]
    dots = [
        tag("i", class_=class_, style=f"left:{percent(float(parameter.to_unit_interval(value)))}")
        for class_, value in places
        if value is not None
    ]
    return tag("span", *dots, class_="track", aria_hidden="true")


def _is_audible(mask: np.ndarray | None, column: int) -> bool:
    return mask is None or bool(mask[column])


def _best_cell(column: tuple[str, list[float | None], bool, Callable[[float], str]], row: int) -> Html:
    _, values, lower_is_better, text = column
    value, known = values[row], [each for each in values if each is not None]
    if value is None:
        return tag("td", NOTHING)
    is_best = len(known) > 1 and value == (min(known) if lower_is_better else max(known))
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
