"""What is to be made of a source of batches: which of them go into which shard of which data set."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from synthray.data.card.readme import check_free
from synthray.data.examples import Examples
from synthray.data.manifest import CONTENTS, FEATURES, MANIFEST, Manifest, Skipped
from synthray.data.parquet import DTYPES
from synthray.errors import BadBatch, ConfigError, Conflict, DataError
from synthray.storage import open_store
from synthray.synth.parameters import ParameterTable

# A shard is what is read at once: large enough to be worth a request, small enough that many of them are in memory
# together, so that a batch draws from many. 256 sounds of 20 x 551 in float32 are 11 MB.
_SHARD_BYTES = 12_000_000
_SHARDS_OF_A_SMALL_DATA_SET = 8
NEVER_CHANGES = "a published one never changes: give another --out"


class Source(Protocol):
    """Where batches come from.

    ``provenance`` goes into the manifest; ``repeatable`` when the same one always gives the same batches. ``stamp``
    tells cheaply whether a batch has changed since an earlier run.
    """

    table: ParameterTable
    batches: tuple[int, ...]
    provenance: dict[str, Any]
    repeatable: bool

    def stamp(self, number: int) -> str: ...

    def read(self, number: int) -> Examples:
        """One batch; raises BadBatch."""
        ...


@dataclass(frozen=True)
class BuildConfig:
    """What is to be made.

    out: URI of the data set. dtype: of the features. skip_bad: leave out what cannot be read, and list it. content:
    ``"features"``, or ``"presets"``, where the instrument makes them. append: URI of a published data set, whose shards
    are to be this one's too, before the new ones.
    """

    out: str
    dtype: str = "float32"
    skip_bad: bool = False
    content: str = FEATURES
    append: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", open_store(self.out).uri)  # absolute: workers run in folders of their own
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; it can be {' or '.join(DTYPES)}")
        if self.content not in CONTENTS:
            raise ConfigError(f"content is {self.content!r}; it can be {' or '.join(CONTENTS)}")
        if self.append:
            object.__setattr__(self, "append", open_store(self.append).uri)
            if self.append == self.out:
                raise ConfigError(f"{self.out} cannot be appended to itself: a published one never changes")


@dataclass(frozen=True)
class Plan:
    """Which batches go into which shard; a pure function of source and configuration.

    published: the manifest that stands at ``out`` already. Then shards are made to be compared, and written only where
    a published one is not as it was. base: the data set that is appended to.
    """

    source: Source
    config: BuildConfig
    feature_shape: tuple[int, int]
    shards: tuple[tuple[int, ...], ...]
    published: Manifest | None = None
    base: Manifest | None = None

    @classmethod
    def make(cls, source: Source, config: BuildConfig) -> Plan:
        """Cut the source into shards.

        Raises:
            DataError: no batch of it can be read, or it does not go with the data set that it is appended to.
            Conflict: a data set of another kind stands at ``out``, or a README.md that is no card.
        """
        shape = _features_shape(source)
        most = max(1, _SHARD_BYTES // (math.prod(shape) * np.dtype(config.dtype).itemsize))
        per_shard = min(-(-len(source.batches) // _SHARDS_OF_A_SMALL_DATA_SET), most)
        cuts = range(0, len(source.batches), per_shard)
        shards = tuple(source.batches[i : i + per_shard] for i in cuts)
        out = open_store(config.out)
        published = Manifest.load(out) if out.exists(MANIFEST) else None
        base = Manifest.load(open_store(config.append)) if config.append else None
        plan = cls(source, config, shape[1:], shards, published, base)
        if base and (difference := plan._difference(base)):
            raise DataError(f"the batches do not go with {config.append}: it has {difference}")
        # what is the same in this may still be another data set: whoever publishes it compares the whole
        if published and (difference := plan._difference(published)):
            raise Conflict(f"{out.uri} holds a data set with {difference}; {NEVER_CHANGES}")
        if not published:
            check_free(out)
        return plan

    def _difference(self, other: Manifest) -> str:
        """What of a data set keeps these batches from being in it, or ''."""
        ours = (self.source.table, self.feature_shape, self.config.dtype, self.config.content)
        theirs = (other.table, other.feature_shape, other.feature_dtype, other.content)
        for what, our, their in zip(("parameters", "feature shape", "dtype", "content"), ours, theirs, strict=True):
            if our != their:
                return f"another {what}" + ("" if what == "parameters" else f": {our} here, {their} there")
        return ""

    @cached_property
    def _common(self) -> str:
        body = [self.source.table.to_json(), self.source.provenance, self.feature_shape]
        return json.dumps([*body, self.config.dtype, self.config.content])

    def worth_keeping(self, skipped: Sequence[Skipped]) -> bool:
        """Whether a shard without these batches will be published."""
        return self.config.skip_bad or not skipped

    def fingerprint(self, number: int) -> str:
        """Tells whether a record is of this very shard: same table, source, shape, dtype, store and files."""
        stamps = [(batch, self.source.stamp(batch)) for batch in self.shards[number]]
        return hashlib.sha256(json.dumps([self._common, number, stamps]).encode()).hexdigest()


def _features_shape(source: Source) -> tuple[int, int, int]:
    """Examples, frames and bins that every batch is expected to have, but for the number of examples.

    Those of the first batch that can be read, unless one in the middle and the last one agree on others.
    """
    shapes: list[tuple[int, ...]] = []
    first_error: BadBatch | None = None
    for number in source.batches:
        try:
            shapes.append(source.read(number).features.shape)
            break
        except BadBatch as error:
            first_error = first_error or error
    else:
        raise DataError(f"none of the {len(source.batches)} batches can be read; the first: {first_error}")
    for number in (source.batches[len(source.batches) // 2], source.batches[-1]):
        with contextlib.suppress(BadBatch):
            shapes.append(source.read(number).features.shape)
    first, *others = shapes
    return others[0] if len(others) == 2 and first[1:] != others[0][1:] == others[1][1:] else first
