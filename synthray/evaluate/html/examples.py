"""Examples of a report: a player, spectrograms and settings for each sound.

The player's behaviour is in ``report.js``. Without JavaScript the browser's own players are shown instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthray.evaluate.html.data import Answer, ExampleMatch
from synthray.evaluate.html.markup import Html, join, number, percent, tag
from synthray.evaluate.html.plots import marker, series_class
from synthray.evaluate.html.sounds import LevelledSound, equal_loudness, outline, wav_uri
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
from synthray.synth.instrument import DURATION_S
from synthray.synth.parameters import ParameterTable

WAVEFORM_WIDTH, WAVEFORM_HEIGHT = 240, 80
TICKS_HZ = {100: "100", 500: "500", 1000: "1 k", 2000: "2 k", 5000: "5 k"}
TICKS_S = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Voice:
    """A sound of an example, as the player offers it."""

    name: str
    series: int | None
    """Index of the model; None for the original."""
    sound: LevelledSound


def example_section(
    example: ExampleMatch, index: int, series: Mapping[str, int], table: ParameterTable, size: tuple[int, int]
) -> Html:
    """Return the section of one example.

    Args:
        example: the sound and its answers.
        index: position in the report, from 1.
        series: index of each model, by name.
        table: of the settings.
        size: rows and columns of its spectrograms.
    """
    names = ["original", *(answer.model for answer in example.answers)]
    target_lufs, sounds = equal_loudness([example.original, *(answer.audio for answer in example.answers)])
    voices = [Voice(name, series.get(name) if place else None, sound) for place, (name, sound) in enumerate(zip(names, sounds, strict=True))]
    title = f"Example {index}: {example.kind} match" if example.kind != "random" else f"Example {index}: a random sound"
    settings = settings_table(example, series, table, f"Settings of example {index}")
    return tag(
        "section",
        tag("h3", title, id=f"example-{index}"),
        tag("p", example.caption, class_="caption") if example.caption else "",
        _player(voices, index, target_lufs),
        _pictures(example, voices, size),
        tag("details", tag("summary", "Settings of the original and of every match"), settings),
        class_=f"example {example.kind}",
        aria_labelledby=f"example-{index}",
    )


def _player(voices: Sequence[Voice], index: int, target_lufs: float) -> Html:
    drawing = {"columns": WAVEFORM_WIDTH, "height": WAVEFORM_HEIGHT}
    peak = max(float(np.abs(voice.sound.audio).max()) for voice in voices)
    paths = [
        tag("path", d=outline(voice.sound.audio, **drawing, peak=peak), class_=series_class(voice.series))
        for voice in voices
    ]
    waveform = tag("svg", *paths, viewBox=f"0 0 {WAVEFORM_WIDTH} {WAVEFORM_HEIGHT}", preserveAspectRatio="none", aria_hidden="true")
    slider = tag(
        "div", waveform, tag("i", class_="playhead"), class_="waveform", role="slider", tabindex=0,
        aria_label=f"Position in example {index}", aria_valuemin=0, aria_valuemax=DURATION_S, aria_valuenow=0,
        aria_valuetext=f"0.00 of {DURATION_S:.2f} seconds",
    )  # fmt: skip
    play = tag("button", tag("span", class_="icon", aria_hidden="true"), tag("span", "Play", class_="word"), type="button", class_="play")
    loop = tag("label", tag("input", type="checkbox", class_="loop", checked=True), "Loop", class_="button")
    clock = tag("span", f"0.00 / {DURATION_S:.2f} s", class_="clock", aria_hidden="true")
    choices = [_choice(voice, index, place) for place, voice in enumerate(voices)]
    choose = tag("fieldset", tag("legend", f"Sound of example {index}", class_="hidden"), *choices, class_="voices")
    controls = tag("div", tag("div", play, loop, clock, class_="transport"), choose, slider, class_="controls", hidden=True)
    return tag("div", controls, _fallback(voices), _loudness(voices, target_lufs), class_="player")


def _choice(voice: Voice, index: int, place: int) -> Html:
    identity = f"example-{index}-sound-{place}"
    radio = tag("input", type="radio", name=f"example-{index}-sound", id=identity, value=place, checked=place == 0)
    return join([radio, tag("label", marker(voice.series), tag("span", voice.name), for_=identity, class_="button")])


def _fallback(voices: Sequence[Voice]) -> Html:
    """Return the sounds as players of the browser; ``report.js`` reads and hides them."""
    players = [
        tag("p", voice.name, tag("audio", src=wav_uri(voice.sound.audio), controls=True, preload="none", aria_label=voice.name))
        for voice in voices
    ]
    return tag("div", *players, class_="fallback")


def _loudness(voices: Sequence[Voice], target_lufs: float) -> Html:
    gains = [
        f"{voice.name} {'is silent' if voice.sound.is_silent else gain_text(voice.sound.gain_db)}" for voice in voices
    ]
    return tag("p", f"Played at equal loudness, {number(target_lufs)} LUFS. Gains: {', '.join(gains)}.", class_="note")


def gain_text(gain_db: float) -> str:
    """Return a gain with its sign, in dB."""
    return f"{gain_db:+.1f} dB".replace("-", "\N{MINUS SIGN}")


def _pictures(example: ExampleMatch, voices: Sequence[Voice], size: tuple[int, int]) -> Html:
    levels = levels_db(np.stack([voice.sound.audio for voice in voices]), *size)
    original = [_spectrogram(level_uri(levels[0]), "Original", None), _legends()]
    columns = [tag("div", *original, class_="pictures-of")]
    for answer, voice, level_db in zip(example.answers, voices[1:], levels[1:], strict=True):
        pair = [
            _spectrogram(level_uri(level_db), voice.name, voice.series),
            _distances(answer),
            _spectrogram(difference_uri(level_db, levels[0]), f"{voice.name} minus original", voice.series),
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
        tag("div", tag("span", "Hz", class_="unit"), *heights, class_="frequencies", aria_hidden="true"),
        tag("div", image, tag("i", class_="playhead"), class_="plane"),
        tag("div", *times, class_="times", aria_hidden="true"),
        class_="spectrogram",
    )


def _distances(answer: Answer) -> Html:
    texts = [join([name, " ", tag("b", number(value))]) for name, value in (answer.distances or {}).items()]
    return tag("p", join(texts, " \N{MIDDLE DOT} "), class_="distances") if texts else Html("")


def _legends() -> Html:
    scales = [
        (gradient(level_colours()), f"\N{MINUS SIGN}{RANGE_DB:g} dB", "0 dB", "Level, against the loudest point of the example"),
        (gradient(difference_colours()), f"\N{MINUS SIGN}{DIFFERENCE_DB:g} dB", f"+{DIFFERENCE_DB:g} dB", "Difference: blue is missing in the match, orange is too much"),
    ]
    return tag("div", *(_scale(*scale) for scale in scales), class_="scales")


def _scale(colours: str, low: str, high: str, meaning: str) -> Html:
    bar = tag("i", class_="bar", style=f"background-image:{colours}", aria_hidden="true")
    return tag("p", tag("span", meaning), bar, tag("span", low), tag("span", high, class_="high"), class_="scale")
