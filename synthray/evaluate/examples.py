"""Examples of matches to listen to: the best, the median, the worst and some random ones.

All are rendered again from their presets, so that an evaluation keeps no audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from synthray.evaluate.matches import Matches
from synthray.match.distances.table import DISTANCES
from synthray.synth.dsp.lanes import Floats
from synthray.synth.voice import render

Kind = Literal["best", "median", "worst", "random"]
KINDS: tuple[Kind, ...] = ("best", "median", "worst", "random")
PER_KIND = 3
RANKED_BY = "mss"


@dataclass(frozen=True)
class Answer:
    """A model's answer to one sound."""

    model: str
    settings: Floats
    """``(46,)``, in units."""
    audio: Floats
    """``(22050,)``, 2 s at 11025 Hz."""
    distances: dict[str, float]
    """Distances from the original, by name."""


@dataclass(frozen=True)
class Example:
    """A sound of a data set, and each model's answer to it."""

    kind: Kind
    """Place of the first model's answer among all sounds, by ``RANKED_BY``."""
    row: int
    """Number of the sound in the data set."""
    settings: Floats
    """True preset, ``(46,)``, in units."""
    audio: Floats
    """The original, ``(22050,)``, 2 s at 11025 Hz."""
    answers: tuple[Answer, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the example as plain JSON values, without audio and presets."""
        distances = {answer.model: answer.distances for answer in self.answers}
        return {"kind": self.kind, "row": self.row, "distances": distances}


def choose_examples(matches: Matches, models: Sequence[str]) -> tuple[Example, ...]:
    """Return up to three examples of each kind, ranked by the first model's answers.

    Args:
        matches: sounds and answers. The models' answers come first.
        models: names of the models.
    """
    column = [distance.name for distance in DISTANCES].index(RANKED_BY)
    order = np.argsort(matches.distances[0, :, column], kind="stable")
    return tuple(_example(matches, models, kind, sound) for kind, sound in _chosen(order.tolist()))


def _chosen(ranked: list[int]) -> Iterator[tuple[Kind, int]]:
    """Yield a kind and one of the ``ranked`` sounds, each sound at most once, in the order of ``KINDS``."""
    middle = (len(ranked) - PER_KIND) // 2
    wanted = {
        "best": ranked,
        "median": ranked[max(0, middle) :],
        "worst": ranked[::-1],
        "random": np.random.default_rng(0).permutation(ranked).tolist(),
    }
    taken: set[int] = set()
    for kind in KINDS:
        found = [sound for sound in wanted[kind] if sound not in taken][:PER_KIND]
        taken.update(found)
        yield from ((kind, int(sound)) for sound in found)


def _example(matches: Matches, models: Sequence[str], kind: Kind, sound: int) -> Example:
    names = [distance.name for distance in DISTANCES]
    presets = matches.answers[: len(models), sound]
    seeds = np.repeat(matches.answer_noise_seeds[sound], len(models))
    answers = tuple(
        Answer(model, preset, audio, dict(zip(names, distances.tolist(), strict=True)))
        for model, preset, audio, distances in zip(
            models, presets, render(presets, seeds, threads=1), matches.distances[: len(models), sound], strict=True
        )
    )
    original = render(matches.settings[[sound]], matches.noise_seeds[[sound]], threads=1)[0]
    return Example(kind, int(matches.rows[sound]), matches.settings[sound], original, answers)
