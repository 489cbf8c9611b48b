"""What a data set holds in words, numbers and small bars: for its card and for the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthray.data.manifest import PRESETS, Manifest
from synthray.synth.parameters import Choice, Range

PARAMETER_COLUMNS = ("parameter", "range", "mean", "deviation", "distribution")

_BLOCKS = "▁▂▃▄▅▆▇█"
_LONGEST_BAR = 40
_MOST_CLASSES = 12
_UNKNOWN = "?"  # in the manifest of an older synthray


def facts(manifest: Manifest) -> dict[str, str]:
    """What a data set is, in a few words each."""
    rendered = ", rendered as they are read" if manifest.content == PRESETS else ""
    return {
        "digest": manifest.digest,
        "source": " + ".join(_source(part) for part in manifest.source.get("parts", [manifest.source])),
        "examples": f"{manifest.rows:,} in {len(manifest.shards):,} shards, {manifest.bytes / 1e6:,.1f} MB",
        "features": f"{' x '.join(map(str, manifest.feature_shape))} {manifest.feature_dtype}{rendered}",
        "parameters": f"{len(manifest.table)}, of which {len(manifest.table.learned)} are learned",
        "skipped": f"{len(manifest.skipped)} source objects",
    }


def in_one_line(manifest: Manifest, uri: str) -> str:
    """What a job has made."""
    replaced = sum(part.get("replaced", 0) for part in manifest.source.get("parts", [manifest.source]))
    silent = f"; {replaced:,} silent presets were drawn again" if replaced else ""
    size = f"{len(manifest.shards):,} shards, {manifest.bytes / 1e6:,.1f} MB"
    return f"{manifest.rows:,} examples in {size}, {len(manifest.table.learned)} learned parameters, at {uri}{silent}"


def _source(source: dict[str, Any]) -> str:
    """``synth, seed 0, batches 9, digest c79e80cf881d…``: the kind, then whatever else a source says of itself."""
    told = {key: value for key, value in source.items() if key not in ("kind", "digest")}
    digest = [f"digest {source['digest'][:12]}…"] if "digest" in source else []
    return ", ".join([str(source.get("kind", "?")), *(f"{key} {value}" for key, value in told.items()), *digest])


def parameter_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """For each learned parameter the cells of ``PARAMETER_COLUMNS``, as plain text."""
    rows = []
    for parameter in manifest.table.learned:
        found = manifest.statistics.get(parameter.name, {})
        if isinstance(parameter, Choice):
            cells = (f"{len(parameter.values)} classes", "", "", _classes(parameter, found.get("counts", {})))
        else:
            moments = (_number(found.get(key)) for key in ("mean", "deviation"))
            cells = (_span(parameter), *moments, _distribution(found.get("histogram")))
        rows.append((parameter.name, *cells))
    return rows


def loudness_lines(manifest: Manifest) -> list[str]:
    """How many sounds are how loud, one bin a line with a bar, from the quietest to the loudest; [] where unknown."""
    if not manifest.loudness:
        return []
    first, step = manifest.loudness["from_dbfs"], manifest.loudness["step_db"]
    counts = [manifest.loudness["below"], *manifest.loudness["counts"]]
    edges = [first + i * step for i in range(len(counts) - 1)]
    names = [f"below {first}", *(f"{edge} to {edge + step}" for edge in edges[:-1]), f"from {edges[-1]}"]
    filled = np.flatnonzero(counts)
    shown = range(int(filled[0]), int(filled[-1]) + 1) if len(filled) else range(0)
    return [
        f"{names[i]:>11} dBFS  {counts[i]:>9,}  {'█' * -(-_LONGEST_BAR * counts[i] // max(counts))}".rstrip()
        for i in shown
    ]


def _span(parameter: Range) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    return f"{parameter.minimum:g} to {parameter.maximum:g}{unit}{', log' if parameter.curve == 'log' else ''}"


def _number(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.3g}"


def _classes(parameter: Choice, counts: dict[str, int]) -> str:
    total = sum(counts.values())
    if not total:
        return _UNKNOWN
    shares = [f"{value} {counts.get(value, 0) / total:.0%}" for value in parameter.values]
    more = len(shares) - _MOST_CLASSES
    return ", ".join(shares[:_MOST_CLASSES]) + (f" and {more} more" if more > 0 else "")


def _distribution(histogram: dict[str, Any] | None) -> str:
    if histogram is None:
        return _UNKNOWN
    beyond = [f"{histogram[key]:,} {key} {edge}" for key, edge in (("below", 0), ("above", 1)) if histogram[key]]
    return sparkline(histogram["counts"]) + (f" and {', '.join(beyond)}" if beyond else "")


def sparkline(counts: list[int]) -> str:
    """One block a count, as high as its share of the largest; the lowest block only for none at all."""
    highest, steps = max(max(counts), 1), len(_BLOCKS) - 1
    return "".join(_BLOCKS[-(-steps * count // highest)] for count in counts)
