"""Short texts about a data set, for its card and for the terminal.

They come from the manifest alone; no shard is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synthray.data.manifest import PRESETS, Manifest
from synthray.synth.parameters import Choice, Range
from synthray.text_tables import sparkline

PARAMETER_COLUMNS = ("parameter", "range", "mean", "deviation", "distribution")

_MAX_BAR_LENGTH = 40
_MAX_CLASSES = 12


def facts(manifest: Manifest) -> dict[str, str]:
    """Return short texts about the content of a data set, by topic."""
    rendered = ", rendered on reading" if manifest.content == PRESETS else ""
    return {
        "digest": manifest.digest,
        "source": " + ".join(_source(part) for part in manifest.source_parts),
        "examples": f"{manifest.rows:,} in {_shards_and_size(manifest)}",
        "features": f"{' x '.join(map(str, manifest.feature_shape))} {manifest.feature_dtype}{rendered}",
        "parameters": f"{len(manifest.table)}, of which {len(manifest.table.learned)} are learned",
        "skipped": f"{len(manifest.skipped)} source objects",
    }


def in_one_line(manifest: Manifest, uri: str) -> str:
    """Return one line about the data set that a job has written."""
    replaced = sum(part.get("replaced", 0) for part in manifest.source_parts)
    silent = f"; {replaced:,} silent presets were resampled" if replaced else ""
    learned = f"{len(manifest.table.learned)} learned parameters"
    return f"{manifest.rows:,} examples in {_shards_and_size(manifest)}, {learned}, at {uri}{silent}"


def _shards_and_size(manifest: Manifest) -> str:
    return f"{len(manifest.shards):,} shards, {manifest.bytes / 1e6:,.1f} MB"


def _source(source: dict[str, Any]) -> str:
    """Return the kind of a source and its other fields: ``synth, seed 0, batches 9, digest c79e80cf881d…``."""
    fields = [f"{key} {value}" for key, value in source.items() if key not in ("kind", "digest")]
    digest = [f"digest {source['digest'][:12]}…"] if "digest" in source else []
    return ", ".join([source["kind"], *fields, *digest])


def parameter_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """Return the cells of ``PARAMETER_COLUMNS`` for each learned parameter, as plain text."""
    rows: list[tuple[str, ...]] = []
    for parameter in manifest.table.learned:
        statistics = manifest.statistics[parameter.name]
        if isinstance(parameter, Choice):
            classes = _classes(parameter, statistics["counts"])
            rows.append((parameter.name, f"{len(parameter.values)} classes", "", "", classes))
        else:
            mean, deviation = (_number(statistics[key]) for key in ("mean", "deviation"))
            histogram = _histogram(statistics["histogram"])
            rows.append((parameter.name, _range(parameter), mean, deviation, histogram))
    return rows


def loudness_lines(manifest: Manifest) -> list[str]:
    """Return the loudness histogram of the sounds, one line for each bin, quietest first."""
    first, step = manifest.loudness["from_dbfs"], manifest.loudness["step_db"]
    counts = [manifest.loudness["below"], *manifest.loudness["counts"]]
    edges = [first + i * step for i in range(len(counts) - 1)]
    names = [f"below {first}", *(f"{edge} to {edge + step}" for edge in edges[:-1]), f"from {edges[-1]}"]
    filled = np.flatnonzero(counts)
    shown = range(int(filled[0]), int(filled[-1]) + 1) if len(filled) else range(0)
    return [
        f"{names[i]:>11} dBFS  {counts[i]:>9,}  {'█' * -(-_MAX_BAR_LENGTH * counts[i] // max(counts))}".rstrip()
        for i in shown
    ]


def _range(parameter: Range) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    return f"{parameter.minimum:g} to {parameter.maximum:g}{unit}{', log' if parameter.curve == 'log' else ''}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.3g}"


def _classes(parameter: Choice, counts: dict[str, int]) -> str:
    total = sum(counts.values())
    shares = [f"{value} {counts.get(value, 0) / total:.0%}" for value in parameter.values]
    more = len(shares) - _MAX_CLASSES
    return ", ".join(shares[:_MAX_CLASSES]) + (f" and {more} more" if more > 0 else "")


def _histogram(histogram: dict[str, Any]) -> str:
    outside = [f"{histogram[key]:,} {key} {edge}" for key, edge in (("below", 0), ("above", 1)) if histogram[key]]
    return sparkline(histogram["counts"]) + (f" and {', '.join(outside)}" if outside else "")
