"""Statistics of labels that add up: the same for a data set however it is cut into shards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synthray.synth.parameters import Choice, ParameterTable


def summarise(labels: np.ndarray, table: ParameterTable) -> dict[str, Any]:
    """Sums over labels ``(examples, learned)``, as plain JSON values, to be merged by ``merge``."""
    sums: dict[str, Any] = {}
    for number, parameter in enumerate(table.learned):
        label = np.asarray(labels[:, number], np.float64)
        if isinstance(parameter, Choice):
            sums[parameter.name] = np.bincount(label.astype(np.int64), minlength=len(parameter.values)).tolist()
        else:
            # fsum is exact, so that the order and the cut do not matter to the last bit
            extremes = [float(label.min()), float(label.max())]
            sums[parameter.name] = [len(label), math.fsum(label), math.fsum(label * label), *extremes]
    return sums


def merge(parts: list[dict[str, Any]], table: ParameterTable) -> dict[str, dict[str, Any]]:
    """The manifest's statistics from the sums of one or more parts, in their order."""
    statistics: dict[str, dict[str, Any]] = {}
    for parameter in table.learned:
        rows = [part[parameter.name] for part in parts]
        if isinstance(parameter, Choice):
            counts = np.sum(rows, axis=0).tolist()
            statistics[parameter.name] = {"counts": dict(zip(parameter.values, counts, strict=True))}
            continue
        count, total, squares = (math.fsum(row[i] for row in rows) for i in range(3))
        mean = total / count
        statistics[parameter.name] = {
            "mean": mean,
            "deviation": math.sqrt(max(squares / count - mean * mean, 0.0)),
            "minimum": min(row[3] for row in rows),
            "maximum": max(row[4] for row in rows),
        }
    return statistics
