"""Evaluation as a Ray Data pipeline.

Each worker process holds the model and scores one shard after the other. Only sums come back to the driver. Scores
and report are in ``synthray.evaluate``.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import ray

from synthray.cluster.connect import connect
from synthray.cluster.tasks import map_on_cluster
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.evaluate.examples import CPUS_PER_TASK, Part, check_fits, choose_rows, cut, score_part
from synthray.evaluate.report import Evaluation
from synthray.evaluate.scores import Sums, constant_guess, scores
from synthray.match.distance import Distances
from synthray.model.saved import read_card, resolve_model
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


def evaluate(model: str, data: str, *, verbose: bool = False) -> Evaluation:
    """Score a model on the holdout of its own data set, or on all of another one.

    Args:
        model: URI of the ``.keras`` file.
        data: URI of the data set.
        verbose: show Ray's own output.

    Raises:
        ModelError: the model does not fit the data set.
        NotFound: the model or the data set does not exist.
        CorruptShard: a shard does not match its manifest.
        StorageError: the store cannot be reached.
    """
    card, dataset = read_card(model), open_dataset(data)
    manifest = dataset.manifest
    check_fits(card, manifest)
    examples, first, last = choose_rows(card, manifest)
    sums, distances = Sums.zero(manifest.table), Distances()
    parts = cut(manifest, first, last)
    connect(verbose=verbose)
    score = partial(_score, resolve_model(model), dataset.uri)
    with Progress("scoring", len(parts), "shards") as progress:
        for part_sums, part_distances in map_on_cluster(score, parts, num_cpus=_task_cpus()):
            sums += part_sums
            distances += part_distances
            progress.advance()
    table_scores = scores(manifest.table, sums)
    return Evaluation(card.name, dataset.uri, manifest.digest, examples, sums.rows, table_scores, distances.to_json())


def _score(model: str, data: str, part: Part) -> tuple[Sums, Distances]:
    """Return the sums of one part; runs in a worker process."""
    predictor, dataset, guess = _load(model, data)
    return score_part(predictor, dataset, part, guess)


@lru_cache(maxsize=1)  # a worker process scores many parts with one model
def _load(model: str, data: str) -> tuple[Predictor, Dataset, np.ndarray]:
    from synthray.model.predictor import Predictor
    from synthray.model.saved import load_model

    dataset = open_dataset(data)
    guess = constant_guess(dataset.manifest.table, dataset.manifest.statistics)
    return Predictor(*load_model(model)), dataset, guess


def _task_cpus() -> float:
    """Return the CPUs per task, at most those of the largest node."""
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    # An autoscaling cluster may have no node yet. A task that asks for more than any node has would wait forever.
    return min(CPUS_PER_TASK, largest or CPUS_PER_TASK)
