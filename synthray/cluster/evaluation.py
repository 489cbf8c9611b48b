"""Evaluation on Ray Data: worker processes hold the model and score shard after shard; only sums come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from synthray import errors
from synthray.cluster.connect import connect
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.errors import SynthrayError
from synthray.evaluate.examples import CORES_PER_TASK, Part, check_fits, choose_rows, cut, score_part
from synthray.evaluate.report import Evaluation
from synthray.evaluate.scores import Sums, constant_guess, scores
from synthray.match.distance import Distances
from synthray.model.saved import read_card, resolve_model
from synthray.progress import Progress

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


def evaluate(model: str, data: str, *, verbose: bool = False) -> Evaluation:
    """Score the ``.keras`` file at ``model`` on the data set at ``data``.

    Only the holdout is scored when the model was trained on this very data set, else all of it.

    Args:
        model: URI of the file.
        data: URI of the data set.
        verbose: show what Ray tells of itself.

    Raises:
        ModelError: the model does not fit the data set.
        NotFound, CorruptShard, StorageError: one of them cannot be read.
    """
    card, dataset = read_card(model), open_dataset(data)
    manifest = dataset.manifest
    check_fits(card, manifest)
    examples, first, last = choose_rows(card, manifest)
    sums, distances = Sums.zero(manifest.table), Distances()
    parts = cut(manifest, first, last)
    connect(verbose=verbose)
    with Progress("scoring", len(parts), "shards") as progress:
        for row in _score(resolve_model(model), dataset.uri, parts):
            sums += Sums(row["rows"], np.asarray(row["model"]), np.asarray(row["baseline"]))
            distances += Distances(row["sounds"], row["predicted_db"], row["random_db"])
            progress.advance()
    table_scores = scores(manifest.table, sums)
    return Evaluation(card.name, dataset.uri, manifest.digest, examples, sums.rows, table_scores, distances.to_json())


def _score_row(row: dict[str, Any]) -> dict[str, Any]:
    """The sums of one part, in a worker process; or what went wrong, which Ray would wrap in tracebacks of its own."""
    try:
        predictor, dataset, guess = _load(row["model"], row["data"])
        part = Part(int(row["shard"]), int(row["first"]), int(row["last"]))
        sums, distances = score_part(predictor, dataset, part, guess)
    except SynthrayError as error:
        return {"error": str(error), "kind": type(error).__name__}
    return {"error": "", **vars(sums), **asdict(distances)}


@lru_cache(maxsize=1)  # a worker process scores one part after the other, and loads the model for the first
def _load(model: str, data: str) -> tuple[Predictor, Dataset, np.ndarray]:
    from synthray.model.predictor import Predictor
    from synthray.model.saved import load_model

    dataset = open_dataset(data)
    guess = constant_guess(dataset.manifest.table, dataset.manifest.statistics)
    return Predictor(*load_model(model)), dataset, guess


def _score(model: str, data: str, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """One row of sums for each part, in any order."""
    # no more than a node has, or it would wait for ever; where no node is up yet, what a node will have
    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    cores = min(CORES_PER_TASK, most or CORES_PER_TASK)
    items = [{"model": model, "data": data, **asdict(part)} for part in parts]
    rows = ray.data.from_items(items, override_num_blocks=len(parts)).map(_score_row, num_cpus=cores)
    for row in rows.iter_rows():
        if row["error"]:
            raise getattr(errors, row["kind"])(row["error"])
        yield row
