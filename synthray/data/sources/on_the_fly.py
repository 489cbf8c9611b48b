"""Data sets whose sounds are rendered when they are read, such as ``synth://?seed=7&batches=3500``.

The sounds themselves are those of ``synthetic.py``. Stored data sets are in ``data/dataset.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import numpy as np

from synthray.data.dataset import Dataset
from synthray.data.examples import Examples
from synthray.data.manifest import PRESETS, Manifest, Shard
from synthray.data.parquet import DTYPES
from synthray.data.sources.synthetic import BATCH_SIZE, SoundGenerator
from synthray.errors import ConfigError
from synthray.synth.features import FEATURE_SHAPE
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.priors import UNIFORM, Prior

_ROWS_PER_SHARD = 256  # one task renders them in about 50 ms
_MAX_BATCHES = 1_000_000  # bounds the manifest, which lists every shard
_SAMPLED_ROWS = 4096  # for statistics
_EXAMPLE = "synth://?seed=7&batches=3500&fresh=1&reject-silent=-60&dtype=float16"


@dataclass(frozen=True)
class OnTheFlyDataset(Dataset):
    """A data set of random sounds that are rendered when they are read."""

    sounds: SoundGenerator = field(default=SoundGenerator(0))
    fresh: bool = False
    """True if each epoch has new sounds. ``take`` and validation always use the sounds of epoch 0."""

    def read_shard(self, number: int, epoch: int = 0) -> Examples:
        """Return the examples of a shard, rendered; with ``fresh`` they differ from epoch to epoch."""
        first = int(self.shard_starts[number]) + (epoch * self.manifest.rows if self.fresh else 0)
        return self.sounds.batch(first, self.shard_rows[number], self.manifest.feature_dtype, self.analysis)


@cache
def open_on_the_fly(uri: str) -> OnTheFlyDataset:
    """Return the data set that a URI describes.

    Raises:
        ConfigError: the URI has an unknown or invalid part; the message shows a valid example.
    """
    parts = urlsplit(uri)
    try:
        options = _options(parts)
        seed, batches, fresh, dtype = int(options["seed"]), int(options["batches"]), options["fresh"], options["dtype"]
        rejected = float(options["reject-silent"]) if "reject-silent" in options else None
        sounds = SoundGenerator(seed, rejected, Prior.parse(options["prior"]))
        if not 1 <= batches <= _MAX_BATCHES:
            raise ValueError(f"batches is {batches}. It must be from 1 to {_MAX_BATCHES:,}.")
        if fresh not in ("0", "1"):
            raise ValueError(f"fresh is {fresh}. It must be 0 or 1.")
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype}. It must be {' or '.join(DTYPES)}")
    except ValueError as error:
        raise ConfigError(f"{uri!r}: {str(error).rstrip('.')}. A valid example is {_EXAMPLE}") from None
    prior = {} if sounds.prior == UNIFORM else {"prior": str(sounds.prior)}
    rejecting = {} if sounds.reject_silent_dbfs is None else {"reject-silent": repr(sounds.reject_silent_dbfs)}
    query = urlencode(
        {"seed": seed, "batches": batches, "fresh": fresh, **prior, **rejecting, "dtype": dtype}, safe=":"
    )
    manifest = _manifest(sounds, batches, fresh == "1", dtype)
    return OnTheFlyDataset(f"{parts.scheme}://?{query}", manifest, sounds=sounds, fresh=fresh == "1")


def _statistics(labels: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return statistics as in a stored manifest, estimated from a sample of labels ``(sounds, learned)``."""
    statistics: dict[str, dict[str, Any]] = {}
    for parameter, column in zip(INSTRUMENT.learned, labels.T.astype(float), strict=True):
        if isinstance(parameter, Choice):
            counts = {value: int((column == index).sum()) for index, value in enumerate(parameter.values)}
            statistics[parameter.name] = {"counts": counts}
        else:
            spread = {"minimum": float(column.min()), "maximum": float(column.max())}
            statistics[parameter.name] = {"mean": float(column.mean()), "deviation": float(column.std()), **spread}
    return statistics


def _options(uri: SplitResult) -> dict[str, str]:
    """Return the options of a URI with defaults filled in; raises ValueError."""
    if uri.netloc or uri.path.strip("/"):
        raise ValueError(f"{uri.netloc}{uri.path} is before the question mark")
    if uri.fragment:
        raise ValueError(f"{uri.fragment} is after a #")
    pairs = parse_qsl(uri.query, keep_blank_values=True, strict_parsing=bool(uri.query))
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError("an option is given twice")
    defaults = {"seed": "0", "batches": "3500", "fresh": "0", "prior": str(UNIFORM), "dtype": DTYPES[0]}
    if unknown := options.keys() - defaults.keys() - {"reject-silent"}:
        raise ValueError(f"{min(unknown)!r} is not an option")
    return defaults | options


def _manifest(sounds: SoundGenerator, batches: int, fresh: bool, dtype: str) -> Manifest:
    """Return a manifest of these sounds; its shards have no sizes or digests, because they are never files."""
    rows = batches * BATCH_SIZE
    starts = range(0, rows, _ROWS_PER_SHARD)
    shards = (Shard(f"{start // _ROWS_PER_SHARD:05d}", min(_ROWS_PER_SHARD, rows - start), 0, "") for start in starts)
    return Manifest(
        table=INSTRUMENT,
        feature_shape=FEATURE_SHAPE,
        feature_dtype=dtype,
        source=sounds.provenance | {"batches": batches, "fresh": fresh},
        shards=tuple(shards),
        statistics=_statistics(sounds.labels(0, _SAMPLED_ROWS)),
        content=PRESETS,
    )
