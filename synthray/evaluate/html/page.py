"""The whole report: its sections, its size, and the file around them.

The look is in ``report.css``, the players' behaviour in ``report.js``, the head of the file in ``report.html``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from string import Template

from synthray.evaluate.html.data import Baseline, Distance, ModelResult, ReportData
from synthray.evaluate.html.examples import example_section
from synthray.evaluate.html.markup import Html, join, number, tag
from synthray.evaluate.html.plots import distance_plot, legend, marker, score_plot
from synthray.evaluate.html.size import spectrogram_size
from synthray.evaluate.html.tables import distance_table, model_table, score_table
from synthray.synth.parameters import Choice, Range


def render_report(data: ReportData) -> str:
    """Return the report as one HTML file, which makes no request.

    Raises:
        ConfigError: there are more sounds than fit into ``size.MAX_BYTES``.
    """
    series = {model.name: index for index, model in enumerate(data.models)}
    size = spectrogram_size(len(data.examples), len(data.models))
    examples = [
        example_section(example, number, series, data.table, size) for number, example in enumerate(data.examples, 1)
    ]
    sections = [
        ("models", "Models", _models(data)),
        ("listen", "Listen", join([_how_to_listen(), *examples]) if examples else None),
        ("distances", "Distances", _distances(data) if data.distances else None),
        ("parameters", "Parameters", _parameters(data) if any(model.scores for model in data.models) else None),
    ]
    shown = [(anchor, title, body) for anchor, title, body in sections if body is not None]
    files = resources.files(__package__)
    return Template(files.joinpath("report.html").read_text()).substitute(
        title=tag("title", data.title),
        style=files.joinpath("report.css").read_text(),
        script=files.joinpath("report.js").read_text(),
        header=_header(data, [(anchor, title) for anchor, title, _ in shown]),
        main=join(_section(*section) for section in shown),
    )


def _header(data: ReportData, anchors: Sequence[tuple[str, str]]) -> Html:
    links = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title in anchors]
    return join([
        tag("h1", data.title),
        tag("p", _headline(data), class_="headline"),
        tag("p", f"Measured on {data.sounds:,} sounds of ", tag("code", data.data_uri), class_="note"),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    ])  # fmt: skip


def _headline(data: ReportData) -> Html:
    """Return the main result in one or two sentences."""
    intro = "synthray hears a sound and answers with the synthesizer settings that make it."
    main = data.distances[0] if data.distances else None
    found = [] if main is None else _with_distance(main, data.models)
    if main is None or not found:
        return join([intro])
    value, name = (min if main.lower_is_better else max)(found)
    others = [f"{number(other)} ({label})" for other, label in _with_distance(main, data.baselines)]
    compared = f", compared with {', '.join(others)}" if others else ""
    sentence = (
        " The closest answers are those of ",
        tag("b", name),
        f": a mean {main.name} of ",
        tag("b", number(value)),
    )
    return join([intro, *sentence, f"{compared}."])


def _with_distance(distance: Distance, rows: Sequence[ModelResult | Baseline]) -> list[tuple[float, str]]:
    return [(row.distances[distance.name].value, row.name) for row in rows if distance.name in row.distances]


def _section(anchor: str, title: str, body: Html) -> Html:
    return tag("section", tag("h2", title, id=anchor), body, aria_labelledby=anchor)


def _models(data: ReportData) -> Html:
    note = (
        "Choices right and ranges off by are means over the parameters, each counted in the sounds where it can be "
        "heard. An error is a share of the parameter's range."
    )
    descriptions = [
        join([tag("h3", marker(index), model.name), _terms(model.description)])
        for index, model in enumerate(data.models)
        if model.description
    ]
    about = tag("details", tag("summary", "About the models"), *descriptions) if descriptions else ""
    return join([model_table(data), tag("p", note, class_="note"), about])


def _how_to_listen() -> Html:
    return tag(
        "p",
        "Press Play, then switch between the original and its matches while they play: the position is kept, and all "
        "are equally loud. In a player, ", tag("kbd", "1"), ", ", tag("kbd", "2"), ", … choose a sound and ",
        tag("kbd", "P"), " plays and pauses. The waveform takes arrow keys, Page Up, Page Down, Home and End.",
    )  # fmt: skip


def _distances(data: ReportData) -> Html:
    rows = _ordered_rows(data)
    figures = []
    for distance in data.distances:
        if not any(distance.name in row.distances for row, _ in rows):
            continue
        direction = "less is better" if distance.lower_is_better else "more is better"
        caption = tag("figcaption", tag("b", distance.name), f", {direction}. {distance.description}")
        figures.append(tag("figure", caption, distance_plot(distance, rows), class_="panel"))
    terms = tuple((baseline.name, baseline.description) for baseline in data.baselines if baseline.description)
    table = tag("details", tag("summary", "Distances as a table"), distance_table(data, rows))
    return join([_terms(terms), tag("div", *figures, class_="panels"), table])


def _ordered_rows(data: ReportData) -> list[tuple[Baseline | ModelResult, int | None]]:
    """Return models and baselines from the best to the worst by the main distance; without it, last."""
    main = data.distances[0]
    rows: list[tuple[Baseline | ModelResult, int | None]] = [(model, index) for index, model in enumerate(data.models)]
    rows += [(baseline, None) for baseline in data.baselines]

    def rank(row: tuple[Baseline | ModelResult, int | None]) -> float:
        estimate = row[0].distances.get(main.name)
        return float("inf") if estimate is None else estimate.value if main.lower_is_better else -estimate.value

    return sorted(rows, key=rank)


def _parameters(data: ReportData) -> Html:
    scored = {score.name for model in data.models for score in model.scores}
    note = (
        "Filled: where the parameter can be heard, with its 95 % interval. Outlined: over all sounds. "
        "Grey line: chance, which always gives the same answer."
    )
    parts = [tag("p", note), legend(data.models)]
    for kind, title in (
        (Choice.kind, "Choices: share of right answers"),
        (Range.kind, "Ranges: mean error in % of the range"),
    ):
        names = [
            parameter.name for parameter in data.table.learned if parameter.kind == kind and parameter.name in scored
        ]
        if not names:
            continue
        highest = 1.0 if kind == Choice.kind else _highest_error(data, set(names))
        parts.append(tag("figure", tag("figcaption", tag("b", title)), score_plot(names, data.models, highest)))
        parts.append(tag("details", tag("summary", f"{title}, as a table"), score_table(title, names, data)))
    return join(parts)


def _highest_error(data: ReportData, names: set[str]) -> float:
    """Return the end of the axis of errors: 40 % of the range, or more if an error is greater."""
    errors = [score.main.high for model in data.models for score in model.scores if score.name in names]
    return 0.4 if max(errors) <= 0.4 else 1.0


def _terms(pairs: Sequence[tuple[str, str]]) -> Html:
    if not pairs:
        return Html("")
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", text)) for term, text in pairs))
