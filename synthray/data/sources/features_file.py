"""The ``.npy`` file with the features of a batch, read as a whole or some examples at a time.

The batch layout that it belongs to is in ``notebook.py``.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.errors import BadBatch
from synthray.storage import Store

# NumPy refuses a header of more than 10,000 bytes. Up to 12 bytes with version and length come before it.
_MAX_HEADER_BYTES = 12 + 10_000


@dataclass(frozen=True)
class Layout:
    """The positions of the features in an ``.npy`` file, from its header."""

    begin: int
    """Size of the header, in bytes."""
    shape: tuple[int, int, int]
    """Examples, frames, bins."""
    is_fortran: bool
    """True if the values of an example are not next to each other in the file."""
    dtype: np.dtype[Any]
    """The file's dtype, with its byte order."""


def read_layout(store: Store, path: str, size: int) -> Layout:
    """Return the layout of a features file; read only its header.

    Args:
        store: the source's root.
        path: the file's path below it.
        size: the file's size in bytes.

    Raises:
        BadBatch: the file is truncated, is not an ``.npy`` file, or holds another kind of array.
        NotFound, StorageError: the file cannot be read.
    """
    return _layout(store.read_range(path, 0, _MAX_HEADER_BYTES), size, path)


def read_examples(store: Store, path: str, layout: Layout, rows: range) -> npt.NDArray[Any]:
    """Return some consecutive examples of a features file that is not in Fortran order.

    Returns:
        numbers ``(len(rows), frames, bins)``, in the file's dtype.

    Raises:
        BadBatch: the file is shorter than its layout.
        NotFound, StorageError: the file cannot be read.
    """
    example_bytes = math.prod(layout.shape[1:]) * layout.dtype.itemsize
    expected = len(rows) * example_bytes
    raw = store.read_range(path, layout.begin + rows.start * example_bytes, expected)
    if len(raw) != expected:
        found = f"{len(raw)} bytes instead of {expected} from example {rows.start} on"
        raise BadBatch(path, f"it changed while it was read: {found}")
    return np.frombuffer(raw, layout.dtype).reshape(len(rows), *layout.shape[1:])


def decode_features(raw: bytes | memoryview, source: str) -> npt.NDArray[Any]:
    """Return the array of an ``.npy`` file without a copy.

    Args:
        raw: the whole file.
        source: its name, for the error.

    Returns:
        numbers ``(examples, frames, bins)``, in the file's dtype.

    Raises:
        BadBatch: the file is truncated, is not an ``.npy`` file, or holds another kind of array.
    """
    layout = _layout(raw, len(raw), source)
    flat: npt.NDArray[Any] = np.frombuffer(raw, layout.dtype, offset=layout.begin)
    return flat.reshape(layout.shape, order="F" if layout.is_fortran else "C")


def _layout(beginning: bytes | memoryview, size: int, source: str) -> Layout:
    """Return the layout of a file of ``size`` bytes. ``beginning`` holds at least its header."""
    raw = beginning
    try:
        begin = 10 + struct.unpack_from("<H", raw, 8)[0] if raw[6] == 1 else 12 + struct.unpack_from("<I", raw, 8)[0]
        shape, is_fortran, dtype = _parse_header(bytes(raw[:begin]))
    except Exception as error:  # NumPy parses the header as Python, so a corrupt one can raise nearly anything
        raise BadBatch(source, f"it is not a whole .npy file ({error})") from None
    if dtype.kind not in "fiu" or len(shape) != 3 or min(shape) < 1:
        raise BadBatch(source, f"it holds {dtype} of shape {shape}, not numbers of (examples, frames, bins)")
    # A header may claim any size, so it is compared with the file before anything is allocated.
    expected, found = math.prod(shape) * dtype.itemsize, size - begin
    if expected != found:
        raise BadBatch(source, f"it is truncated or too long: {found} bytes of data instead of {expected}")
    return Layout(begin, shape, is_fortran, dtype)


@lru_cache(maxsize=16)  # the batches of a data set usually have the same header
def _parse_header(header: bytes) -> tuple[Any, bool, np.dtype[Any]]:
    """Return shape, whether the array is in Fortran order, and dtype."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is unknown")
    # Version 3 only adds field names that are not Latin-1. Arrays with fields are refused anyway.
    return (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)


def encode_features(features: npt.NDArray[Any]) -> bytes:
    """Return features ``(examples, frames, bins)`` as an ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, features, allow_pickle=False)
    return file.getvalue()
