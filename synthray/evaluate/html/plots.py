"""Plots of a report as inline SVG.

Positions are percentages and texts are HTML, so a plot fits every width with letters of one size. A plot is hidden from
screen readers: the table that follows each one (``tables.py``) has the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from synthray.evaluate.bootstrap import Estimate
from synthray.evaluate.html.markup import Html, join, percent, readable, tag
from synthray.evaluate.html.results import Result
from synthray.evaluate.scores import Score
from synthray.match.distances.table import Distance

LINE_PX = 14
"""Height of one mark."""
SERIES_COLOURS = 6
BASELINE_PATH = "M-1.5 -6H1.5V6H-1.5Z"
MARKER_PATHS = (
    "M0 -5A5 5 0 0 1 0 5A5 5 0 0 1 0 -5Z",  # circle
    "M-4.5 -4.5H4.5V4.5H-4.5Z",  # square
    "M0 -5.5L5.5 4.5H-5.5Z",  # triangle
    "M0 -6L6 0L0 6L-6 0Z",  # diamond
)


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high``."""

    low: float
    high: float
    text: Callable[[float], str] = "{:g}".format
    """Returns the text of a number on the axis."""

    def share(self, value: float) -> float:
        """Return the position of a value, from 0 at the left end to 1 at the right end."""
        return float(np.clip((value - self.low) / (self.high - self.low), 0, 1))

    @property
    def ticks(self) -> list[float]:
        """Values with a label, both ends included."""
        return [float(value) for value in np.linspace(self.low, self.high, 5)]


@dataclass(frozen=True)
class Mark:
    """A value with its interval."""

    estimate: Estimate
    series: int | None
    """Index of the model, which chooses colour and shape; None for a baseline."""
    hollow: Estimate | None = None
    """A second value on the same line, drawn as an outline."""


@dataclass(frozen=True)
class Row:
    """A labelled row of marks, one above the other."""

    label: str
    marks: tuple[Mark, ...]


def distance_plot(distance: Distance, results: Sequence[Result]) -> Html:
    """Return the means of one distance, a row for each result."""
    found = [result.distances[distance.name] for result in results]
    if distance.higher_is_better:  # a similarity, at most 1
        axis = Axis(0.5 if min(estimate.low for estimate in found) >= 0.5 else 0.0, 1.0)
    else:
        axis = Axis(0.0, _round_up(max(estimate.high for estimate in found)))
    marks = [Mark(estimate, result.series) for estimate, result in zip(found, results, strict=True)]
    return _plot([Row(result.name, (mark,)) for result, mark in zip(results, marks, strict=True)], axis)


def score_plot(kind: str, models: Sequence[Result], highest: float) -> Html:
    """Return a plot of the scores of one kind of parameter.

    A filled mark is over the sounds in which the parameter is audible, a hollow one over all sounds. A line is chance.
    """
    scored = zip(*(model.scores for model in models), strict=True)
    rows = [
        Row(readable(same[0].name), tuple(_score_mark(m.series, s) for m, s in zip(models, same, strict=True)))
        for same in scored
        if same[0].kind == kind
    ]
    return _plot(rows, Axis(0.0, highest, lambda share: f"{100 * share:.0f} %"))


def legend(models: Sequence[Result]) -> Html:
    """Return the names of the models with their colours and shapes."""
    return tag("ul", *(tag("li", marker(model.series), model.name) for model in models), class_="legend")


def marker(series: int | None) -> Html:
    """Return a model's shape as a small picture; ``series`` is None for an original or a baseline."""
    return tag(
        "svg", _shape(series), class_=f"marker {series_class(series)}", viewBox="-7 -7 14 14", aria_hidden="true"
    )


def series_class(series: int | None) -> str:
    """Return the CSS class that has the colour of a model."""
    return "series-none" if series is None else f"series-{series % SERIES_COLOURS}"


def _score_mark(series: int | None, score: Score) -> Mark:
    return Mark(score.main, series, None if score.where_audible is None else score.over_all)


def _plot(rows: Sequence[Row], axis: Axis) -> Html:
    lines = [join([tag("span", row.label, class_="plot-label"), _row_svg(row, axis)]) for row in rows]
    ticks = [tag("span", axis.text(tick), style=f"left:{percent(axis.share(tick))}") for tick in axis.ticks]
    return tag("div", *lines, tag("div", *ticks, class_="plot-axis"), class_="plot", aria_hidden="true")


def _row_svg(row: Row, axis: Axis) -> Html:
    height = LINE_PX * max(1, len(row.marks)) + 6
    grid = [_line(axis.share(tick), axis.share(tick), "0", "100%", "grid") for tick in axis.ticks]
    marks = [_mark(mark, axis, 3 + LINE_PX * (line + 0.5)) for line, mark in enumerate(row.marks)]
    return tag("div", tag("svg", *grid, *marks), class_="plot-cell", style=f"min-height:{height}px")


def _mark(mark: Mark, axis: Axis, y: float) -> Html:
    estimate, parts = mark.estimate, []
    if estimate.chance is not None:
        x = axis.share(estimate.chance)
        parts.append(_line(x, x, f"{y - LINE_PX / 2:g}", f"{y + LINE_PX / 2:g}", "chance"))
    if mark.hollow is not None:
        parts.append(_at(axis.share(mark.hollow.value), y, _shape(mark.series), "hollow"))
    parts.append(_line(axis.share(estimate.low), axis.share(estimate.high), f"{y:g}", f"{y:g}", "interval"))
    parts.append(_at(axis.share(estimate.value), y, _shape(mark.series), "value"))
    return tag("g", *parts, class_=series_class(mark.series))


def _at(share: float, y: float, shape: Html, class_: str) -> Html:
    return tag("svg", shape, x=percent(share), y=f"{y:g}", overflow="visible", class_=class_)


def _shape(series: int | None) -> Html:
    return tag("path", d=BASELINE_PATH if series is None else MARKER_PATHS[series % len(MARKER_PATHS)])


def _line(x1: float, x2: float, y1: str, y2: str, class_: str) -> Html:
    return tag("line", x1=percent(x1), x2=percent(x2), y1=y1, y2=y2, class_=class_)


def _round_up(value: float) -> float:
    """Round up to 1, 1.2, 1.6, 2, … times a power of ten, so that quarters of the result have few digits."""
    if value <= 0:
        return 1.0
    power = 10 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= value))
