"""Reading and encoding the NumPy/pickle batch layout of the project's original notebook.

The batch layout is a directory or a bucket prefix with these files:

    keys.pkl                              list of key paths; joined by '_' they are the parameter names
    randomizer_parts.pkl                  list of {'random_type': 'range' | 'choice' | 'constant', …}
    fft/fft_batch_N.npy                   features (examples, frames, bins)
    parameters/parameter_batches_N.pkl    list of one array per parameter, or 'constant'

``synthray generate`` adds minimum, maximum, curve, unit and description to the parts. They are optional: a range
without them is from 0 to 1. The numbers of a range are positions in [0, 1]. If its ``random_values`` are another pair
than 0 and 1, they are values between these two instead.

The first two files are decoded in ``notebook_table.py``. A large features file is read some examples at a time, by
``features_file.py``. Writing the files in order, and resuming, is in ``build/notebook_writer.py``.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from synthray.data.examples import Examples, columns_from_labels, labels_from_columns
from synthray.data.sources.features_file import Layout, decode_features, read_examples, read_layout
from synthray.data.sources.notebook_table import KEYS, PARTS, interval, table_from_parts
from synthray.data.sources.safe_pickle import load_plain
from synthray.errors import BadBatch, DataError, NotFound, UnsafePickle
from synthray.storage import Store, open_store
from synthray.synth.parameters import ParameterTable, Range

FOLDERS = ("fft", "parameters")
LARGE_BYTES = 24_000_000
"""Size above which a features file may be read some examples at a time. It is twice the size of a shard."""
_BATCH = re.compile(r"fft/fft_batch_(0|[1-9][0-9]*)\.npy|parameters/parameter_batches_(0|[1-9][0-9]*)\.pkl")
_MISNAMED = re.compile(r"fft/fft_batch_[^/]*\.npy|parameters/parameter_batches_[^/]*\.pkl")

# Labels of the last large batch, or the reason why it has none. A parameters file cannot be read in parts. Without this
# cache, hundreds of tasks would each decode all of it. Without the lock, threads that start together would do so, too;
# ``functools.lru_cache`` has no such lock.
_last_labels: dict[object, npt.NDArray[np.float64] | BadBatch] = {}
_last_labels_lock = threading.Lock()


def features_path(number: int) -> str:
    """Return the path of a batch's features below the source's root."""
    return f"fft/fft_batch_{number}.npy"


def parameters_path(number: int) -> str:
    """Return the path of a batch's parameters below the source's root."""
    return f"parameters/parameter_batches_{number}.pkl"


def batch_number(path: str) -> int | None:
    """Return the batch number in a path below the source's root; None if the file belongs to no batch."""
    match = _BATCH.fullmatch(path)
    return int(match[1] or match[2]) if match else None


@dataclass(frozen=True)
class NotebookSource:
    """A directory or bucket prefix in the batch layout."""

    store: Store
    table: ParameterTable
    batches: tuple[int, ...]
    """Numbers that have a features file, a parameters file, or both."""
    stamps: dict[int, str]
    """For each number, the sizes and times of its files."""
    large: dict[int, int]
    """Size in bytes of each features file above ``LARGE_BYTES``."""
    in_units: tuple[str, ...] = ()
    """Names of the ranges whose numbers are values in their unit, not positions in [0, 1]."""
    provenance: ClassVar[dict[str, Any]] = {"kind": "notebook"}
    repeatable: ClassVar[bool] = False

    @classmethod
    def open(cls, uri: str) -> NotebookSource:
        """Read the parameter table and list the batches.

        Raises:
            NotFound: the URI does not have the batch layout.
            DataError: ``keys.pkl`` or ``randomizer_parts.pkl`` is invalid, or a batch is misnamed.
        """
        store = open_store(uri)
        parts = _read_list(store, PARTS)
        table = table_from_parts(_read_list(store, KEYS), parts)
        stamps: dict[int, str] = {}
        large: dict[int, int] = {}
        for entry in (entry for folder in FOLDERS for entry in store.list(folder)):
            number = batch_number(entry.path)
            if number is not None:
                stamps[number] = f"{stamps.get(number, store.uri)} {entry.size} {entry.modified_s}"
                if entry.path == features_path(number) and entry.size > LARGE_BYTES:
                    large[number] = entry.size
            elif _MISNAMED.fullmatch(entry.path):
                raise DataError(
                    f"{store.uri}/{entry.path}: the name does not match {features_path(3)} or "
                    f"{parameters_path(3)}, so the batch would be skipped. Rename or remove the file."
                )
        if not stamps:
            raise NotFound(f"{store.uri}: no batches here, for example no {features_path(0)}.")
        pairs = zip(table.parameters, parts, strict=True)
        in_units = tuple(p.name for p, part in pairs if isinstance(p, Range) and interval(part))
        return cls(store, table, tuple(sorted(stamps)), stamps, large, in_units)

    def name(self, number: int) -> str:
        """Return the path of a batch's features below the source's root."""
        return features_path(number)

    def stamp(self, number: int) -> str:
        """Return a text that changes when a file of the batch is written again."""
        return " ".join([self.stamps[number], *self.in_units])

    def large_shape(self, number: int) -> tuple[int, int, int] | None:
        """Return examples, frames and bins of a batch that can be read in parts; None for any other batch.

        Only the header is read, and only of a large file. A file in Fortran order cannot be read in parts, because each
        example is spread over it.

        Raises:
            BadBatch, StorageError: as ``read``.
        """
        with _missing_is_bad(features_path(number), parameters_path(number)):
            layout = self._layout(number)
        return layout.shape if layout and not layout.is_fortran else None

    def read(self, number: int, rows: range | None = None) -> Examples:
        """Return one batch or some of its examples, validated.

        Args:
            number: the batch.
            rows: consecutive examples of a batch that has a ``large_shape``; None for all.

        Raises:
            BadBatch: the batch is invalid; the error holds the reason.
            StorageError: the store cannot be reached. The batch may be valid.
        """
        features_file = features_path(number)
        with _missing_is_bad(features_file, parameters_path(number)):
            layout = self._layout(number)  # finds a corrupt large file without reading it
            if layout and rows:
                labels = self._large_labels(number, layout.shape[0])[rows.start : rows.stop]
                features = read_examples(self.store, features_file, layout, rows)
            else:
                features = decode_features(self.store.read(features_file), features_file)
                labels = self._read_labels(number, len(features))
        batch = Examples(features, labels)
        _check_finite(batch, features_file, rows.start if rows else 0)
        return batch

    def _layout(self, number: int) -> Layout | None:
        """Return the layout of a large features file, or None for any other; raise BadBatch, StorageError."""
        if number not in self.large:
            return None
        return read_layout(self.store, features_path(number), self.large[number])

    def _large_labels(self, number: int, examples: int) -> npt.NDArray[np.float64]:
        """Return the labels of a large batch, read once for all its parts."""
        key = (number, self.stamp(number), self.table)
        with _last_labels_lock:
            if key not in _last_labels:
                _last_labels.clear()  # frees the old labels before the new ones are decoded
                try:
                    _last_labels[key] = self._read_labels(number, examples)
                except BadBatch as error:
                    _last_labels[key] = error
            labels = _last_labels[key]
        if isinstance(labels, BadBatch):
            raise BadBatch(labels.source, labels.reason)
        return labels

    def _read_labels(self, number: int, examples: int) -> npt.NDArray[np.float64]:
        """Return the labels of a batch: float64 ``(examples, learned)``; raise BadBatch or StorageError."""
        parameters_file = parameters_path(number)
        try:
            with _missing_is_bad(parameters_file, features_path(number)):
                columns = load_plain(self.store.read(parameters_file))
        except UnsafePickle as error:
            raise BadBatch(parameters_file, str(error)) from None
        if not isinstance(columns, (list, tuple)):
            raise BadBatch(parameters_file, f"it holds a {type(columns).__name__} instead of a list")
        labels = labels_from_columns(list(columns), self.table, examples, parameters_file)
        self._convert_units(labels, parameters_file)
        return labels

    def _convert_units(self, labels: npt.NDArray[np.float64], source: str) -> None:
        """Convert values in units to positions, in place; raise BadBatch for a value <= 0 on a log curve."""
        for parameter in self.table.ranges:
            if parameter.name not in self.in_units:
                continue
            values = labels[:, self.table.label_index[parameter.name]]
            if parameter.curve == "log" and values.min() <= 0:
                example, smallest = int(values.argmin()), values.min()
                raise BadBatch(source, f"{parameter.name}, example {example}: {smallest} is not above 0 (log curve)")
            values[:] = parameter.to_unit_interval(values)


@contextlib.contextmanager
def _missing_is_bad(path: str, other_path: str) -> Iterator[None]:
    """Raise BadBatch if one file of a batch does not exist."""
    try:
        yield
    except NotFound:
        raise BadBatch(path, f"it is missing, but {other_path} exists") from None


def _read_list(store: Store, path: str) -> list[Any]:
    try:
        value = load_plain(store.read(path))
    except NotFound:
        raise NotFound(f"{store.uri}/{path}: no such file, so this is not a directory in the batch layout.") from None
    except UnsafePickle as error:
        raise DataError(f"{store.uri}/{path}: {error}") from None
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{store.uri}/{path}: it holds a {type(value).__name__} instead of a list")
    return list(value)


def _check_finite(batch: Examples, source: str, first: int) -> None:
    """Raise BadBatch for a feature that is not finite; ``first`` is the number of the first example."""
    # The cached loudness is infinite or NaN if a feature is. Checking it is faster than checking all features.
    if (batch.loudness_dbfs < np.inf).all():
        return
    finite = np.isfinite(batch.features)
    if not finite.all():
        example, frame, value = (int(i) for i in np.argwhere(~finite)[0])
        position, found = (first + example, frame, value), batch.features[example, frame, value]
        raise BadBatch(source, f"the value at {position} (example, frame, bin) is {found}")


def encode_parameters(labels: npt.NDArray[Any], table: ParameterTable) -> bytes:
    """Return labels ``(examples, learned)`` as a ``parameter_batches_N.pkl`` file."""
    return pickle.dumps(columns_from_labels(labels, table), protocol=4)
