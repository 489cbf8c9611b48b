"""Players of a report: buttons, a choice of sounds and a waveform.

Their behaviour is in ``report.js``. Without JavaScript the browser's own players are shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthray.evaluate.html.markup import Html, join, number, tag
from synthray.evaluate.html.plots import marker, series_class
from synthray.evaluate.html.sounds import LevelledSound, outline, wav_uri
from synthray.synth.instrument import DURATION_S

WAVEFORM_WIDTH, WAVEFORM_HEIGHT = 240, 80
"""Size of the drawing, which the page stretches."""


@dataclass(frozen=True)
class Voice:
    """A sound of an example, as the player offers it."""

    name: str
    series: int | None
    """Index of the model; None for the original."""
    sound: LevelledSound


def player(voices: Sequence[Voice], index: int, target_lufs: float) -> Html:
    """Return the player of an example.

    Args:
        voices: its sounds, the original first.
        index: position of the example in the report, from 1.
        target_lufs: loudness of all voices.
    """
    transport = tag("div", *_buttons(), class_="transport")
    choices = [_choice(voice, index, place) for place, voice in enumerate(voices)]
    choose = tag("fieldset", tag("legend", f"Sound of example {index}", class_="hidden"), *choices, class_="voices")
    controls = tag("div", transport, choose, _slider(voices, index), class_="controls", hidden=True)
    return tag("div", controls, _fallback(voices), _loudness(voices, target_lufs), class_="player")


def _buttons() -> list[Html]:
    icon, word = tag("span", class_="icon", aria_hidden="true"), tag("span", "Play", class_="word")
    return [
        tag("button", icon, word, type="button", class_="play"),
        tag("label", tag("input", type="checkbox", class_="loop", checked=True), "Loop", class_="button"),
        tag("span", f"0.00 / {DURATION_S:.2f} s", class_="clock", aria_hidden="true"),
    ]


def _slider(voices: Sequence[Voice], index: int) -> Html:
    """Return the slider of the playback position, with the waveforms of all sounds (the APG's media seek slider)."""
    drawing = {"columns": WAVEFORM_WIDTH, "height": WAVEFORM_HEIGHT}
    peak = max(float(np.abs(voice.sound.audio).max()) for voice in voices)
    paths = [
        tag("path", d=outline(voice.sound.audio, **drawing, peak=peak), class_=series_class(voice.series))
        for voice in voices
    ]
    view = f"0 0 {WAVEFORM_WIDTH} {WAVEFORM_HEIGHT}"
    return tag(
        "div",
        tag("svg", *paths, viewBox=view, preserveAspectRatio="none", aria_hidden="true"),
        tag("i", class_="playhead"),
        class_="waveform",
        role="slider",
        tabindex=0,
        aria_label=f"Position in example {index}",
        aria_valuemin=0,
        aria_valuemax=DURATION_S,
        aria_valuenow=0,
        aria_valuetext=f"0.00 of {DURATION_S:.2f} seconds",
    )


def _choice(voice: Voice, index: int, place: int) -> Html:
    identity = f"example-{index}-sound-{place}"
    radio = tag("input", type="radio", name=f"example-{index}-sound", id=identity, value=place, checked=place == 0)
    return join([radio, tag("label", marker(voice.series), tag("span", voice.name), for_=identity, class_="button")])


def _fallback(voices: Sequence[Voice]) -> Html:
    """Return the sounds as players of the browser; ``report.js`` reads and hides them."""
    players = []
    for voice in voices:
        audio = tag("audio", src=wav_uri(voice.sound.audio), controls=True, preload="none", aria_label=voice.name)
        players.append(tag("p", voice.name, audio))
    return tag("div", *players, class_="fallback")


def _loudness(voices: Sequence[Voice], target_lufs: float) -> Html:
    gains = [
        f"{voice.name} {'is silent' if voice.sound.is_silent else gain_text(voice.sound.gain_db)}" for voice in voices
    ]
    return tag("p", f"Played at equal loudness, {number(target_lufs)} LUFS. Gains: {'; '.join(gains)}.", class_="note")


def gain_text(gain_db: float) -> str:
    """Return a gain with its sign, in dB."""
    return f"{gain_db:+.1f} dB".replace("-", "\N{MINUS SIGN}")
