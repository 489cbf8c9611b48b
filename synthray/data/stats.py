"""Statistics of labels and sounds that add up: the same for a data set however it is cut into shards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.synth.parameters import Choice, ParameterTable

# The bins of a range's labels, each from one edge to just below the next; 1 itself still belongs to the last.
BINS = 20
_EDGES = np.append(np.arange(BINS) / BINS, np.nextafter(1.0, 2.0))

# The bins of loudness; what is louder than full scale belongs to the last.
_LOUDNESS_FROM_DBFS, _LOUDNESS_STEP_DB, _LOUDNESS_BINS = -100, 5, 20
_LOUDNESS_EDGES_DBFS = _LOUDNESS_FROM_DBFS + _LOUDNESS_STEP_DB * np.arange(_LOUDNESS_BINS)


def summarise(batches: Sequence[Examples], table: ParameterTable) -> dict[str, Any]:
    """Sums over one part of a data set, as plain JSON values, for ``merge`` and ``merge_loudness`` to add up.

    Args:
        batches: at least one example; features ``(examples, frames, bins)``, labels ``(examples, learned)``.
        table: what the labels are of.
    """
    labels = np.concatenate([batch.labels for batch in batches])
    sums: dict[str, Any] = {}
    for number, parameter in enumerate(table.learned):
        label = np.asarray(labels[:, number], np.float64)
        if isinstance(parameter, Choice):
            sums[parameter.name] = np.bincount(label.astype(np.int64), minlength=len(parameter.values)).tolist()
        else:
            # fsum is exact, so that the order and the cut do not matter to the last bit
            extremes = [float(label.min()), float(label.max())]
            moments = [len(label), math.fsum(label), math.fsum(label * label)]
            sums[parameter.name] = [*moments, *extremes, _count(_EDGES, label)]
    loudness = np.concatenate([batch.loudness_dbfs for batch in batches])
    return {"labels": sums, "loudness": _count(_LOUDNESS_EDGES_DBFS, loudness)}


def _count(edges: np.ndarray, values: np.ndarray) -> list[int]:
    """How many values lie below the first edge, from each edge to just below the next, and from the last one on."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()


def merge(parts: Sequence[dict[str, Any]], table: ParameterTable) -> dict[str, dict[str, Any]]:
    """The manifest's ``statistics`` from the sums of one or more parts, in their order.

    Returns:
        By name; for a choice ``counts`` by class; for a range, all of its labels, ``mean``, ``deviation``,
        ``minimum``, ``maximum`` and ``histogram``: ``counts`` in 20 equal bins of [0, 1], and beside them how many lie
        ``below`` 0 and ``above`` 1. No ``histogram`` where labels were not counted in every part.
    """
    statistics: dict[str, dict[str, Any]] = {}
    for parameter in table.learned:
        rows = [part["labels"][parameter.name] for part in parts]
        if isinstance(parameter, Choice):
            counts = np.sum(rows, axis=0).tolist()
            statistics[parameter.name] = {"counts": dict(zip(parameter.values, counts, strict=True))}
            continue
        count, total, squares = (math.fsum(row[i] for row in rows) for i in range(3))
        mean = total / count
        found: dict[str, Any] = {
            "mean": mean,
            "deviation": math.sqrt(max(squares / count - mean * mean, 0.0)),
            "minimum": min(row[3] for row in rows),
            "maximum": max(row[4] for row in rows),
        }
        if all(row[5] is not None for row in rows):
            below, *counts, above = np.sum([row[5] for row in rows], axis=0).tolist()
            found["histogram"] = {"below": below, "counts": counts, "above": above}
        statistics[parameter.name] = found
    return statistics


def merge_loudness(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The manifest's ``loudness`` from the sums of one or more parts.

    Returns:
        ``counts`` of sounds in bins of ``step_db`` from ``from_dbfs`` on, and how many are quieter, ``below``. The
        loudness is ``synthray.synth.loudness.loudness_dbfs``; what is above the last bin counts there. ``{}`` where it
        was not counted in every part.
    """
    if any(part["loudness"] is None for part in parts):
        return {}
    below, *counts = np.sum([part["loudness"] for part in parts], axis=0).tolist()
    return {"from_dbfs": _LOUDNESS_FROM_DBFS, "step_db": _LOUDNESS_STEP_DB, "below": below, "counts": counts}


def sums_of(manifest: Manifest) -> dict[str, Any]:
    """The sums over a whole published data set, as those of one part of a larger one.

    Counts and extremes are exact, sums as exact as mean and deviation are; what an older manifest lacks is None.
    """
    sums: dict[str, Any] = {}
    for parameter in manifest.table.learned:
        found = manifest.statistics[parameter.name]
        if isinstance(parameter, Choice):
            sums[parameter.name] = [found["counts"][value] for value in parameter.values]
            continue
        count, mean, deviation = manifest.rows, found["mean"], found["deviation"]
        moments = [count, mean * count, (deviation * deviation + mean * mean) * count]
        histogram = found.get("histogram")
        counts = [histogram["below"], *histogram["counts"], histogram["above"]] if histogram else None
        sums[parameter.name] = [*moments, found["minimum"], found["maximum"], counts]
    loudness = manifest.loudness
    return {"labels": sums, "loudness": [loudness["below"], *loudness["counts"]] if loudness else None}
