"""The manifest: the description of a data set, and its commit point.

It is written last, in one put: without it there is no data set. It holds no time, host or path, so the same source
gives the same manifest anywhere. Writing it is not here; see ``build/publish.py``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from synthray.errors import DataError, NotFound
from synthray.storage import Store
from synthray.synth.parameters import ParameterTable

MANIFEST = "manifest.json"
FORMAT = "synthray-dataset/1"
FEATURES, PRESETS = CONTENTS = ("features", "presets")


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a data set."""

    path: str
    """Path from the manifest's folder. A shard of another data set has ``../…`` or a URI; see ``storage.locate``."""
    rows: int
    """Number of examples."""
    bytes: int
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


@dataclass(frozen=True)
class Skipped:
    """A source batch that could not be used."""

    source: str
    """Path of the batch below the root of its source."""
    reason: str
    """One line that says what is wrong."""


@dataclass(frozen=True)
class Manifest:
    """One published version of a data set."""

    table: ParameterTable
    """The parameters of the sounds."""
    feature_shape: tuple[int, int]
    """Frames and bins of one example."""
    feature_dtype: str
    """Name of the NumPy dtype of the features."""
    source: dict[str, Any]
    """Origin: ``{"kind": "notebook", "digest": …}``, ``{"kind": "synth", "seed": …}`` or, after ``--append``,
    ``{"kind": "appended", "parts": […]}``."""
    shards: tuple[Shard, ...]
    """The files, in row order."""
    statistics: dict[str, dict[str, Any]]
    """By learned parameter: mean, deviation, extremes and histogram of a range's labels, or counts per class."""
    skipped: tuple[Skipped, ...] = ()
    """Source batches that could not be used."""
    loudness: dict[str, Any] = field(default_factory=dict)
    """Histogram of the sounds' loudness; empty for ``synth://…``."""
    content: str = FEATURES
    """``"features"``, or ``"presets"`` if the features are rendered as they are read."""

    @property
    def source_parts(self) -> list[dict[str, Any]]:
        """Sources of the data set: several after ``--append``."""
        parts: list[dict[str, Any]] = self.source.get("parts", [self.source])
        return parts

    @cached_property
    def rows(self) -> int:
        """Number of examples."""
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def first_part_rows(self) -> int:
        """Number of examples of the first source. They stay first when other sources are appended."""
        if "parts" not in self.source:
            return self.rows
        folder = self.shards[0].path.rpartition("/")[0]
        first = itertools.takewhile(lambda shard: shard.path.rpartition("/")[0] == folder, self.shards)
        return sum(shard.rows for shard in first)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest. It covers the whole data set, because the manifest has the digest of each shard."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """Return the file's content; the same manifest gives the same bytes."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "rows": self.rows,
            "features": {"shape": list(self.feature_shape), "dtype": self.feature_dtype},
            "source": self.source,
            "parameters": self.table.to_json(),
            "shards": [asdict(shard) for shard in self.shards],
            "statistics": self.statistics,
            "skipped": [asdict(skip) for skip in self.skipped],
        }
        if self.content != FEATURES:
            body["features"]["content"] = self.content
        if self.loudness:  # absent for ``synth://``, where an entry would change digests that models refer to
            body["loudness"] = self.loudness
        return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes, name: str) -> Manifest:
        """Read a manifest that ``encode`` wrote; ``name`` is for the error.

        Raises:
            DataError: the manifest is corrupt or has another format.
        """
        try:
            body = json.loads(raw)
            if body["format"] != FORMAT:
                raise DataError(f"{name} is of the format {body['format']!r}; this synthray reads {FORMAT!r}")
            return cls(
                table=ParameterTable.from_json(body["parameters"]),
                feature_shape=tuple(body["features"]["shape"]),
                feature_dtype=body["features"]["dtype"],
                source=body["source"],
                shards=tuple(Shard(**shard) for shard in body["shards"]),
                statistics=body["statistics"],
                skipped=tuple(Skipped(**skip) for skip in body["skipped"]),
                loudness=body.get("loudness", {}),
                content=body["features"].get("content", FEATURES),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{name} is corrupt ({type(error).__name__}: {error})") from None

    @classmethod
    def load(cls, store: Store) -> Manifest:
        """Return the manifest of the data set at a store's root.

        Raises:
            NotFound: there is no finished data set.
            DataError: the manifest is corrupt or has another format.
        """
        try:
            return cls.decode(store.read(MANIFEST), f"{store.uri}/{MANIFEST}")
        except NotFound:
            raise NotFound(
                f"{store.uri} holds no {MANIFEST}, so there is no finished data set. Make one with `synthray convert`."
            ) from None

    @cached_property
    def bytes(self) -> int:  # last in the class, because it hides the built-in type in annotations
        """Size of all shards, in bytes."""
        return sum(shard.bytes for shard in self.shards)
