"""SoundGenerator that are never stored: ``synth://?seed=7&batches=3500`` is a data set that is rendered as it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, urlencode, urlsplit

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

_ROWS_PER_SHARD = 256  # what one task renders, in about 50 ms
_MOST_BATCHES = 1_000_000  # the manifest lists its shards
SYNTH = "synth://"
_EXAMPLE = f"{SYNTH}?seed=7&batches=3500&fresh=1&reject-silent=-60&dtype=float16"


@dataclass(frozen=True)
class OnTheFlyDataset(Dataset):
    """A data set of random sounds of the instrument.

    fresh: each epoch has sounds of its own, so that none is ever seen twice; those of epoch 0 are what ``take`` gives,
    and so what is held out for validation.
    """

    sounds: SoundGenerator = field(default=SoundGenerator(0))
    fresh: bool = False  # type: ignore[assignment]

    @staticmethod
    def load(uri: str) -> OnTheFlyDataset:
        """The data set that a URI describes.

        Raises:
            ConfigError: the URI has something unknown in it; an example stands in the message.
        """
        return _open(uri)

    def read_shard(self, number: int, epoch: int = 0) -> Examples:
        """The examples of a part, rendered; in another epoch others where ``fresh``."""
        first = int(self.shard_starts[number]) + (epoch * self.manifest.rows if self.fresh else 0)
        return self.sounds.batch(first, self.shard_rows[number], self.manifest.feature_dtype)


@cache
def _open(uri: str) -> OnTheFlyDataset:
    parts = urlsplit(uri)
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        query = dict(pairs)
        if parts.netloc or parts.path.strip("/"):
            raise ValueError(f"{parts.netloc}{parts.path} stands before the question mark")
        if parts.fragment or len(query) < len(pairs):
            raise ValueError("something is said twice, or stands behind a #")
        sounds = SoundGenerator(
            int(query.pop("seed", "0")), float(query.pop("reject-silent")) if "reject-silent" in query else None
        )
        batches, fresh = int(query.pop("batches", "3500")), query.pop("fresh", "0")
        dtype = query.pop("dtype", DTYPES[0])
        if query:
            raise ValueError(f"{next(iter(query))!r} is not known")
        if not 1 <= batches <= _MOST_BATCHES or fresh not in ("0", "1") or dtype not in DTYPES:
            raise ValueError(f"batches is {batches}, fresh is {fresh}, dtype is {dtype}")
    except ValueError as error:
        raise ConfigError(f"{uri!r}: {error}; write it like {_EXAMPLE}") from None
    manifest = _manifest(sounds, batches, fresh == "1", dtype)
    rejecting = {} if sounds.reject_silent_dbfs is None else {"reject-silent": repr(sounds.reject_silent_dbfs)}
    options = {"seed": sounds.seed, "batches": batches, "fresh": fresh, **rejecting, "dtype": dtype}
    return OnTheFlyDataset(f"{SYNTH}?{urlencode(options)}", manifest, sounds, fresh == "1")


def _manifest(sounds: SoundGenerator, batches: int, fresh: bool, dtype: str) -> Manifest:
    """What a data set of these sounds would have, but for sizes and digests: nothing of it is ever a file."""
    rows = batches * BATCH_SIZE
    starts = range(0, rows, _ROWS_PER_SHARD)
    shards = (Shard(f"{start // _ROWS_PER_SHARD:05d}", min(_ROWS_PER_SHARD, rows - start), 0, "") for start in starts)
    uniform = {"mean": 0.5, "deviation": float(np.sqrt(1 / 12)), "minimum": 0.0, "maximum": 1.0}
    statistics = {
        p.name: {"counts": {v: rows / len(p.values) for v in p.values}} if isinstance(p, Choice) else uniform
        for p in INSTRUMENT.learned
    }
    return Manifest(
        table=INSTRUMENT,
        feature_shape=FEATURE_SHAPE,
        feature_dtype=dtype,
        source=sounds.provenance | {"batches": batches, "fresh": fresh},
        shards=tuple(shards),
        statistics=statistics,
        content=PRESETS,
    )
