"""Reading a published data set."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from synthray.data.examples import Examples
from synthray.data.manifest import FEATURES, Manifest
from synthray.data.order import PADDING
from synthray.data.parquet import decode_shard
from synthray.errors import CorruptShard, NotFound
from synthray.storage import Store, locate, open_store

_MEND = "the job that made the data set mends it when it is run again"


@dataclass(frozen=True)
class Dataset:
    """A manifest and where it lies. Every shard that is read is compared with it first."""

    uri: str
    manifest: Manifest

    @classmethod
    def load(cls, uri: str) -> Dataset:
        """Return the stored data set at a URI; raises NotFound, ConfigError, DataError."""
        store = open_store(uri)
        return cls(store.uri, Manifest.load(store))

    @property
    def store(self) -> Store:
        """The folder of the manifest."""
        return open_store(self.uri)

    @property
    def fresh(self) -> bool:
        """Whether each epoch has sounds of its own."""
        return False

    @cached_property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard, in order."""
        return tuple(shard.rows for shard in self.manifest.shards)

    @cached_property
    def shard_starts(self) -> np.ndarray:
        """First row of each shard, and the number of rows at the end."""
        return np.concatenate([[0], np.cumsum(self.shard_rows)])

    def read_shard(self, number: int, epoch: int = 0) -> Examples:  # noqa: ARG002 - what is stored is the same in all
        """The examples of a shard, as they are in an epoch.

        Returns:
            features in the manifest's dtype, rendered where only presets are stored; labels float64.

        Raises:
            CorruptShard: the file is missing, or differs from the manifest in size or digest.
            DataError: the presets are of another version of the instrument.
            StorageError: the store cannot be reached.
        """
        batch = decode_shard(self.read_bytes(number), self.manifest.table, self._name(number))
        if self.manifest.content == FEATURES:
            return batch
        # imported here: stored features are read without the instrument and its compiler
        from synthray.data.rendering import check_instrument, render

        check_instrument(self.manifest, self.uri)
        features = render(batch.labels, batch.noise_seeds, self.manifest.feature_dtype)
        return replace(batch, features=features)

    def read_bytes(self, number: int) -> bytes:
        """The file of a shard, compared with the manifest; raises CorruptShard, StorageError."""
        shard = self.manifest.shards[number]
        store, path = locate(self.store, shard.path)
        try:
            raw = store.read(path)
        except NotFound:
            raise CorruptShard(f"{self._name(number)} is missing; {_MEND}") from None
        if len(raw) != shard.bytes or hashlib.sha256(raw).hexdigest() != shard.sha256:
            raise CorruptShard(
                f"{self._name(number)} has changed since it was published: {len(raw)} of {shard.bytes} bytes, SHA-256 "
                f"{hashlib.sha256(raw).hexdigest()[:12]}… instead of {shard.sha256[:12]}…; {_MEND}"
            )
        return raw

    def _name(self, number: int) -> str:
        store, path = locate(self.store, self.manifest.shards[number].path)
        return f"{store.uri}/{path}"

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at any rows of the data set, in their order; zeros at ``PADDING``. Reads what it needs.

        Returns:
            features in their stored dtype ``(len(rows), frames, bins)``, labels float32 ``(len(rows), learned)``.
        """
        return gather(rows, self, self.read_shard)


def gather(rows: np.ndarray, dataset: Dataset, read: Callable[[int], Examples]) -> Examples:
    """Examples from several shards, in the order of ``rows``; zeros at ``PADDING``.

    Args:
        rows: of the whole data set.
        dataset: what the examples look like, and where shards begin.
        read: gives the examples of a shard.
    """
    manifest, starts = dataset.manifest, dataset.shard_starts
    if len(rows) and not PADDING <= rows.min() <= rows.max() < starts[-1]:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of a data set that has {starts[-1]}")
    features = _empty((len(rows), *manifest.feature_shape), manifest.feature_dtype)
    labels = np.empty((len(rows), len(manifest.table.learned)), np.float32)
    padding = rows == PADDING
    features[padding], labels[padding] = 0, 0
    shards = np.searchsorted(starts, rows, side="right") - 1  # -1 for padding
    runs = np.flatnonzero(np.diff(shards, prepend=-2, append=-2))
    batches = {shard: read(shard) for shard in set(shards[~padding].tolist())}
    for first, last in itertools.pairwise(runs.tolist()):
        shard = int(shards[first])
        if shard >= 0:
            local = rows[first:last] - starts[shard]
            # straight to its place: with mode="clip" NumPy does not make a copy in between
            np.take(batches[shard].features, local, axis=0, out=features[first:last], mode="clip")
            labels[first:last] = batches[shard].labels[local]
    return Examples(features, labels)


def _empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an uninitialised array in a buffer of Arrow's pool, which reuses memory and aligns it to 64 bytes."""
    buffer = pa.allocate_buffer(math.prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(buffer, dtype).reshape(shape)
