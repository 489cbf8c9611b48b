"""Which examples are scored, and the score of one shard of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.errors import ModelError
from synthray.evaluate.scores import Sums, sum_scores
from synthray.match.distance import Distances, measure_distances
from synthray.model.saved import ModelCard
from synthray.synth.parameters import Range

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


CORES_PER_TASK = 2


@dataclass(frozen=True)
class Part:
    """Rows ``[first, last)`` of one shard."""

    shard: int
    first: int
    last: int


def check_fits(card: ModelCard, manifest: Manifest) -> None:
    """Raise ModelError unless the model speaks of the data set's parameters and features."""
    if tuple(card.feature_shape) != tuple(manifest.feature_shape):
        raise ModelError(
            f"{card.name} takes features {tuple(card.feature_shape)}, the data set has {tuple(manifest.feature_shape)}"
        )
    if card.table.learned != manifest.table.learned:
        ours, theirs = card.table.label_index, manifest.table.label_index
        other = next((name for name in (*ours, *theirs) if (name in ours) != (name in theirs)), None)
        what = f"{other!r} is in one of them only" if other else "they have other values, ranges or order"
        raise ModelError(f"{card.name} was trained on other parameters than the data set's: {what}")


def choose_rows(card: ModelCard, manifest: Manifest) -> tuple[str, int, int]:
    """``("holdout" or "all", first row, row after the last)`` of the data set.

    Only when the model was trained on this very data set does its card tell which rows it has not seen.
    """
    holdout = card.dataset.get("holdout") or {}
    if card.dataset.get("digest") == manifest.digest and holdout.get("count", 0) > 0:
        return "holdout", holdout["first"], holdout["first"] + holdout["count"]
    return "all", 0, manifest.rows


def cut(manifest: Manifest, first: int, last: int) -> list[Part]:
    """Rows ``[first, last)`` of the data set as parts of its shards, without empty ones."""
    parts, start = [], 0
    for number, shard in enumerate(manifest.shards):
        part = Part(number, max(first - start, 0), min(last - start, shard.rows))
        if part.first < part.last:
            parts.append(part)
        start += shard.rows
    return parts


def score_part(predictor: Predictor, dataset: Dataset, part: Part, guess: np.ndarray) -> tuple[Sums, Distances]:
    """Score a part's examples; raises CorruptShard, StorageError."""
    batch = dataset.read_shard(part.shard)
    features = np.asarray(batch.features[part.first : part.last], np.float32)
    table = dataset.manifest.table
    predicted = predictor.labels(features, clip=False)
    sums = sum_scores(table, batch.labels[part.first : part.last], predicted, guess)
    if not predictor.is_of_instrument:
        return sums, Distances()
    is_choice = [not isinstance(parameter, Range) for parameter in table.learned]
    clipped = np.where(is_choice, predicted, np.clip(predicted, 0.0, 1.0))
    return sums, measure_distances(features, table.labels_to_settings(clipped), threads=CORES_PER_TASK)
