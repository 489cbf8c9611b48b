"""Safe reading of pickles that hold plain data and NumPy arrays.

Threat model: anyone who can write to the bucket may have written the pickle.
It must not run code. Names are never imported and ``pickle`` is not used: the opcodes are interpreted here.
It must not exhaust memory. Opcodes and items are limited, and sizes are compared before anything is allocated.
It must not exhaust the CPU. Dictionary keys are short and cannot share a hash, and nesting is limited.
A file that is itself too large to read is not covered, and neither is writing pickles.
"""

from __future__ import annotations

import codecs
import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from synthray.errors import UnsafePickle

_MAX_ITEMS = 1_000_000
_MAX_OPCODES = 2_500_000  # protocol 0 needs two for an item; each may allocate, even if its result is unused
_MAX_TEXT_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 32
_MAX_KEY_LENGTH = 10_000
_MAX_INT_KEY = (1 << 61) - 2  # CPython hashes larger ints modulo 2**61 - 1, so that they can share a hash
_MAX_AXES, _MAX_AXIS_LENGTH = 8, 1 << 40
_MAX_SHOWN_LENGTH = 100
_DTYPE_CODE = re.compile(r"[biufSU][0-9]{1,5}")  # no names and no fields, such as "float" or "f4,f4"
_ORDERS = ("C", "F", "K")
_HIGHEST_PROTOCOL = 5


@dataclass(slots=True)
class _Dtype:
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
class _Array:
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
        if type(self.dtype) is not _Dtype or type(self.raw) not in (bytes, bytearray):
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
_FUNCTIONS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): lambda code, _align=False, _copy=False: _Dtype(code),
    ("numpy", "ndarray"): object(),  # an argument of _reconstruct, never called
    ("builtins", "bytes"): lambda: b"",
    ("__builtin__", "bytes"): lambda: b"",
}
for _package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    _FUNCTIONS[f"{_package}.multiarray", "_reconstruct"] = lambda _subtype, _shape, _code: _Array()
    _FUNCTIONS[f"{_package}.multiarray", "scalar"] = lambda dtype, raw: _Array(raw, dtype, ())
    _FUNCTIONS[f"{_package}.numeric", "_frombuffer"] = _Array


class _Interpreter:
    """A stack machine that interprets the opcodes of a pickle, restricted to plain data."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.rest_of_file: io.BytesIO | None = None  # while ``file`` is a frame
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []  # below each mark
        self.memo: dict[int, Any] = {}
        self.encodable = len(data)  # letters that may still be encoded; plain data encodes each text once

    def run(self) -> Any:
        for _ in range(_MAX_OPCODES):
            code = self.file.read(1)
            if code in _OPCODES:
                read_argument, handle = _OPCODES[code]
                handle(self, read_argument(self.file) if read_argument else None)
            elif code == b".":
                if self.rest_of_file and self.file.read(1):
                    raise UnsafePickle("a frame ends after the end of the pickle")
                return self.stack.pop()
            elif not code and self.rest_of_file:
                self.file, self.rest_of_file = self.rest_of_file, None
            elif not code:
                raise UnsafePickle("it is not a whole pickle (it ends without STOP)")
            else:
                raise UnsafePickle(f"it uses the opcode {_opcode_name(code)}, which plain data does not need")
        raise UnsafePickle(f"it has more than {_MAX_OPCODES:,} opcodes")

    def proto(self, version: int) -> None:
        if version > _HIGHEST_PROTOCOL:
            raise UnsafePickle(f"its protocol is {version}, newer than {_HIGHEST_PROTOCOL}")

    def frame(self, size: int) -> None:
        if self.rest_of_file:
            raise UnsafePickle("a frame begins within another")
        frame = self.file.read(size)
        if len(frame) < size:
            raise UnsafePickle("it is not a whole pickle (a frame ends after the end of the file)")
        self.file, self.rest_of_file = io.BytesIO(frame), self.file

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: None) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def take(self, count: int) -> list[Any]:
        """Remove and return the topmost ``count`` items."""
        start = len(self.stack) - count
        if start < 0:
            raise UnsafePickle("it takes more items from the stack than there are")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def take_marked(self) -> list[Any]:
        """Remove and return the items above the last mark."""
        items, self.stack = self.stack, self.outer_stacks.pop()
        return items

    def extend_list(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise UnsafePickle("it appends to something that is not a list")
        self.stack[-1].extend(items)

    def update_dict(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise UnsafePickle("it sets a key of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            is_text = type(key) in (str, bytes) and len(key) <= _MAX_KEY_LENGTH
            is_number = type(key) is int and abs(key) <= _MAX_INT_KEY
            if not (is_text or is_number or key is None or type(key) is bool):
                raise UnsafePickle("a key of a dictionary is neither a short text nor a small whole number")
            target[key] = value

    def new_dict(self, items: list[Any]) -> None:
        self.push({})
        self.update_dict(items)

    def memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put(self, index: int) -> None:
        if not 0 <= index < _MAX_OPCODES:
            raise UnsafePickle(f"it uses {index} as a memo number")
        self.memo[index] = self.stack[-1]

    def find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:  # hashing a tuple of nested tuples may never end
            raise UnsafePickle("a name in it is not a text")
        function = self.encode if (module, name) == ("_codecs", "encode") else _FUNCTIONS.get((module, name))
        if function is None:
            raise UnsafePickle(f"it calls {_printable(f'{module}.{name}')}, which plain data does not need")
        self.push(function)

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Return bytes as protocols 0 to 2 spell them."""
        if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
            raise UnsafePickle("its bytes are not encoded as Latin-1 text")
        self.encodable -= len(text)
        if self.encodable < 0:
            raise UnsafePickle("it encodes the same text repeatedly")
        return text.encode("latin1")

    def reduce(self, _: None) -> None:
        function, arguments = self.take(2)
        if not callable(function) or type(arguments) is not tuple:
            raise UnsafePickle("it calls something that is not a function")
        self.push(function(*arguments))

    def build(self, _: None) -> None:
        (state,) = self.take(1)
        if type(self.stack[-1]) not in (_Array, _Dtype) or type(state) is not tuple:
            raise UnsafePickle("it sets the state of something that is not an array")
        self.stack[-1].set_state(state)


def _read_string(file: Any) -> str:
    """Return a byte string of Python 2 as text; ``pickletools`` reads ASCII only."""
    raw: Any = pickletools.read_stringnl(file, decode=False)
    return codecs.escape_decode(raw)[0].decode("latin1")


_Handler = Callable[[_Interpreter, Any], None]
_CONSTANTS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)
_HANDLERS: dict[str, _Handler] = {
    "PROTO": _Interpreter.proto,
    "FRAME": _Interpreter.frame,
    **dict.fromkeys(_CONSTANTS.split(), _Interpreter.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": _Interpreter.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push((machine.stack.pop(),)),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_marked())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.take_marked()),
    "APPEND": lambda machine, _: machine.extend_list(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend_list(machine.take_marked()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.new_dict(machine.take_marked()),
    "SETITEM": lambda machine, _: machine.update_dict(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update_dict(machine.take_marked()),
    "MEMOIZE": _Interpreter.memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Interpreter.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.take(2)),
    "REDUCE": _Interpreter.reduce,
    "BUILD": _Interpreter.build,
}
_OPCODES: dict[bytes, tuple[Callable[[Any], Any] | None, _Handler]] = {
    opcode.code.encode("latin1"): (opcode.arg.reader if opcode.arg else None, _HANDLERS[opcode.name])
    for opcode in pickletools.opcodes
    if opcode.name in _HANDLERS
}
_OPCODES[b"S"] = (_read_string, _Interpreter.push)


def _opcode_name(code: bytes) -> str:
    return next((opcode.name for opcode in pickletools.opcodes if opcode.code.encode("latin1") == code), repr(code))


def _printable(text: str) -> str:
    """Return a text of a file without control characters, shortened."""
    return text if text.isprintable() and len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]!r}…"


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
        if kind is _Array:
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
        return _Finisher().plain(_Interpreter(data).run())
    except UnsafePickle:
        raise
    except Exception as error:  # a corrupt pickle can raise nearly anything
        reason = _printable(f"{type(error).__name__}: {error}")
        raise UnsafePickle(f"it is not a whole pickle ({reason})") from None
