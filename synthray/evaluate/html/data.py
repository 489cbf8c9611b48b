"""Content of a report: results of models, baselines, and examples to listen to.

These dataclasses check that shapes and names fit together. How they are shown is in the other modules of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from synthray.errors import DataError
from synthray.evaluate.bootstrap import Estimate
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.parameters import ParameterTable

Kind = Literal["best", "median", "worst", "random"]


@dataclass(frozen=True)
class ParameterScore:
    """The score of one learned parameter."""

    name: str
    over_all: Estimate
    """Over all sounds: the accuracy of a choice, the mean absolute error of a range's position in [0, 1]."""
    where_audible: Estimate | None = None
    """The same over the sounds in which the parameter can be heard; None if there are none."""

    @property
    def main(self) -> Estimate:
        """The score where the parameter is audible, or over all sounds if that is unknown."""
        return self.where_audible or self.over_all


@dataclass(frozen=True)
class Distance:
    """A measure of how much two sounds differ, or agree."""

    name: str
    """A short name, for example ``"MSS"``; the key of ``distances`` elsewhere."""
    description: str = ""
    """One sentence for readers who do not know it."""
    lower_is_better: bool = True


@dataclass(frozen=True)
class ModelResult:
    """The results of one model, or of one way to use it, such as with a second of search."""

    name: str
    scores: tuple[ParameterScore, ...] = ()
    distances: Mapping[str, Estimate] = field(default_factory=dict)
    """By name of the distance: from the originals to this model's answers."""
    description: tuple[tuple[str, str], ...] = ()
    """Facts about the model, as pairs of a term and its value."""


@dataclass(frozen=True)
class Baseline:
    """The distances of an answer that needs no model, such as a random preset."""

    name: str
    distances: Mapping[str, Estimate]
    description: str = ""


@dataclass(frozen=True)
class Answer:
    """A model's answer to one sound."""

    model: str
    """Name of one of the report's models."""
    settings: npt.NDArray[np.float32]
    """``(parameters,)``, in units."""
    audio: npt.NDArray[np.float32]
    """The settings, rendered: ``(22050,)`` at 11025 Hz, not levelled."""
    audible: npt.NDArray[np.bool_] | None = None
    """``(learned,)``: whether a parameter can be heard in the answer; None if unknown."""
    confidence: npt.NDArray[np.float32] | None = None
    """``(learned,)`` in [0, 1], or None."""
    distances: Mapping[str, float] = field(default_factory=dict)
    """By name of the distance: from the original to ``audio``."""


@dataclass(frozen=True)
class ExampleMatch:
    """A sound and what every model answered to it."""

    kind: Kind
    original: npt.NDArray[np.float32]
    """``(22050,)`` at 11025 Hz, not levelled."""
    answers: tuple[Answer, ...]
    settings: npt.NDArray[np.float32] | None = None
    """The true settings, ``(parameters,)`` in units; None for a sound of unknown origin."""
    audible: npt.NDArray[np.bool_] | None = None
    """``(learned,)``: whether a parameter can be heard in the original; None if unknown."""
    caption: str = ""
    """Why this example is shown, or where the sound comes from."""


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows.

    Raises:
        DataError: names repeat or are unknown, or arrays do not fit the parameter table.
    """

    title: str
    data_uri: str
    sounds: int
    """Number of sounds that the results are means of."""
    models: tuple[ModelResult, ...]
    """Any number of models, in the order in which they are shown."""
    distances: tuple[Distance, ...] = ()
    """The first one is the main one, which the summary names."""
    baselines: tuple[Baseline, ...] = ()
    examples: tuple[ExampleMatch, ...] = ()
    table: ParameterTable = INSTRUMENT

    def __post_init__(self) -> None:
        if not self.models:
            raise DataError("the report has no models")
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"the report has {names.count(name)} models with the name {name!r}")
        rows: list[ModelResult | Baseline] = [*self.models, *self.baselines]
        for row in rows:
            self._check_distances(repr(row.name), row.distances)
        for model in self.models:
            self._check_names(f"the scores of {model.name!r}", {s.name for s in model.scores}, self.table.label_index)
        for number, example in enumerate(self.examples):
            self._check_example(f"example {number}", example, names)

    def _check_example(self, where: str, example: ExampleMatch, models: list[str]) -> None:
        if example.kind not in get_args(Kind):
            raise DataError(f"{where}: the kind is {example.kind!r}, not one of {', '.join(get_args(Kind))}")
        self._check_arrays(where, example.original, example.settings, example.audible)
        for answer in example.answers:
            place = f"{where}, answer of {answer.model!r}"
            self._check_names(place, {answer.model}, models)
            self._check_distances(place, answer.distances)
            self._check_arrays(place, answer.audio, answer.settings, answer.audible, answer.confidence)

    def _check_arrays(
        self, where: str, audio: np.ndarray, settings: np.ndarray | None, *of_learned: np.ndarray | None
    ) -> None:
        if audio.shape != (N_SAMPLES,) or not np.isfinite(audio).all():
            raise DataError(f"{where}: the audio has shape {audio.shape}, expected ({N_SAMPLES},) of finite numbers")
        if settings is not None and settings.shape != (len(self.table),):
            raise DataError(f"{where}: the settings have shape {settings.shape}, expected ({len(self.table)},)")
        for array in of_learned:
            if array is not None and array.shape != (len(self.table.learned),):
                raise DataError(f"{where}: an array has shape {array.shape}, expected ({len(self.table.learned)},)")

    def _check_distances(self, where: str, distances: Mapping[str, float] | Mapping[str, Estimate]) -> None:
        self._check_names(f"the distances of {where}", set(distances), [each.name for each in self.distances])

    @staticmethod
    def _check_names(where: str, names: set[str], known: Iterable[str]) -> None:
        known = list(known)
        unknown = sorted(names.difference(known))
        if unknown:
            raise DataError(f"{where}: {unknown[0]!r} is unknown. Known are: {', '.join(known)}.")
