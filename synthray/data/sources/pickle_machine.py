"""The opcodes of a pickle, interpreted without Python's ``pickle``: plain data only, and no name is imported.

The threat model is in ``safe_pickle.py``, the functions that a file may call are in ``pickle_arrays.py``.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable
from typing import Any

from synthray.data.sources.pickle_arrays import FUNCTIONS, Array, Dtype
from synthray.errors import UnsafePickle

_MAX_OPCODES = 2_500_000  # protocol 0 needs two for an item; each may allocate, even if its result is unused
_MAX_KEY_LENGTH = 10_000
_MAX_INT_KEY = (1 << 61) - 2  # CPython hashes larger ints modulo 2**61 - 1, so that they can share a hash
_MAX_SHOWN_LENGTH = 100
_HIGHEST_PROTOCOL = 5


class Interpreter:
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
        function = self.encode if (module, name) == ("_codecs", "encode") else FUNCTIONS.get((module, name))
        if function is None:
            raise UnsafePickle(f"it calls {printable(f'{module}.{name}')}, which plain data does not need")
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
        if type(self.stack[-1]) not in (Array, Dtype) or type(state) is not tuple:
            raise UnsafePickle("it sets the state of something that is not an array")
        self.stack[-1].set_state(state)


def _read_string(file: Any) -> str:
    """Return a byte string of Python 2 as text; ``pickletools`` reads ASCII only."""
    raw: Any = pickletools.read_stringnl(file, decode=False)
    return codecs.escape_decode(raw)[0].decode("latin1")


_Handler = Callable[[Interpreter, Any], None]
_CONSTANTS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)
_HANDLERS: dict[str, _Handler] = {
    "PROTO": Interpreter.proto,
    "FRAME": Interpreter.frame,
    **dict.fromkeys(_CONSTANTS.split(), Interpreter.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": Interpreter.mark,
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
    "MEMOIZE": Interpreter.memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Interpreter.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.take(2)),
    "REDUCE": Interpreter.reduce,
    "BUILD": Interpreter.build,
}
_OPCODES: dict[bytes, tuple[Callable[[Any], Any] | None, _Handler]] = {
    opcode.code.encode("latin1"): (opcode.arg.reader if opcode.arg else None, _HANDLERS[opcode.name])
    for opcode in pickletools.opcodes
    if opcode.name in _HANDLERS
}
_OPCODES[b"S"] = (_read_string, Interpreter.push)


def _opcode_name(code: bytes) -> str:
    return next((opcode.name for opcode in pickletools.opcodes if opcode.code.encode("latin1") == code), repr(code))


def printable(text: str) -> str:
    """Return a text of a file without control characters, shortened."""
    return text if text.isprintable() and len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]!r}…"
