"""Reading the notebook's pickles without running what they say.

``pickle.load`` calls whatever a file names. Here nothing is ever called: the opcodes are checked before the
unpickler sees them, and the few names that NumPy's arrays need resolve to stand-ins of our own that only collect
bytes. Arrays are built afterwards, from bytes whose length has been compared with the shape. What comes out is made
of lists, tuples, dictionaries, strings, bytes, numbers, booleans, None and plain numeric arrays, and nothing else.

Protocols 0 to 5, in the spellings of NumPy 1 and 2.
"""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synthray.data.sources.opcodes import check_opcodes
from synthray.errors import UnsafePickle

_MAX_DEPTH = 32
_MAX_ITEMS = 1_000_000
# Texts and scalars count again wherever they are referred to: whoever uses them may spell them out each time.
_MAX_TEXT_BYTES = 16 * 1024 * 1024
_LONGEST_DTYPE, _LONGEST_NAME = 6, 100
_MAX_AXES, _LARGEST_SIDE = 8, 1 << 40
# Up to here the hash of an int is the int itself: many of one hash would make a dictionary slow.
_LARGEST_KEY = (1 << 61) - 2
_PLAIN_KINDS = "biufSU"


class _Dtype:
    """Stands in for ``numpy.dtype`` while unpickling: a kind, a size and a byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str):
            raise UnsafePickle(f"a dtype is named by {type(code).__name__}, not by a string")
        if len(code) > _LONGEST_DTYPE:
            raise UnsafePickle(f"a dtype is named by {len(code)} letters")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[2] is not None or state[3] is not None:
            raise UnsafePickle(f"dtype {self.code!r} is not a plain one")
        if state[1] not in ("<", ">", "|", "="):
            raise UnsafePickle(f"dtype {self.code!r} has an unknown byte order")
        self.order = state[1]

    def build(self) -> np.dtype:
        if self.code[:1] not in _PLAIN_KINDS or not self.code[1:].isdigit():
            raise UnsafePickle(f"dtype {self.code!r} is not one of plain numbers or text")
        try:
            return np.dtype(self.code).newbyteorder(self.order)
        except (TypeError, ValueError):
            raise UnsafePickle(f"dtype {self.code!r} is not one of plain numbers or text") from None


class _Array:
    """Stands in for an ``ndarray`` while unpickling: shape, dtype and bytes, checked against each other."""

    shape: Any = None
    dtype: Any = None
    raw: Any = None
    order = "C"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickle("an array's state is not the five fields that NumPy writes")
        _, self.shape, self.dtype, fortran, self.raw = state
        self.order = "F" if fortran else "C"

    def build(self) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype) or not isinstance(self.raw, (bytes, bytearray)):
            raise UnsafePickle("an array holds objects instead of numbers")
        # nothing that a file says is spelt out before it is known to be short
        if (
            not isinstance(self.shape, tuple)
            or len(self.shape) > _MAX_AXES
            or not all(type(n) is int and 0 <= n <= _LARGEST_SIDE for n in self.shape)
        ):
            raise UnsafePickle("an array's shape is not a few whole numbers")
        dtype = self.dtype.build()
        # Python's integers do not overflow, and nothing is allocated until the sizes agree.
        if math.prod(self.shape) * dtype.itemsize != len(self.raw):
            raise UnsafePickle(f"an array of shape {self.shape} and dtype {dtype} comes with {len(self.raw)} bytes")
        return np.frombuffer(self.raw, dtype).reshape(self.shape, order=self.order)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(raw: Any = None, dtype: Any = None, shape: Any = None, order: Any = "C", *_: Any) -> _Array:
    array = _Array()
    array.raw, array.dtype, array.shape, array.order = raw, dtype, shape, "F" if order == "F" else "C"
    return array


def _scalar(dtype: Any = None, raw: Any = None, *_: Any) -> _Array:
    return _frombuffer(raw, dtype, ())


def _empty_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise UnsafePickle("bytes() is called with arguments")
    return b""


class _Call:
    """A function that a pickle may call but not change: BUILD would set attributes of a plain one."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickle("it sets the state of a function")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): None,  # only ever an argument of _reconstruct
    ("builtins", "bytes"): _Call(_empty_bytes),
    ("__builtin__", "bytes"): _Call(_empty_bytes),
}
for _package in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_package}.multiarray", "_reconstruct"] = _Call(_reconstruct)
    _STAND_INS[f"{_package}.multiarray", "scalar"] = _Call(_scalar)
    _STAND_INS[f"{_package}.numeric", "_frombuffer"] = _Call(_frombuffer)


class _Names:
    """What both unpicklers find under the names in a file."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._letters = len(data)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _Call(self._encode)
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise UnsafePickle(f"it wants to call {_shown(f'{module}.{name}')}") from None

    def _encode(self, text: Any = "", encoding: Any = "latin1", *_: Any) -> bytes:
        """How protocols 0 to 2 spell bytes; of one text again and again, they would be more than the file holds."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise UnsafePickle("text is to be encoded in another way than NumPy's")
        self._letters -= len(text)
        if self._letters < 0:
            raise UnsafePickle("it spells more bytes than it holds")
        try:
            return text.encode("latin1")
        except UnicodeEncodeError:
            raise UnsafePickle("bytes are spelt with letters outside of latin1") from None


class _PlainUnpickler(_Names, pickle.Unpickler):
    """Python's fast one, for what holds no dictionary: it hashes whatever is to be a key."""


class _DictUnpickler(_Names, pickle._Unpickler):
    """Python's slow one, which looks at keys before: tuples in each other crash a hash, or keep it for years."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict


def _shown(name: str) -> str:
    """A name out of a file, as it may be shown at a terminal."""
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]!r}…"


def _check_keys(keys: list[Any]) -> None:
    for key in keys:
        small = type(key) is int and abs(key) <= _LARGEST_KEY
        if not small and type(key) not in (str, bytes, bool, type(None)):
            raise UnsafePickle("a key of a dictionary is neither a text nor a small whole number")


@dataclass
class _Budget:
    """What a file may still hold."""

    items: int = _MAX_ITEMS
    text_bytes: int = _MAX_TEXT_BYTES

    def take(self, text_bytes: int = 0) -> None:
        self.items -= 1
        self.text_bytes -= text_bytes
        if self.items < 0:
            raise UnsafePickle(f"it holds more than {_MAX_ITEMS:,} items")
        if self.text_bytes < 0:
            raise UnsafePickle(f"its texts and scalars are more than {_MAX_TEXT_BYTES:,} bytes")


def _plain(value: Any, depth: int, budget: _Budget) -> Any:
    """Replace the stand-ins by arrays, and see that nothing else came through."""
    if depth > _MAX_DEPTH:
        raise UnsafePickle("it nests too deeply")
    kind = type(value)
    if kind in (str, bytes, bytearray):
        budget.take(len(value))
        return value
    if kind is _Array and value.shape == ():
        array = value.build()
        budget.take(array.nbytes)
        return array[()]  # a copy
    budget.take()
    if value is None or kind in (bool, int, float):
        return value
    if kind is _Array:
        return value.build()
    if kind in (list, tuple):
        return kind(_plain(item, depth + 1, budget) for item in value)
    if kind is dict:
        return {_plain(k, depth + 1, budget): _plain(v, depth + 1, budget) for k, v in value.items()}
    raise UnsafePickle(f"it holds a {kind.__name__.lstrip('_')}")


def load_plain(data: bytes) -> Any:
    """Plain data out of a pickle.

    Args:
        data: the whole file.

    Returns:
        Lists, tuples, dicts, str, bytes, int, float, bool, None, NumPy scalars and arrays of plain numbers.

    Raises:
        UnsafePickle: the pickle asks for anything else, is truncated, or is no pickle.
    """
    try:
        unpickler = _DictUnpickler if check_opcodes(data) else _PlainUnpickler
        return _plain(unpickler(data).load(), 0, _Budget())
    except UnsafePickle:
        raise
    # A damaged pickle can raise nearly anything; whatever it is, the file is not plain data.
    except Exception as error:
        raise UnsafePickle(f"it is not a whole pickle ({type(error).__name__}: {error})") from None
