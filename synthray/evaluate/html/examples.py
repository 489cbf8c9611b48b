"""Examples of a report: a player, spectrograms and settings for each sound.

The player is in ``players.py``, the table of settings in ``tables.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthray.evaluate.examples import Answer, Example
from synthray.evaluate.html.markup import Html, join, number, percent, tag
from synthray.evaluate.html.players import Voice, player
from synthray.evaluate.html.plots import marker
from synthray.evaluate.html.sounds import equal_loudness
from synthray.evaluate.html.spectrograms import (
    DIFFERENCE_DB,
    RANGE_DB,
    difference_colours,
    difference_uri,
    gradient,
    height_of_hz,
    level_colours,
    level_uri,
    levels_db,
)
from synthray.evaluate.html.tables import settings_table
from synthray.match.distances.table import DISTANCES
from synthray.synth.instrument import DURATION_S

TICKS_HZ = {100: "100", 500: "500", 1000: "1 k", 2000: "2 k", 5000: "5 k"}
TICKS_S = (0.5, 1.0, 1.5)


def example_section(example: Example, index: int, series: Mapping[str, int | None], size: tuple[int, int]) -> Html:
    """Return the section of one example.

    Args:
        example: the sound and its answers.
        index: position in the report, from 1.
        series: index of each model, by name.
        size: rows and columns of its spectrograms.
    """
    target_lufs, sounds = equal_loudness([example.audio, *(answer.audio for answer in example.answers)])
    voices = [Voice("original", None, sounds[0])]
    for answer, sound in zip(example.answers, sounds[1:], strict=True):
        voices.append(Voice(answer.model, series[answer.model], sound))
    title = f"Example {index}: {example.kind} match" if example.kind != "random" else f"Example {index}: a random sound"
    caption = (
        f"Settings of example {index}. Grey ones cannot be heard. On a scale, the line is the original's setting and "
        "the dot the match's."
    )
    settings = settings_table(example, series, caption)
    return tag(
        "section",
        tag("h3", title, id=f"example-{index}"),
        tag("p", f"Sound {example.row} of the data set.", class_="caption"),
        player(voices, index, target_lufs),
        _pictures(example, voices, size),
        tag("details", tag("summary", "Settings of the original and of every match"), settings),
        class_="example",
        aria_labelledby=f"example-{index}",
    )


def _pictures(example: Example, voices: Sequence[Voice], size: tuple[int, int]) -> Html:
    levels = levels_db(np.stack([voice.sound.audio for voice in voices]), *size)
    original = [_spectrogram(level_uri(levels[0]), "original", None), _legends()]
    columns = [tag("div", *original, class_="pictures-of")]
    for answer, voice, level_db in zip(example.answers, voices[1:], levels[1:], strict=True):
        pair = [
            _spectrogram(level_uri(level_db), voice.name, voice.series),
            _distances(answer),
            _spectrogram(difference_uri(level_db, levels[0]), "Difference from the original", voice.series),
        ]
        columns.append(tag("div", *pair, class_="pictures-of"))
    return tag("div", *columns, class_="pictures")


def _spectrogram(uri: str, caption: str, series: int | None) -> Html:
    image = tag("img", src=uri, alt=f"Spectrogram: {caption}, 0 to {DURATION_S:g} s, 0 to 5.5 kHz")
    heights = [tag("span", text, style=f"bottom:{percent(height_of_hz(hz))}") for hz, text in TICKS_HZ.items()]
    times = [tag("span", f"{second:g} s", style=f"left:{percent(second / DURATION_S)}") for second in TICKS_S]
    return tag(
        "figure",
        tag("figcaption", marker(series), caption),
        tag("div", *heights, class_="frequencies", aria_hidden="true"),
        tag("div", image, tag("i", class_="playhead"), class_="plane"),
        tag("div", "Hz", class_="unit", aria_hidden="true"),
        tag("div", *times, class_="times", aria_hidden="true"),
        class_="spectrogram",
    )


def _distances(answer: Answer) -> Html:
    texts = [tag("span", d.title, " ", tag("b", number(answer.distances[d.name]))) for d in DISTANCES]
    return tag("p", join(texts, " "), class_="distances")


def _legends() -> Html:
    scales = [
        (
            gradient(level_colours()),
            f"\N{MINUS SIGN}{RANGE_DB:g} dB",
            "0 dB",
            "Level, against the loudest point of the example",
        ),
        (
            gradient(difference_colours()),
            f"\N{MINUS SIGN}{DIFFERENCE_DB:g} dB",
            f"+{DIFFERENCE_DB:g} dB",
            "Difference: blue is missing in the match, orange is too much",
        ),
    ]
    return tag("div", *(_scale(*scale) for scale in scales), class_="scales")


def _scale(colours: str, low: str, high: str, meaning: str) -> Html:
    bar = tag("i", class_="bar", style=f"background-image:{colours}", aria_hidden="true")
    return tag("p", tag("span", meaning), bar, tag("span", low), tag("span", high, class_="high"), class_="scale")
