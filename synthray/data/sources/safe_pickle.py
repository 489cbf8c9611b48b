"""Safe reading of pickles that hold plain data and NumPy arrays.

Threat model: anyone who can write to the bucket may have written the pickle.
It must not run code. Names are never imported and ``pickle`` is not used: ``pickle_machine.py`` interprets the opcodes.
It must not exhaust memory. Opcodes and items are limited, and sizes are compared before anything is allocated.
It must not exhaust the CPU. Dictionary keys are short and cannot share a hash, and nesting is limited.
A file that is itself too large to read is not covered, and neither is writing pickles.
"""

from __future__ import annotations

from typing import Any

from synthray.data.sources.pickle_arrays import Array
from synthray.data.sources.pickle_machine import Interpreter, printable
from synthray.errors import UnsafePickle

_MAX_ITEMS = 1_000_000
_MAX_TEXT_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 32


class _Finisher:
    """The last pass over a result: builds its arrays and limits its size.

    An object counts once for each reference, because writing out the result repeats it.
    """

    def __init__(self) -> None:
        self.items = _MAX_ITEMS
        self.text_bytes = _MAX_TEXT_BYTES

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return ``value`` with its arrays built."""
        if depth > _MAX_DEPTH:
            raise UnsafePickle(f"it nests more than {_MAX_DEPTH} levels deep")
        self.items -= 1
        if self.items < 0:
            raise UnsafePickle(f"it holds more than {_MAX_ITEMS:,} items")
        kind = type(value)
        if value is None or kind in (bool, int, float):
            return value
        if kind in (str, bytes, bytearray):
            return self.text(value, len(value))
        if kind is Array:
            array = value.build()
            return self.text(array[()], array.nbytes) if array.shape == () else array
        if kind in (list, tuple):
            return kind([self.plain(item, depth + 1) for item in value])
        if kind is dict:
            return {self.plain(k, depth + 1): self.plain(v, depth + 1) for k, v in value.items()}
        raise UnsafePickle("it holds something that is not plain data")

    def text(self, value: Any, size: int) -> Any:
        self.text_bytes -= size
        if self.text_bytes < 0:
            raise UnsafePickle(f"its texts and scalars take more than {_MAX_TEXT_BYTES:,} bytes")
        return value


def load_plain(data: bytes) -> Any:
    """Return the plain data in a pickle of protocol 0 to 5, written with NumPy 1 or 2.

    Args:
        data: the whole file.

    Returns:
        Lists, tuples, dicts, str, bytes, int, float, bool, None, NumPy scalars and arrays of numbers or text.

    Raises:
        UnsafePickle: the pickle asks for anything else, is truncated, or is no pickle.
    """
    try:
        return _Finisher().plain(Interpreter(data).run())
    except UnsafePickle:
        raise
    except Exception as error:  # a corrupt pickle can raise nearly anything
        reason = printable(f"{type(error).__name__}: {error}")
        raise UnsafePickle(f"it is not a whole pickle ({reason})") from None
