"""NumPy arrays of a pickle: what a file may call to make them, and the checks before memory is allocated.

The opcodes that call these functions are in ``pickle_machine.py``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from synthray.errors import UnsafePickle

_MAX_AXES, _MAX_AXIS_LENGTH = 8, 1 << 40
_DTYPE_CODE = re.compile(r"[biufSU][0-9]{1,5}")  # no names and no fields, such as "float" or "f4,f4"
_ORDERS = ("C", "F", "K")


@dataclass(slots=True)
class Dtype:
    """A NumPy dtype under construction."""

    code: Any
    byte_order: Any = "="

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, self.byte_order, subarray, names, *_ = state
        if subarray is not None or names is not None:
            raise UnsafePickle("an array's dtype has fields or its own axes")

    def build(self) -> np.dtype[Any]:
        code, order = self.code, self.byte_order
        if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
            raise UnsafePickle("an array's dtype is neither numbers nor text")
        if type(order) is not str or order not in ("<", ">", "|", "="):
            raise UnsafePickle(f"dtype {code!r} has an unknown byte order")
        return _dtype(code, order)


@lru_cache(maxsize=64)
def _dtype(code: str, byte_order: Literal["<", ">", "|", "="]) -> np.dtype[Any]:
    return np.dtype(code).newbyteorder(byte_order)


@dataclass(slots=True)
class Array:
    """A NumPy array or scalar under construction."""

    raw: Any = None
    dtype: Any = None
    shape: Any = None
    order: Any = "C"
    axes: Any = None

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, is_fortran, self.raw = state
        self.order = "F" if is_fortran else "C"

    def build(self) -> npt.NDArray[Any]:
        if type(self.dtype) is not Dtype or type(self.raw) not in (bytes, bytearray):
            raise UnsafePickle("an array holds objects instead of numbers")
        shape, axes = self.shape, self.axes
        if not _is_whole_numbers(shape) or not (axes is None or _is_whole_numbers(axes)):
            raise UnsafePickle("an array's shape is not a few whole numbers")
        dtype = self.dtype.build()
        if math.prod(shape) * dtype.itemsize != len(self.raw):  # Python ints do not overflow
            raise UnsafePickle(f"an array of shape {shape} and dtype {dtype} has {len(self.raw)} bytes")
        if self.order not in _ORDERS or (self.order == "K") != (axes is not None):
            raise UnsafePickle(f"an array has the order {self.order!r} with axes {axes}, which NumPy does not write")
        array = np.frombuffer(self.raw, dtype).reshape(shape, order="F" if self.order == "F" else "C")
        return array if axes is None else array.transpose(axes)


def _is_whole_numbers(value: Any) -> bool:
    if type(value) is not tuple or len(value) > _MAX_AXES:
        return False
    return all(type(n) is int and 0 <= n <= _MAX_AXIS_LENGTH for n in value)


# Replacements of the functions that a file may name. Exact signatures bound the cost of a call.
FUNCTIONS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): lambda code, _align=False, _copy=False: Dtype(code),
    ("numpy", "ndarray"): object(),  # an argument of _reconstruct, never called
    ("builtins", "bytes"): lambda: b"",
    ("__builtin__", "bytes"): lambda: b"",
}
for _package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    FUNCTIONS[f"{_package}.multiarray", "_reconstruct"] = lambda _subtype, _shape, _code: Array()
    FUNCTIONS[f"{_package}.multiarray", "scalar"] = lambda dtype, raw: Array(raw, dtype, ())
    FUNCTIONS[f"{_package}.numeric", "_frombuffer"] = Array
