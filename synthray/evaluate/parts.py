"""Selection of the examples to evaluate, and the evaluation of one part of them.

Scores are in ``scores.py``, distances in ``matches.py``. Parts are evaluated on a cluster by
``synthray.cluster.evaluation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.errors import ModelError
from synthray.evaluate.baselines import Candidates, answer_noise_seeds, random_settings, settings_of
from synthray.evaluate.matches import Matches
from synthray.evaluate.scores import Sums, sum_scores
from synthray.model.saved import ModelCard
from synthray.synth.dsp.lanes import Floats, Seeds
from synthray.synth.features import ANALYSES, feature_shape, render_features
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable
from synthray.synth.voice import render

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


CPUS_PER_TASK = 2
BASELINES = ("mean preset", "random preset", "nearest random preset", "true preset, other noise")
"""Answers that need no model. They follow the models' answers in ``Matches``. The last gives the floor of distances."""


@dataclass(frozen=True)
class Part:
    """Rows ``[first, last)`` of one shard."""

    shard: int
    first: int
    last: int
    start: int
    """Number of the shard's first row in the data set."""
    measured: tuple[int, ...] = ()
    """Rows of the shard whose distances are measured."""


@dataclass(frozen=True)
class PartResult:
    """The results of one part."""

    sums: Sums
    """Sums for the models' answers, then for chance."""
    matches: Matches
    """Answers of the models, then refined answers if requested, then those of ``BASELINES``.

    Empty if the parameters are not those of the instrument (a foreign table).
    """


def check_fits(card: ModelCard, manifest: Manifest) -> None:
    """Raise ModelError unless a model has the parameters and the feature shape of a data set.

    If the model needs another analysis, and the instrument made the sounds, features of that analysis are rendered.
    """
    is_rendered = card.analysis != "fft" and card.analysis in ANALYSES and manifest.table == INSTRUMENT
    shape = feature_shape(card.analysis) if is_rendered else manifest.feature_shape
    if tuple(card.feature_shape) != tuple(shape):
        raise ModelError(f"{card.name} takes features {tuple(card.feature_shape)}, but the data set has {tuple(shape)}")
    if card.table.learned != manifest.table.learned:
        names = card.table.label_index.keys() ^ manifest.table.label_index.keys()
        first = next((p.name for p in (*card.table.learned, *manifest.table.learned) if p.name in names), None)
        reason = f"{first!r} is in only one of them" if first else "their values, ranges or order differ"
        raise ModelError(f"{card.name} and the data set have different parameters: {reason}")


def choose_rows(cards: Sequence[ModelCard], manifest: Manifest) -> tuple[str, int, int]:
    """Return the rows to evaluate: their kind, the first, and the one after the last.

    The kind is ``"holdout"`` or ``"all"``. The holdout of a model is known only if the model was trained on this data
    set, or on one with the same first source, because other sources are appended after the first. For several models,
    the rows that their holdouts share are returned.
    """
    first_part = manifest.source_parts[0].get("digest", "")
    trained_here = [
        card
        for card in cards
        if card.dataset.get("digest") == manifest.digest
        or (first_part and card.dataset.get("first_part") == first_part)
    ]
    holdouts = [card.dataset.get("holdout") or {"first": 0, "count": 0} for card in trained_here]
    first = max((holdout["first"] for holdout in holdouts), default=0)
    last = min((holdout["first"] + holdout["count"] for holdout in holdouts), default=0)
    return ("holdout", first, last) if first < last else ("all", 0, manifest.rows)


def cut(manifest: Manifest, first: int, last: int, sounds: int = 0) -> list[Part]:
    """Cut rows ``[first, last)`` into non-empty parts, at most one per shard.

    Args:
        manifest: the data set's manifest.
        first: number of the first row.
        last: number of the row after the last.
        sounds: number of rows whose distances are measured, spread evenly over all.
    """
    total = last - first
    measured = first + np.arange(min(sounds, total)) * total // max(1, min(sounds, total))
    parts, start = [], 0
    for number, shard in enumerate(manifest.shards):
        low, high = max(first - start, 0), min(last - start, shard.rows)
        if low < high:
            local = measured[(measured >= start + low) & (measured < start + high)] - start
            parts.append(Part(number, low, high, start, tuple(local.tolist())))
        start += shard.rows
    return parts


def evaluate_part(
    predictors: Sequence[Predictor],
    dataset: Dataset,
    part: Part,
    guess: np.ndarray,
    candidates: Candidates | None,
    refine_s: float = 0.0,
) -> PartResult:
    """Score the examples of one part, and measure the distances of some.

    Args:
        predictors: the models.
        dataset: the data set, read from its store.
        part: rows of one shard.
        guess: labels that chance predicts, ``(learned,)``.
        candidates: presets among which the nearest is searched; None for a foreign table.
        refine_s: seconds of search for each measured sound and model; 0 for none.

    Raises:
        CorruptShard: the shard does not match its manifest.
        StorageError: the shard cannot be read.
    """
    table = dataset.manifest.table
    examples = _rows(dataset.read_shard(part.shard), np.arange(part.first, part.last))
    predicted = [p.labels(model_input(examples, p.card.analysis), clip=False) for p in predictors]
    answers = np.stack([*predicted, np.broadcast_to(guess, examples.labels.shape)])
    audible = audible_parameters(table, examples.labels)
    first_row = part.start + part.first
    sums = sum_scores(table, first_row, examples.labels, answers, audible)
    if candidates is None or not part.measured:
        return PartResult(sums, Matches.none(len(predictors) * (2 if refine_s else 1) + len(BASELINES)))
    chosen = np.array(part.measured) - part.first
    measured, rows = _rows(examples, chosen), first_row + chosen
    refined = [_refined(predictor, measured, refine_s) for predictor in predictors] if refine_s else []
    return PartResult(sums, _match(measured, answers[:, chosen], refined, rows, candidates))


def _refined(predictor: Predictor, examples: Examples, refine_s: float) -> Floats:
    """Return presets that a search found for some examples, float32 ``(examples, 46)``."""
    from synthray.match.match import match

    originals = render(settings_of(examples.labels), _noise_seeds(examples), threads=CPUS_PER_TASK)
    return np.stack([match(predictor, audio, refine_s, threads=CPUS_PER_TASK).settings for audio in originals])


def _match(
    examples: Examples,
    answers: npt.NDArray[np.float32],
    refined: Sequence[Floats],
    rows: npt.NDArray[np.int64],
    candidates: Candidates,
) -> Matches:
    """Return the answers of models and baselines with their distances.

    Args:
        examples: the originals.
        answers: labels of the models, then of chance, ``(models + 1, examples, learned)``.
        refined: presets that searches found, each ``(examples, 46)``.
        rows: numbers of the examples in the data set.
        candidates: presets among which the nearest is searched.
    """
    first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
    settings, mean = settings_of(examples.labels), settings_of(answers[-1])
    presets = [
        *map(settings_of, answers[:-1]),
        *refined,
        mean,
        random_settings(first, count)[rows - first],
        candidates.nearest(np.asarray(examples.features, np.float32)),
        settings,
    ]
    return Matches.measure(
        rows,
        settings,
        _noise_seeds(examples),
        answer_noise_seeds(first, count)[rows - first],
        np.stack(presets),
        threads=CPUS_PER_TASK,
    )


def model_input(examples: Examples, analysis: str) -> Floats:
    """Return the input of a model, float32 ``(examples, frames, bins)``.

    For ``fft`` it is the stored features. Features of any other analysis are rendered.
    """
    if analysis == "fft":
        return np.asarray(examples.features, np.float32)
    settings = settings_of(examples.labels)
    return np.asarray(render_features(settings, _noise_seeds(examples), threads=CPUS_PER_TASK, analysis=analysis))


def _noise_seeds(examples: Examples) -> Seeds:
    """Return the noise seeds of examples. A data set of features does not store them, so they are 0."""
    return np.zeros(len(examples.labels), np.uint64) if examples.noise_seeds is None else examples.noise_seeds


def audible_parameters(table: ParameterTable, labels: np.ndarray) -> npt.NDArray[np.bool_]:
    """Return which parameters can be heard, bool ``(sounds, learned)``; all True for a foreign table."""
    if table != INSTRUMENT:
        return np.ones(labels.shape, np.bool_)
    from synthray.synth.audible.audible import audible

    return audible(settings_of(labels))


def _rows(examples: Examples, rows: npt.NDArray[np.int64]) -> Examples:
    seeds = None if examples.noise_seeds is None else examples.noise_seeds[rows]
    return replace(examples, features=examples.features[rows], labels=examples.labels[rows], noise_seeds=seeds)
