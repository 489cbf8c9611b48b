"""A match for one sound: its options, its stages with their times, and its JSON.

Requests and responses are in matching.py and progress_stream.py.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request

from synthray.errors import RequestError, shown
from synthray.match.match import Guess, Match, guess
from synthray.match.refine import refine
from synthray.match.search import Improvement
from synthray.serve.http.body import read_query
from synthray.serve.metrics import timed
from synthray.serve.models.served import Served
from synthray.serve.service import Service
from synthray.synth.files.sound_file import Sound, encode_wav
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.voice import render


@dataclass(frozen=True)
class MatchOptions:
    """The options of one request."""

    refine_s: float = 0.0
    with_sounds: bool = False
    start: np.ndarray | None = None
    """Settings float32 ``(parameters,)`` of a preset. The answer is not further from the sound than this preset."""

    @classmethod
    def of(cls, request: Request, max_refine_s: float) -> MatchOptions:
        """Read the options from the query.

        Raises:
            RequestError: 400, an option is unknown or repeated, or its value is invalid.
        """
        query = read_query(request, ("refine", "include"))
        if (include := query.get("include", "sounds")) != "sounds":
            raise RequestError(400, f"include is {shown(include)}, expected sounds")
        return cls(_seconds(query.get("refine", "0"), max_refine_s), "include" in query)


def guess_sound(service: Service, served: Served, sound: Sound) -> Guess:
    """Return the network's answer to a sound."""
    with timed(service.metrics, "network", served):
        return guess(served.predictor, sound.audio)


def find_match(
    service: Service,
    served: Served,
    answer: Guess,
    options: MatchOptions,
    on_improvement: Improvement = lambda _labels, _evaluations: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Match:
    """Return the match of a sound, after the search that ``options`` ask for."""
    labels, evaluations = answer.labels, 0
    if options.refine_s:
        start = None if options.start is None else INSTRUMENT.settings_to_labels(options.start[None])[0]
        with timed(service.metrics, "refine", served):
            found = refine(
                answer.target,
                answer.proposal,
                budget_s=options.refine_s,
                on_improvement=on_improvement,
                is_stopped=lambda: is_stopped() or service.stopping.is_set(),
                start=start,
            )
        labels, evaluations = found.labels, found.evaluations
    return or_start(answer, answer.described(labels, evaluations), options)


def or_start(answer: Guess, found: Match, options: MatchOptions) -> Match:
    """Return the match, or the start preset if that is nearer to the sound."""
    if options.start is None:
        return found
    kept = answer.kept(options.start, found.evaluations)
    return kept if kept.distance_db < found.distance_db else found


def render_wav(service: Service, served: Served | None, settings: np.ndarray) -> bytes:
    """Return the sound of settings float32 ``(parameters,)`` as a WAV file.

    Args:
        served: the model to which the time is attributed, if there is one.
    """
    with timed(service.metrics, "render", served):
        return encode_wav(render(settings[None])[0])


def encode_match(service: Service, served: Served, sound: Sound, found: Match, options: MatchOptions) -> dict[str, Any]:
    """Return a match as the service's JSON."""
    answer: dict[str, Any] = {"preset": found.to_json(model=served.predictor.card.name), "sound": sound.to_json()}
    if options.with_sounds:
        wavs = {"original": encode_wav(sound.audio), "match": render_wav(service, served, found.settings)}
        answer["sounds"] = {name: base64.b64encode(wav).decode() for name, wav in wavs.items()}
    return answer


def _seconds(text: str, longest_s: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= longest_s:
        raise RequestError(400, f"refine is {shown(text)}, expected 0 to {longest_s:g} seconds")
    return seconds
