"""The plan of a data set: which batches of a source, or parts of them, go into which shard.

Shards are written in ``shard.py``, the manifest in ``publish.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from synthray.data.card.readme import check_free
from synthray.data.examples import Examples
from synthray.data.manifest import CONTENTS, FEATURES, MANIFEST, Manifest, Skipped
from synthray.data.parquet import DTYPES
from synthray.errors import BadBatch, ConfigError, Conflict, DataError
from synthray.storage import open_store
from synthray.synth.parameters import ParameterTable

# A shard is read as a whole: large enough to justify a request, small enough that a batch can mix many of them.
# 256 sounds of 20 x 551 float32 values are 11 MB.
_MAX_SHARD_BYTES = 12_000_000
_SHARDS_OF_A_SMALL_DATA_SET = 8
# Number of headers that are read at the same time. Each takes one request to an object store.
_HEADERS_AT_A_TIME = 16
NEVER_CHANGES = "Published data sets never change; give another --out."


class Source(Protocol):
    """Numbered batches of examples."""

    @property
    def table(self) -> ParameterTable:
        """Parameters that the labels stand for."""

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of all batches."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Origin of the batches, for the manifest."""

    @property
    def repeatable(self) -> bool:
        """True if the same provenance always gives the same batches."""

    def name(self, number: int) -> str:
        """Return the name of a batch's features in messages."""

    def stamp(self, number: int) -> str:
        """Return a text that changes when the batch changes, without reading the batch."""

    def large_shape(self, number: int) -> tuple[int, int, int] | None:
        """Return examples, frames and bins of a batch that can be read in parts, without reading the batch.

        None for a small batch, and for one that must be read as a whole. Raises BadBatch, StorageError.
        """

    def read(self, number: int, rows: range | None = None) -> Examples:
        """Return one batch, or consecutive examples of a large one; raises BadBatch, StorageError."""


class Part(NamedTuple):
    """A batch, or a part of a large one."""

    batch: int
    """Number of the batch."""
    rows: range | None = None
    """Consecutive examples of the batch; None for all."""


@dataclass(frozen=True)
class BuildConfig:
    """Location and kind of a data set to build."""

    out: str
    """URI of the data set; made absolute, because workers run in other directories."""
    dtype: str = "float32"
    """Type of the stored features."""
    skip_bad: bool = False
    """Leave out batches that cannot be used, and list them in the manifest."""
    content: str = FEATURES
    """``features``, or ``presets`` if the instrument made the sounds."""
    append: str = ""
    """URI of a published data set whose shards come first in the new one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", open_store(self.out).uri)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype: unknown value ({self.dtype!r}). Use {' or '.join(DTYPES)}.")
        if self.content not in CONTENTS:
            raise ConfigError(f"content: unknown value ({self.content!r}). Use {' or '.join(CONTENTS)}.")
        if self.append:
            object.__setattr__(self, "append", open_store(self.append).uri)
            if self.append == self.out:
                raise ConfigError(f"{self.out}: a data set cannot be appended to itself. {NEVER_CHANGES}")


@dataclass(frozen=True)
class Plan:
    """The assignment of batches to shards. It depends only on the source and the configuration."""

    source: Source
    config: BuildConfig
    feature_shape: tuple[int, int]
    """Frames and bins of every example."""
    shards: tuple[tuple[Part, ...], ...]
    """Batches of each shard. A part of a batch has a shard of its own."""
    published: Manifest | None = None
    """Manifest that is already at ``out``. Then only corrupt or missing shards are written."""
    base: Manifest | None = None
    """Manifest of the data set to append to."""

    @classmethod
    def make(cls, source: Source, config: BuildConfig) -> Plan:
        """Assign the batches of the source to shards.

        Raises:
            DataError: no batch can be read, or the batches do not fit the data set to append to.
            Conflict: ``out`` holds a data set of another kind, or a README.md that is not a data set's card.
        """
        large = _large_shapes(source)
        examples, frames, bins = _batch_shape(source, large)
        value_bytes = np.dtype(config.dtype).itemsize
        batch_bytes = examples * frames * bins * value_bytes
        batches_per_shard = min(
            math.ceil(len(source.batches) / _SHARDS_OF_A_SMALL_DATA_SET), max(1, _MAX_SHARD_BYTES // batch_bytes)
        )
        parts = {number: _parts(number, shape, value_bytes) for number, shape in large.items()}
        shards = _shards(source.batches, batches_per_shard, parts)
        out = open_store(config.out)
        published = Manifest.load(out) if out.exists(MANIFEST) else None
        base = Manifest.load(open_store(config.append)) if config.append else None
        plan = cls(source, config, (frames, bins), shards, published, base)
        if base and (difference := plan._difference(base)):
            raise DataError(f"{config.append}: the batches cannot be appended. The data set has {difference}.")
        # Two data sets of one kind may still differ; publish() compares their digests.
        if published and (difference := plan._difference(published)):
            raise Conflict(f"{out.uri}: already holds a data set with {difference}. {NEVER_CHANGES}")
        if not published:
            check_free(out)
        return plan

    def _difference(self, other: Manifest) -> str:
        """Return the first property in which a data set differs from these batches, or ''."""
        if self.source.table != other.table:
            return "other parameters"
        pairs = {
            "feature shape": (self.feature_shape, other.feature_shape),
            "dtype": (self.config.dtype, other.feature_dtype),
            "content": (self.config.content, other.content),
        }
        for name, (ours, theirs) in pairs.items():
            if ours != theirs:
                return f"another {name} ({theirs}, not {ours})"
        return ""

    @cached_property
    def published_numbers(self) -> dict[str, int]:
        """Number of each published shard by its path."""
        shards = self.published.shards if self.published else ()
        return {shard.path: number for number, shard in enumerate(shards)}

    @cached_property
    def _common(self) -> str:
        body = [self.source.table.to_json(), self.source.provenance, self.feature_shape]
        return json.dumps([*body, self.config.dtype, self.config.content])

    def worth_keeping(self, skipped: Sequence[Skipped]) -> bool:
        """Return whether a shard that lacks these batches will be published."""
        return self.config.skip_bad or not skipped

    def fingerprint(self, number: int) -> str:
        """Return a digest of everything that a shard depends on. Records with equal digests are of the same shard."""
        stamps = [
            (batch, self.source.stamp(batch), *((rows.start, rows.stop) if rows else ()))
            for batch, rows in self.shards[number]
        ]
        return hashlib.sha256(json.dumps([self._common, number, stamps]).encode()).hexdigest()


def _large_shapes(source: Source) -> dict[int, tuple[int, int, int]]:
    """Return examples, frames and bins of each large batch whose header can be read."""

    def large_shape(number: int) -> tuple[int, int, int] | None:
        with contextlib.suppress(BadBatch):  # the task that reads the batch reports it
            return source.large_shape(number)
        return None

    with ThreadPoolExecutor(_HEADERS_AT_A_TIME) as pool:
        shapes = zip(source.batches, pool.map(large_shape, source.batches), strict=True)
        return {number: shape for number, shape in shapes if shape}


def _parts(number: int, shape: tuple[int, int, int], value_bytes: int) -> list[Part]:
    """Return the parts of a large batch, of nearly equal size; one part if the batch fits into a shard."""
    examples = shape[0]
    count = min(examples, math.ceil(math.prod(shape) * value_bytes / _MAX_SHARD_BYTES))
    if count == 1:
        return [Part(number)]
    bounds = [examples * part // count for part in range(count + 1)]
    return [Part(number, range(*pair)) for pair in itertools.pairwise(bounds)]


def _shards(
    batches: Sequence[int], batches_per_shard: int, parts: Mapping[int, list[Part]]
) -> tuple[tuple[Part, ...], ...]:
    """Assign batches to shards, in order: several small batches to a shard, or one part of a large batch."""
    shards: list[tuple[Part, ...]] = []
    for is_large, group in itertools.groupby(batches, parts.__contains__):
        if is_large:
            shards += [(part,) for number in group for part in parts[number]]
        else:
            whole = [Part(number) for number in group]
            starts = range(0, len(whole), batches_per_shard)
            shards += [tuple(whole[start : start + batches_per_shard]) for start in starts]
    return tuple(shards)


def _batch_shape(source: Source, large: Mapping[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return the expected examples, frames and bins of a batch.

    It is the shape of the first readable batch, unless the middle and the last batch agree on other frames or bins.
    """

    def shape(number: int) -> tuple[int, int, int]:
        return large.get(number) or source.read(number).features.shape

    shapes: list[tuple[int, int, int]] = []
    first_error: BadBatch | None = None
    for number in source.batches:
        try:
            shapes.append(shape(number))
            break
        except BadBatch as error:
            first_error = first_error or error
    else:
        raise DataError(f"none of the {len(source.batches)} batches can be read. The first: {first_error}")
    for number in (source.batches[len(source.batches) // 2], source.batches[-1]):
        with contextlib.suppress(BadBatch):
            shapes.append(shape(number))
    first, *others = shapes
    return others[0] if len(others) == 2 and first[1:] != others[0][1:] == others[1][1:] else first
