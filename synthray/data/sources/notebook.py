"""The notebook's layout, read and written.

    keys.pkl                              list of key paths; joined by '_' they are the names
    randomizer_parts.pkl                  list of {'random_type': 'range' | 'choice' | 'constant', …}
    fft/fft_batch_N.npy                   (examples, frames, bins)
    parameters/parameter_batches_N.pkl    list of one array a parameter, or 'constant'

What ``generate`` adds to a part of ``randomizer_parts.pkl`` (minimum, maximum, curve, unit, description) the notebook
ignores; a directory without it is read all the same, its ranges taken as they are.
"""

from __future__ import annotations

import io
import pickle
import re
import reprlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from synthray.data.examples import Examples, columns_from_labels, labels_from_columns
from synthray.data.sources.safe_pickle import load_plain
from synthray.errors import BadBatch, ConfigError, DataError, NotFound, UnsafePickle
from synthray.storage import Store, open_store
from synthray.synth.parameters import Choice, Constant, Parameter, ParameterTable, Range

KEYS = "keys.pkl"
PARTS = "randomizer_parts.pkl"
_PATTERNS = {
    "fft": re.compile(r"fft/fft_batch_(0|[1-9]\d*)\.npy"),
    "parameters": re.compile(r"parameters/parameter_batches_(0|[1-9]\d*)\.pkl"),
}
_NEARLY = re.compile(r"fft/fft_batch_.*\.npy|parameters/parameter_batches_.*\.pkl")


def features_path(number: int) -> str:
    return f"fft/fft_batch_{number}.npy"


def parameters_path(number: int) -> str:
    return f"parameters/parameter_batches_{number}.pkl"


@dataclass(frozen=True)
class NotebookSource:
    """A directory or bucket prefix in the notebook's layout.

    ``batches`` are the numbers that have a features file, a parameters file, or only one of them; ``stamps`` their
    sizes and times, in the same order.
    """

    store: Store
    table: ParameterTable
    batches: tuple[int, ...]
    stamps: dict[int, str]
    provenance: ClassVar[dict[str, Any]] = {"kind": "notebook"}
    repeatable: ClassVar[bool] = False

    @classmethod
    def open(cls, uri: str) -> NotebookSource:
        """Read the two general files and list the batches.

        Raises:
            NotFound: there is no such layout at the URI.
            DataError: the general files cannot be used.
        """
        store = open_store(uri)
        keys, parts = (_general_file(store, path) for path in (KEYS, PARTS))
        table = table_from_parts(keys, parts)
        stamps: dict[int, str] = {}
        for folder, pattern in _PATTERNS.items():
            for entry in store.list(folder):
                match = pattern.fullmatch(entry.path)
                if not match and _NEARLY.fullmatch(entry.path):
                    raise DataError(
                        f"{store.uri}/{entry.path} is not named as the notebook names batches, {features_path(3)} and "
                        f"{parameters_path(3)}: it would be left out; rename or remove it"
                    )
                if match:
                    number = int(match[1])
                    stamps[number] = f"{stamps.get(number, store.uri)} {entry.size} {entry.modified_s}"
        if not stamps:
            raise NotFound(f"{store.uri} holds no {features_path(0)} nor any other batch")
        return cls(store, table, tuple(sorted(stamps)), stamps)

    def stamp(self, number: int) -> str:
        """Sizes and times of the batch's files: another value where they were written again."""
        return self.stamps[number]

    def read(self, number: int) -> Examples:
        """One batch, checked.

        Raises:
            BadBatch: it cannot be used; the reason says why.
            StorageError: the store cannot be reached (a reason to try again, not a bad batch).
        """
        features_at, parameters_at = features_path(number), parameters_path(number)
        try:
            features = decode_features(self.store.read(features_at), features_at)
        except NotFound:
            raise BadBatch(features_at, f"it is missing, {parameters_at} is there") from None
        try:
            columns = load_plain(self.store.read(parameters_at))
        except NotFound:
            raise BadBatch(parameters_at, f"it is missing, {features_at} is there") from None
        except UnsafePickle as error:
            raise BadBatch(parameters_at, str(error)) from None
        if not isinstance(columns, (list, tuple)):
            raise BadBatch(parameters_at, f"it holds a {type(columns).__name__} instead of a list")
        labels = labels_from_columns(list(columns), self.table, len(features), parameters_at)
        batch = Examples(features, labels)
        _check_finite(batch, features_at)
        return batch


def _general_file(store: Store, path: str) -> list[Any]:
    try:
        value = load_plain(store.read(path))
    except NotFound:
        raise NotFound(f"{store.uri}/{path} does not exist: this is not a directory in the notebook's layout") from None
    except UnsafePickle as error:
        raise DataError(f"{store.uri}/{path}: {error}") from None
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{store.uri}/{path} holds a {type(value).__name__} instead of a list")
    return list(value)


def decode_features(raw: bytes | memoryview, source: str) -> np.ndarray:
    """The array of an ``.npy`` file, without a copy, ``(examples, frames, bins)``; raises BadBatch."""
    try:
        begin = 10 + struct.unpack_from("<H", raw, 8)[0] if raw[6] == 1 else 12 + struct.unpack_from("<I", raw, 8)[0]
        shape, fortran, dtype = _header(bytes(raw[:begin]))
    # NumPy parses the header as Python: a damaged one can raise nearly anything.
    except Exception as error:
        raise BadBatch(source, f"it is not a whole .npy file ({error})") from None
    if dtype.kind not in "fiu" or len(shape) != 3 or min(shape) < 1:
        raise BadBatch(source, f"it holds {dtype} of shape {shape}, not numbers of (examples, frames, bins)")
    # The sizes are compared before anything is allocated: a header may reserve_output anything.
    expected, found = int(np.prod(shape, dtype=object)) * dtype.itemsize, len(raw) - begin
    if expected != found:
        raise BadBatch(source, f"it is truncated or too long: {found} bytes of data instead of {expected}")
    return np.frombuffer(raw, dtype, offset=begin).reshape(shape, order="F" if fortran else "C")


@lru_cache(maxsize=16)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and dtype; the batches of a data set have one header, as a rule."""
    file = io.BytesIO(head)
    version, _ = np.lib.format.read_magic(file)
    if version > 2:
        raise ValueError(f"version {version} of the format is not known")
    return (np.lib.format.read_array_header_1_0 if version == 1 else np.lib.format.read_array_header_2_0)(file)


def _check_finite(batch: Examples, source: str) -> None:
    # one value that is not finite makes its sound's loudness so, as large ones may: then they are looked at
    if (batch.loudness_dbfs < np.inf).all():
        return
    finite = np.isfinite(batch.features)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise BadBatch(source, f"the value at {place} (example, frame, bin) is {batch.features[place]}")


def encode_features(features: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, features, allow_pickle=False)
    return file.getvalue()


def encode_parameters(labels: np.ndarray, table: ParameterTable) -> bytes:
    return pickle.dumps(columns_from_labels(labels, table), protocol=4)


def table_from_parts(keys: Sequence[Any], parts: Sequence[Any]) -> ParameterTable:
    """The parameter table that ``keys.pkl`` and ``randomizer_parts.pkl`` describe; raises DataError."""
    if len(keys) != len(parts):
        raise DataError(f"{KEYS} names {len(keys)} parameters, {PARTS} has {len(parts)}")
    return ParameterTable(
        tuple(_parameter(i, key, part) for i, (key, part) in enumerate(zip(keys, parts, strict=True)))
    )


def _parameter(number: int, key_path: Any, part: Any) -> Parameter:
    if not isinstance(key_path, (list, tuple, str)):
        raise DataError(f"{KEYS}, parameter {number}: {reprlib.repr(key_path)} is not a list of keys")
    # As the notebook joins it, whatever the keys are; a bare string is a list of its letters there.
    try:
        name = "_".join(str(key) for key in key_path)
    except ValueError as error:  # a whole number too long to be spelt
        raise DataError(f"{KEYS}, parameter {number}: its keys are no name ({error})") from None
    kind = part.get("random_type") if isinstance(part, dict) else None
    try:
        if kind == "constant":
            return Constant(name, **_known(part, value=_plain_value, unit=str, description=str))
        if kind == "choice":
            if not isinstance(part["random_values"], (list, tuple, np.ndarray)):
                raise TypeError("random_values is no list")
            return Choice(
                name, _distinct([str(value) for value in part["random_values"]]), **_known(part, description=str)
            )
        if kind == "range":
            return Range(name, **_known(part, minimum=float, maximum=float, curve=str, unit=str, description=str))
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        shown = f"{reprlib.repr(part)} cannot be used ({error!r})"
        raise DataError(f"{PARTS}, parameter {number} ({name}): {shown}") from None
    raise DataError(
        f"{PARTS}, parameter {number} ({name}): random_type is {reprlib.repr(kind)}, not range, choice or constant"
    )


def _known(part: dict[str, Any], **kinds: Callable[[Any], Any]) -> dict[str, Any]:
    """What a part says of these, each as a value that goes into JSON."""
    return {key: kind(part[key]) for key, kind in kinds.items() if key in part}


def _plain_value(value: Any) -> Any:
    """A constant's value; what is neither a number nor a text, only as it reads: nothing is learned from it."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else reprlib.repr(value)


def _distinct(values: list[str]) -> tuple[str, ...]:
    """The values themselves, or numbered where two read alike."""
    return tuple(values) if len(set(values)) == len(values) else tuple(f"{i}: {v}" for i, v in enumerate(values))


def keys_and_parts(table: ParameterTable) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The contents of ``keys.pkl`` and ``randomizer_parts.pkl`` for a table."""
    keys, parts = [], []
    for parameter in table.parameters:
        keys.append(_key_path(parameter.name))
        row: dict[str, Any] = {"random_type": parameter.kind, "description": parameter.description}
        if isinstance(parameter, Choice):
            row["random_values"] = list(parameter.values)
        elif isinstance(parameter, Range):
            row |= {"random_values": [0.0, 1.0], "minimum": parameter.minimum, "maximum": parameter.maximum}
            row |= {"curve": parameter.curve, "unit": parameter.unit}
        else:
            row |= {"value": parameter.value, "unit": parameter.unit}
        parts.append(row)
    return keys, parts


def _key_path(name: str) -> list[str]:
    """Module, part and setting: ``amplitude_lfo_waveform`` as ``['amplitude', 'lfo', 'waveform']``."""
    return name.split("_", 2)
