"""Evaluation as a Ray Data pipeline.

Each worker process holds the model and scores one shard after the other. Only sums come back to the driver. Scores
and report are in ``synthray.evaluate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.exceptions import RayTaskError

from synthray.cluster.connect import connect
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import SynthrayError
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
    with Progress("scoring", len(parts), "shards") as progress:
        for row in _score_on_cluster(resolve_model(model), dataset.uri, parts):
            sums += Sums(row["rows"], np.asarray(row["model"]), np.asarray(row["baseline"]))
            distances += Distances(row["sounds"], row["predicted_db"], row["random_db"])
            progress.advance()
    table_scores = scores(manifest.table, sums)
    return Evaluation(card.name, dataset.uri, manifest.digest, examples, sums.rows, table_scores, distances.to_json())


def _score_on_cluster(model: str, data: str, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """Yield one row of sums for each part, in any order."""
    # Otherwise Ray Data raises a UserCodeException without the error that caused it.
    ray.data.DataContext.get_current().raise_original_map_exception = True
    items = [{"model": model, "data": data, **asdict(part)} for part in parts]
    try:
        yield from (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map(_score_row, num_cpus=_task_cpus())
            .iter_rows()
        )
    except RayTaskError as error:
        raise _original_error(error) from None


def _score_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the sums of one part; runs in a worker process."""
    try:
        predictor, dataset, guess = _load(row["model"], row["data"])
        part = Part(int(row["shard"]), int(row["first"]), int(row["last"]))
        sums, distances = score_part(predictor, dataset, part, guess)
    except SynthrayError as error:
        raise _PartFailed(error) from error
    return {**vars(sums), **asdict(distances)}


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


class _PartFailed(Exception):
    """The SynthrayError of a part, as its argument.

    Ray Data appends advice about retries to the first argument of an exception if that is text.
    """


def _original_error(error: RayTaskError) -> Exception:
    """Return the SynthrayError that a task raised, or ``error`` for any other."""
    original: Exception = error.cause.args[0] if isinstance(error.cause, _PartFailed) else error
    return original
