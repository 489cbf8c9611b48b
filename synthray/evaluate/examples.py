"""Selection of the examples to score, and the scores of one shard.

Scores themselves are in ``scores.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.errors import ModelError
from synthray.evaluate.scores import Sums, sum_scores
from synthray.match.distance import Distances, measure_distances
from synthray.match.sound import is_instrument_model
from synthray.model.saved import ModelCard
from synthray.synth.parameters import Choice

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


CPUS_PER_TASK = 2


@dataclass(frozen=True)
class Part:
    """Rows ``[first, last)`` of one shard."""

    shard: int
    first: int
    last: int


def check_fits(card: ModelCard, manifest: Manifest) -> None:
    """Raise ModelError unless parameters and feature shape match the data set's."""
    if tuple(card.feature_shape) != tuple(manifest.feature_shape):
        raise ModelError(
            f"{card.name} takes features {tuple(card.feature_shape)}, the data set has {tuple(manifest.feature_shape)}"
        )
    if card.table.learned != manifest.table.learned:
        names = card.table.label_index.keys() ^ manifest.table.label_index.keys()
        first = next((p.name for p in (*card.table.learned, *manifest.table.learned) if p.name in names), None)
        reason = f"{first!r} is in only one of them" if first else "their values, ranges or order differ"
        raise ModelError(f"{card.name} was trained on other parameters than the data set's: {reason}")


def choose_rows(card: ModelCard, manifest: Manifest) -> tuple[str, int, int]:
    """Return the rows to score: their kind, the first, and the one after the last.

    The kind is ``"holdout"`` or ``"all"``.
    The holdout is known only if the model was trained on this version of the data set.
    """
    holdout = card.dataset.get("holdout") or {}
    if card.dataset.get("digest") == manifest.digest and holdout.get("count", 0) > 0:
        return "holdout", holdout["first"], holdout["first"] + holdout["count"]
    return "all", 0, manifest.rows


def cut(manifest: Manifest, first: int, last: int) -> list[Part]:
    """Cut rows ``[first, last)`` into non-empty parts, at most one per shard."""
    parts, start = [], 0
    for number, shard in enumerate(manifest.shards):
        part = Part(number, max(first - start, 0), min(last - start, shard.rows))
        if part.first < part.last:
            parts.append(part)
        start += shard.rows
    return parts


def score_part(predictor: Predictor, dataset: Dataset, part: Part, guess: np.ndarray) -> tuple[Sums, Distances]:
    """Score the examples of one part.

    Args:
        predictor: the model.
        dataset: the data set, read from its store.
        part: rows of one shard.
        guess: labels of the baseline, ``(learned,)``.

    Raises:
        CorruptShard: the shard does not match its manifest.
        StorageError: the shard cannot be read.
    """
    examples = dataset.read_shard(part.shard)
    features = np.asarray(examples.features[part.first : part.last], np.float32)
    table = dataset.manifest.table
    predicted = predictor.labels(features, clip=False)
    sums = sum_scores(table, examples.labels[part.first : part.last], predicted, guess)
    if not is_instrument_model(predictor):
        return sums, Distances()
    is_choice = [isinstance(parameter, Choice) for parameter in table.learned]
    clipped = np.where(is_choice, predicted, np.clip(predicted, 0.0, 1.0))
    return sums, measure_distances(features, table.labels_to_settings(clipped), threads=CPUS_PER_TASK)
