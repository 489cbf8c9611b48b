"""Statistics of labels and loudness, summed shard by shard.

They are the same for any division of a data set into shards.

Showing them is not here; see ``card/``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.synth.parameters import Choice, ParameterTable

# Bins of a range's labels. Each is half open, except that the last one includes 1.
BINS = 20
_EDGES = np.append(np.arange(BINS) / BINS, np.nextafter(1.0, 2.0))

# Bins of loudness. The last one includes sounds above full scale.
_LOUDNESS_FROM_DBFS, _LOUDNESS_STEP_DB, _LOUDNESS_BINS = -100, 5, 20
_LOUDNESS_EDGES_DBFS = _LOUDNESS_FROM_DBFS + _LOUDNESS_STEP_DB * np.arange(_LOUDNESS_BINS)


def summarise(batches: Sequence[Examples], table: ParameterTable) -> dict[str, Any]:
    """Return the sums over one part of a data set, as JSON values.

    ``merge`` and ``merge_loudness`` add them up.

    Args:
        batches: at least one example.
        table: the parameters of the labels.
    """
    labels = np.concatenate([batch.labels for batch in batches])
    sums: dict[str, Any] = {}
    for number, parameter in enumerate(table.learned):
        label = np.asarray(labels[:, number], np.float64)
        if isinstance(parameter, Choice):
            sums[parameter.name] = np.bincount(label.astype(np.int64), minlength=len(parameter.values)).tolist()
        else:
            # fsum is exact, so the result does not depend on how the data set is divided.
            extremes = [float(label.min()), float(label.max())]
            moments = [len(label), math.fsum(label), math.fsum(label * label)]
            sums[parameter.name] = [*moments, *extremes, _count(_EDGES, label)]
    loudness = np.concatenate([batch.loudness_dbfs for batch in batches])
    return {"labels": sums, "loudness": _count(_LOUDNESS_EDGES_DBFS, loudness)}


def _count(edges: np.ndarray, values: np.ndarray) -> list[int]:
    """Count values below, between and above edges; a bin includes its lower edge."""
    counts: list[int] = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
    return counts


def merge(parts: Sequence[dict[str, Any]], table: ParameterTable) -> dict[str, dict[str, Any]]:
    """Return the manifest's ``statistics`` from the sums of parts, in order.

    Returns:
        By parameter name: for a choice ``counts`` by class; for a range ``mean``, ``deviation``, ``minimum``,
        ``maximum`` and ``histogram`` of its labels. A histogram has ``counts`` in 20 equal bins of [0, 1], and the
        number of labels ``below`` 0 and ``above`` 1.
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
        below, *counts, above = np.sum([row[5] for row in rows], axis=0).tolist()
        statistics[parameter.name] = {
            "mean": mean,
            "deviation": math.sqrt(max(squares / count - mean * mean, 0.0)),
            "minimum": min(row[3] for row in rows),
            "maximum": max(row[4] for row in rows),
            "histogram": {"below": below, "counts": counts, "above": above},
        }
    return statistics


def merge_loudness(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest's ``loudness`` from the sums of one or more parts.

    Returns:
        ``counts`` of sounds in bins of ``step_db`` from ``from_dbfs`` on, and the number of quieter sounds, ``below``.
        The last bin includes louder sounds.
    """
    below, *counts = np.sum([part["loudness"] for part in parts], axis=0).tolist()
    return {"from_dbfs": _LOUDNESS_FROM_DBFS, "step_db": _LOUDNESS_STEP_DB, "below": below, "counts": counts}


def sums_of(manifest: Manifest) -> dict[str, Any]:
    """Return the sums over a published data set, as one part of a larger one.

    Counts and extremes are exact. Sums are computed from mean and deviation, and are as exact as these.
    """
    sums: dict[str, Any] = {}
    for parameter in manifest.table.learned:
        found = manifest.statistics[parameter.name]
        if isinstance(parameter, Choice):
            sums[parameter.name] = [found["counts"][value] for value in parameter.values]
            continue
        count, mean, deviation = manifest.rows, found["mean"], found["deviation"]
        moments = [count, mean * count, (deviation * deviation + mean * mean) * count]
        histogram = found["histogram"]
        counts = [histogram["below"], *histogram["counts"], histogram["above"]]
        sums[parameter.name] = [*moments, found["minimum"], found["maximum"], counts]
    loudness = manifest.loudness
    return {"labels": sums, "loudness": [loudness["below"], *loudness["counts"]]}
