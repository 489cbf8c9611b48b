"""Evaluation as a Ray Data pipeline.

Each worker process holds the models and evaluates one shard after the other. The driver receives sums and presets, but
no audio. Scores, distances and report are in ``synthray.evaluate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import ray

from synthray.cluster.connect import connect
from synthray.cluster.tasks import map_on_cluster
from synthray.data.dataset import Dataset
from synthray.data.open import open_dataset
from synthray.evaluate.baselines import Candidates
from synthray.evaluate.matches import Matches
from synthray.evaluate.parts import (
    BASELINES,
    CPUS_PER_TASK,
    Part,
    PartResult,
    check_fits,
    choose_rows,
    cut,
    evaluate_part,
)
from synthray.evaluate.report import Evaluation, distinct_names
from synthray.evaluate.scores import Sums, constant_guess
from synthray.model.saved import read_card, resolve_model
from synthray.progress import Progress
from synthray.synth.instrument import INSTRUMENT

if TYPE_CHECKING:
    from synthray.model.predictor import Predictor


def evaluate(
    models: Sequence[str], data: str, *, sounds: int, refine_s: float = 0.0, verbose: bool = False
) -> Evaluation:
    """Evaluate models on the holdout of their own data set, or on all examples of another one.

    Args:
        models: URIs of ``.keras`` files; at least one.
        data: URI of the data set.
        sounds: number of sounds to measure distances on, spread evenly over the examples. Scores use all examples.
        refine_s: seconds of search for each of these sounds and each model; 0 for none.
        verbose: show Ray's own output.

    Raises:
        ModelError: a model does not fit the data set.
        NotFound: a model or the data set does not exist.
        CorruptShard: a shard does not match its manifest.
        StorageError: the store cannot be reached.
    """
    uris = list(dict.fromkeys(resolve_model(model) for model in models))
    cards, dataset = [read_card(uri) for uri in uris], open_dataset(data)
    manifest = dataset.manifest
    for card in cards:
        check_fits(card, manifest)
    examples, first, last = choose_rows(cards, manifest)
    parts = cut(manifest, first, last, sounds if manifest.table == INSTRUMENT else 0)
    sums, matches = Sums.zero(manifest.table, len(uris) + 1), []
    connect(verbose=verbose)
    work = partial(_evaluate, tuple(uris), dataset.uri, refine_s)
    with Progress("evaluating", len(parts), "shards") as progress:
        for result in map_on_cluster(work, parts, num_cpus=_task_cpus()):
            sums += result.sums
            matches.append(result.matches)
            progress.advance()
    names = dict(zip(distinct_names(uris), uris, strict=True))
    refined = [f"{name}, {refine_s:g} s of search" for name in names] if refine_s else []
    together = Matches.concatenate(matches, len(uris) + len(refined) + len(BASELINES))
    return Evaluation.make(names, refined, dataset.uri, manifest, examples, sums, together)


def _evaluate(models: tuple[str, ...], data: str, refine_s: float, part: Part) -> PartResult:
    """Return the results of one part; runs in a worker process."""
    predictors, dataset, guess = _load(models, data)
    return evaluate_part(predictors, dataset, part, guess, _candidates() if part.measured else None, refine_s)


@lru_cache(maxsize=1)  # a worker process evaluates many parts
def _load(models: tuple[str, ...], data: str) -> tuple[list[Predictor], Dataset, np.ndarray]:
    from synthray.model.predictor import Predictor

    dataset = open_dataset(data)
    guess = constant_guess(dataset.manifest.table, dataset.manifest.statistics)
    return [Predictor.load(model) for model in models], dataset, guess


@lru_cache(maxsize=1)
def _candidates() -> Candidates:
    return Candidates.render(threads=CPUS_PER_TASK)


def _task_cpus() -> float:
    """Return the CPUs per task, at most those of the largest node."""
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    # An autoscaling cluster may have no node yet. A task that asks for more than any node has would wait forever.
    return min(CPUS_PER_TASK, largest or CPUS_PER_TASK)
