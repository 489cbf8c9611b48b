"""A published data set: shards that match its manifest, and any of its rows.

Opening a URI is not here (``open.py``), nor reading on a cluster (``synthray.cluster.loader``).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa

from synthray.data.examples import Examples
from synthray.data.manifest import FEATURES, PRESETS, Manifest
from synthray.data.order import PADDING
from synthray.data.parquet import decode_shard
from synthray.errors import CorruptShard, NotFound
from synthray.storage import Store, locate, open_store

REPAIR = "Run the job that created the data set again to repair it."


@dataclass(frozen=True)
class Dataset:
    """A manifest and its location.

    Each shard is compared with the manifest before use.
    """

    uri: str
    """Absolute URI of the manifest's folder."""
    manifest: Manifest
    analysis: str = "fft"
    """Kind of features that presets are rendered to, a key of ``synthray.synth.features.ANALYSES``."""

    @property
    def store(self) -> Store:
        """The manifest's folder."""
        return open_store(self.uri)

    def with_analysis(self, analysis: str) -> Self:
        """Return the data set with other features, or itself if it stores features and not presets."""
        return replace(self, analysis=analysis) if self.manifest.content == PRESETS else self

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Frames and levels of the features that are read."""
        if self.analysis == "fft":
            return self.manifest.feature_shape
        from synthray.synth.features import feature_shape

        return feature_shape(self.analysis)

    @property
    def feature_bytes(self) -> int:
        """Size of all features that are read."""
        manifest = self.manifest
        return manifest.rows * math.prod(self.feature_shape) * np.dtype(manifest.feature_dtype).itemsize

    @property
    def fresh(self) -> bool:
        """True if each epoch has new sounds."""
        return False

    @cached_property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard, in order."""
        return tuple(shard.rows for shard in self.manifest.shards)

    @cached_property
    def shard_starts(self) -> np.ndarray:
        """First row of each shard, followed by the total number of rows."""
        return np.concatenate([[0], np.cumsum(self.shard_rows)])

    def read_shard(self, number: int, epoch: int = 0) -> Examples:  # noqa: ARG002 - all epochs are the same
        """Return the examples of a shard in an epoch.

        Returns:
            Features in the manifest's dtype, rendered if the shard stores presets; labels float64.

        Raises:
            CorruptShard: the file is missing, or differs from the manifest in size or digest.
            DataError: the presets need another version of the instrument.
            StorageError: the store cannot be reached.
        """
        batch = decode_shard(self.read_bytes(number), self.manifest.table, self._name(number))
        if self.manifest.content == FEATURES:
            return batch
        # Imported late: stored features need neither the instrument nor its compiler.
        from synthray.data.rendering import check_instrument, features_of_labels

        check_instrument(self.manifest, self.uri)
        assert batch.noise_seeds is not None
        features = features_of_labels(batch.labels, batch.noise_seeds, self.manifest.feature_dtype, self.analysis)
        return replace(batch, features=features)

    def read_bytes(self, number: int) -> bytes:
        """Return the file of a shard after comparing it with the manifest.

        Raises:
            CorruptShard: the file is missing, or differs from the manifest in size or digest.
            StorageError: the store cannot be reached.
        """
        shard = self.manifest.shards[number]
        store, path = locate(self.store, shard.path)
        try:
            raw = store.read(path)
        except NotFound:
            raise CorruptShard(f"{self._name(number)} is missing. {REPAIR}") from None
        if len(raw) != shard.bytes or hashlib.sha256(raw).hexdigest() != shard.sha256:
            raise CorruptShard(
                f"{self._name(number)} has changed since it was published: {len(raw)} of {shard.bytes} bytes, SHA-256 "
                f"{hashlib.sha256(raw).hexdigest()[:12]}… instead of {shard.sha256[:12]}…. {REPAIR}"
            )
        return raw

    def _name(self, number: int) -> str:
        store, path = locate(self.store, self.manifest.shards[number].path)
        return f"{store.uri}/{path}"

    def take(self, rows: np.ndarray) -> Examples:
        """Return the examples at any rows, in the given order.

        Only their shards are read. Features and labels are zero at ``PADDING``.

        Returns:
            Features in their stored dtype ``(len(rows), frames, bins)``, labels float32 ``(len(rows), learned)``.
        """
        return gather(rows, self, self.read_shard)


def gather(rows: np.ndarray, dataset: Dataset, read: Callable[[int], Examples]) -> Examples:
    """Return examples from several shards, in the order of ``rows``.

    Features and labels are zero at ``PADDING``.

    Args:
        rows: int64, row numbers of the data set.
        dataset: the data set, for its shapes and shard boundaries.
        read: returns the examples of a shard.

    Raises:
        IndexError: a row is beyond the data set.
    """
    manifest, starts = dataset.manifest, dataset.shard_starts
    if len(rows) and not PADDING <= rows.min() <= rows.max() < starts[-1]:
        raise IndexError(f"rows {rows.min()} to {rows.max()} are not in a data set of {starts[-1]} rows")
    features = _empty((len(rows), *dataset.feature_shape), manifest.feature_dtype)
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
            # With the default mode "raise", np.take buffers `out`, which is one more copy.
            np.take(batches[shard].features, local, axis=0, out=features[first:last], mode="clip")
            labels[first:last] = batches[shard].labels[local]
    return Examples(features, labels)


def _empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an uninitialised array in a buffer of Arrow's pool.

    The pool reuses memory and aligns it to 64 bytes.
    """
    buffer = pa.allocate_buffer(math.prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(buffer, dtype).reshape(shape)
