"""The whole report: its sections, its size, and the file around them.

The look is in ``report.css``, the players' behaviour in ``report.js``, the head of the file in ``report.html``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from string import Template

from synthray.evaluate.examples import KINDS, Example
from synthray.evaluate.html.examples import example_section
from synthray.evaluate.html.markup import Html, join, number, tag
from synthray.evaluate.html.plots import distance_plot, legend, marker, score_plot
from synthray.evaluate.html.results import Result, results_of
from synthray.evaluate.html.size import examples_that_fit, spectrogram_size
from synthray.evaluate.html.tables import distance_table, model_table, score_table
from synthray.evaluate.report import Evaluation
from synthray.match.distances.table import DISTANCES, Distance
from synthray.synth.parameters import Choice, Range


def render_report(evaluation: Evaluation) -> str:
    """Return the report of an evaluation as one HTML file that needs no network.

    The evaluation must include distances. The report shows as many examples as fit into ``size.MAX_BYTES``, the same
    number of each kind.
    """
    results = results_of(evaluation)
    answers = [result for result in results if result.series is not None]
    models = [result for result in answers if result.scores]
    title = ", ".join(evaluation.models)
    sections = [
        ("models", "Models", _models(answers)),
        ("listen", "Listen", _listen(evaluation.listen, answers)),
        ("distances", "Distances", _distances(results, evaluation.sounds)),
        ("parameters", "Parameters", _parameters(models, evaluation.sounds)),
    ]
    files = resources.files(__package__)
    return Template(files.joinpath("report.html").read_text()).substitute(
        title=tag("title", title),
        style=files.joinpath("report.css").read_text(),
        script=files.joinpath("report.js").read_text(),
        header=_header(title, evaluation, results, [(anchor, name) for anchor, name, _ in sections]),
        main=join(_section(*section) for section in sections),
    )


def _header(title: str, evaluation: Evaluation, results: Sequence[Result], anchors: Sequence[tuple[str, str]]) -> Html:
    links = [tag("li", tag("a", name, href=f"#{anchor}")) for anchor, name in anchors]
    return join([
        tag("h1", title),
        tag("p", _headline(results), class_="headline"),
        tag("p", f"Measured on {evaluation.sounds:,} sounds of ", tag("code", evaluation.data), class_="note"),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    ])  # fmt: skip


def _headline(results: Sequence[Result]) -> Html:
    """Return the main result in two sentences."""
    main, ranked = DISTANCES[0], _ranked(results)
    closest = next(result for result in ranked if result.series is not None)
    others = [f"{number(_mean(main, each))} ({each.name})" for each in results if each.series is None]
    return join([
        "synthray hears a sound and answers with the synthesizer settings that make it. ",
        "The closest answers come from ",
        tag("b", closest.name),
        f": a mean {main.title} of ",
        tag("b", number(_mean(main, closest))),
        f", compared with {', '.join(others)}.",
    ])  # fmt: skip


def _mean(distance: Distance, result: Result) -> float:
    return result.distances[distance.name].value


def _ranked(results: Sequence[Result]) -> list[Result]:
    """Return the results from the best to the worst by the main distance."""
    main = DISTANCES[0]
    return sorted(results, key=lambda result: _mean(main, result), reverse=main.higher_is_better)


def _section(anchor: str, title: str, body: Html) -> Html:
    return tag("section", tag("h2", title, id=anchor), body, aria_labelledby=anchor)


def _models(answers: Sequence[Result]) -> Html:
    note = (
        "Choices right and ranges off by are means over the parameters, each counted in the sounds where it can be "
        "heard. An error is a share of the parameter's range."
    )
    files = [
        join([tag("h3", marker(each.series), each.name), tag("dl", tag("div", tag("dt", "file"), tag("dd", each.uri)))])
        for each in answers
        if each.uri
    ]
    about = tag("details", tag("summary", "About the models"), *files)
    return join([model_table(answers), tag("p", note, class_="note"), about])


def _listen(examples: Sequence[Example], answers: Sequence[Result]) -> Html:
    how = tag(
        "p",
        "Press Play, then switch between the original and its matches while they play: the position is kept, and all "
        "are equally loud. In a player, ", tag("kbd", "1"), ", ", tag("kbd", "2"), ", … choose a sound and ",
        tag("kbd", "P"), " plays and pauses. The waveform takes arrow keys, Page Up, Page Down, Home and End.",
    )  # fmt: skip
    shown = _fitting(examples, examples_that_fit(len(answers)))
    series = {result.name: result.series for result in answers}
    size = spectrogram_size(len(shown), len(answers))
    return join([how, *(example_section(example, index, series, size) for index, example in enumerate(shown, 1))])


def _fitting(examples: Sequence[Example], count: int) -> list[Example]:
    """Return at most ``count`` examples, the first ones of each kind."""
    per_kind = max(1, count // len(KINDS))
    kinds = [[example for example in examples if example.kind == kind] for kind in KINDS]
    return [example for kind in kinds for example in kind[:per_kind]][:count]


def _distances(results: Sequence[Result], sounds: int) -> Html:
    ranked, figures = _ranked(results), []
    for distance in DISTANCES:
        direction = "more is better" if distance.higher_is_better else "less is better"
        unit = f". In {distance.unit}." if distance.unit else ""
        caption = tag("figcaption", tag("b", distance.title), f", {direction}{unit}")
        figures.append(tag("figure", caption, distance_plot(distance, ranked), class_="panel"))
    table = tag("details", tag("summary", "Distances as a table"), distance_table(ranked, sounds))
    return join([tag("div", *figures, class_="panels"), table])


def _parameters(models: Sequence[Result], sounds: int) -> Html:
    note = (
        "Filled: where the parameter can be heard, with its 95 % interval. Outlined: over all sounds. "
        "Grey line: chance, which always gives the same answer."
    )
    parts = [tag("p", note), legend(models)]
    for kind, title, highest in (
        (Choice.kind, "Choices: share of right answers", 1.0),
        (Range.kind, "Ranges: mean error in % of the range", _highest_error(models)),
    ):
        parts.append(tag("figure", tag("figcaption", tag("b", title)), score_plot(kind, models, highest)))
        table = score_table(title, kind, models, sounds)
        parts.append(tag("details", tag("summary", f"{title}, as a table"), table))
    return join(parts)


def _highest_error(models: Sequence[Result]) -> float:
    """Return the end of the axis of errors: 40 % of the range, or more if an error is greater."""
    errors = [score.main.high for model in models for score in model.scores if score.kind == Range.kind]
    return 0.4 if max(errors) <= 0.4 else 1.0
