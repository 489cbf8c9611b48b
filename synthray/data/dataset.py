"""Reading a published data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthray.data.batch import Batch
from synthray.data.manifest import MANIFEST, Manifest
from synthray.data.order import PADDING
from synthray.data.shards import decode_shard
from synthray.data.storage import Store, home, newest
from synthray.errors import CorruptShard, NotFound


@dataclass(frozen=True)
class Dataset:
    """A manifest and where it lies. Every shard that is read is compared with it first."""

    store: Store
    manifest: Manifest

    @classmethod
    def open(cls, uri: str) -> Dataset:
        """Open the data set at a URI; raises NotFound, DataError."""
        store = Store.at(uri)
        return cls(store, Manifest.load(store))

    @cached_property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard, in order."""
        return tuple(shard.rows for shard in self.manifest.shards)

    @cached_property
    def shard_starts(self) -> np.ndarray:
        """First row of each shard, and the number of rows at the end."""
        return np.concatenate([[0], np.cumsum(self.shard_rows)])

    def read_shard(self, number: int, rows: tuple[int, int] | None = None) -> Batch:
        """The examples of a shard, or of its rows ``[first, last)``.

        Raises:
            CorruptShard: the file is missing, or differs from the manifest in size or digest.
            StorageError: the store cannot be reached.
        """
        shard = self.manifest.shards[number]
        name = f"{self.store.uri}/{shard.path}"
        try:
            raw = self.store.read(shard.path)
        except NotFound:
            raise CorruptShard(f"{name} is missing; make the data set again") from None
        if len(raw) != shard.bytes or hashlib.sha256(raw).hexdigest() != shard.sha256:
            raise CorruptShard(
                f"{name} has changed since it was published: {len(raw)} of {shard.bytes} bytes, SHA-256 "
                f"{hashlib.sha256(raw).hexdigest()[:12]}… instead of {shard.sha256[:12]}…; make the data set again"
            )
        return decode_shard(raw, self.manifest.table, name, rows)

    def take(self, rows: np.ndarray) -> Batch:
        """The examples at any rows of the data set, in their order; zeros at ``PADDING``. Reads what it needs.

        Returns:
            features in their stored dtype ``(len(rows), frames, bins)``, labels float32 ``(len(rows), learned)``.
        """
        return gather(rows, self.manifest, self.shard_starts, self.read_shard)


def gather(
    rows: np.ndarray, manifest: Manifest, starts: np.ndarray, read: Callable[[int, tuple[int, int]], Batch]
) -> Batch:
    """Examples from several parts of a data set, in the order of ``rows``; zeros at ``PADDING``.

    Args:
        rows: of the whole data set.
        manifest: what the examples look like.
        starts: first row of each part, and the number of rows at the end.
        read: gives the examples ``[first, last)`` of a part.
    """
    features = np.zeros((len(rows), *manifest.feature_shape), manifest.feature_dtype)
    labels = np.zeros((len(rows), len(manifest.table.learned)), np.float32)
    parts = np.searchsorted(starts, rows, side="right") - 1
    for part in np.unique(parts[rows != PADDING]):
        places = np.flatnonzero(parts == part)
        local = rows[places] - starts[part]
        first = int(local.min())
        batch = read(int(part), (first, int(local.max()) + 1))
        features[places] = batch.features[local - first]
        labels[places] = batch.labels[local - first]
    return Batch(features, labels)


def newest_dataset() -> str:
    """URI of the newest data set under ``SYNTHRAY_HOME``; raises NotFound, saying which job makes one."""
    folder = f"{home()}/data"
    uri = newest(folder, MANIFEST)
    if uri is None:
        raise NotFound(
            f"{folder} holds no data set; make one with jobs/generate.py and jobs/convert.py, or give --data"
        )
    return uri
