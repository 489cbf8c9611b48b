"""The manifest: what a data set is, and the point at which it comes to be.

It is written last, in one put. Without it there is no data set, with it every byte is known. It holds no time, host or
path of its making, so that the same source gives the same manifest anywhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from synthray.errors import DataError, NotFound
from synthray.storage import Store
from synthray.synth.parameters import ParameterTable

MANIFEST = "manifest.json"
FORMAT = "synthray-dataset/1"
FEATURES, PRESETS = CONTENTS = ("features", "presets")


@dataclass(frozen=True)
class Shard:
    """One Parquet file: where it is, rows, size in bytes, SHA-256 in hexadecimal.

    The path leads from the manifest's folder; that of an appended data set also into other folders, ``Store.locate``.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """A source object that is not in the data set, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """One published version of a data set.

    content: what the shards hold: ``"features"``, or ``"presets"``, from which the sounds are rendered as they are read.
    source: how it was made: ``{"kind": "notebook", "digest": …}`` or ``{"kind": "synth", "seed": …}``; of an appended
        one ``{"kind": "appended", "parts": […]}``.
    statistics: for each learned parameter, mean, deviation, extremes and histogram of a range (as labels), or counts
        by class.
    loudness: how many sounds are how loud; empty in a data set from before this was counted.
    """

    table: ParameterTable
    feature_shape: tuple[int, int]
    feature_dtype: str
    source: dict[str, Any]
    shards: tuple[Shard, ...]
    statistics: dict[str, dict[str, Any]]
    skipped: tuple[Skipped, ...] = ()
    loudness: dict[str, Any] = field(default_factory=dict)
    content: str = FEATURES

    @cached_property
    def rows(self) -> int:
        """Examples in all shards."""
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def feature_bytes(self) -> int:
        """Size of all examples as they are trained on."""
        return self.rows * int(np.prod(self.feature_shape)) * np.dtype(self.feature_dtype).itemsize

    @cached_property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest, and so, through the shards' own, of the whole data set."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The file's content; the same manifest gives the same bytes."""
        body = {
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
        if self.loudness:  # an older manifest keeps its bytes, and so its digest, which models name
            body["loudness"] = self.loudness
        return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def decode(cls, raw: bytes, name: str) -> Manifest:
        """The inverse of ``encode``; ``name`` is for the error.

        Raises:
            DataError: it is damaged, or of another format.
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
            raise DataError(f"{name} is damaged ({type(error).__name__}: {error})") from None

    @classmethod
    def load(cls, store: Store) -> Manifest:
        """The manifest of the data set at a store's root.

        Raises:
            NotFound: there is no data set (yet).
            DataError: the manifest is damaged.
        """
        try:
            return cls.decode(store.read(MANIFEST), f"{store.uri}/{MANIFEST}")
        except NotFound:
            raise NotFound(
                f"{store.uri} holds no {MANIFEST}, so there is no finished data set; jobs/convert.py makes one"
            ) from None
