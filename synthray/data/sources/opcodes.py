"""The steps of a pickle, looked at before any of them is taken."""

from __future__ import annotations

import pickletools

from synthray.errors import UnsafePickle

# A million items of two steps each, and some; what a step makes and nothing uses takes memory, too.
_MAX_STEPS = 2_500_000

# Opcodes of plain data, of naming what stands in for NumPy, and of filling it. EXT*, PERSID, INST, OBJ, NEWOBJ_EX,
# sets and out-of-band buffers are not needed by any plain array.
_FORBIDDEN_OPCODES = {
    *("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"),
    *("NEXT_BUFFER", "READONLY_BUFFER", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
}
_STOP, _FRAME = ord("."), 0x95
_MEMO_CODES = frozenset(b"pqr")  # PUT, BINPUT, LONG_BINPUT
_DICT_CODES = frozenset(b"sud")  # SETITEM, SETITEMS, DICT
_TWO_LINES = frozenset(b"c")  # GLOBAL; INST, the other one of the kind, is forbidden
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _argument_sizes() -> list[int | None]:
    """For each code: bytes of its argument, or how its length is told; None where it is forbidden or unknown."""
    sizes: list[int | None] = [None] * 256
    for opcode in pickletools.opcodes:
        if opcode.name not in _FORBIDDEN_OPCODES:
            sizes[ord(opcode.code)] = opcode.arg.n if opcode.arg else 0
    return sizes


_ARGUMENT_SIZES = _argument_sizes()


def check_opcodes(data: bytes) -> bool:
    """Refuse what would cost memory or reach beyond plain data, before anything is built.

    Returns:
        whether it fills dictionaries.

    It walks as ``pickletools.genops`` does, by the same table, without spelling out every argument, which would be half
    of the time that reading a batch's parameters takes; whether an argument is well formed, the C unpickler judges. A
    frame has to end between two opcodes: where it ends within one, the C unpickler goes on elsewhere than this walk.
    """
    place, count, frame_end, fills = 0, 0, None, False
    while True:
        if frame_end is not None and place >= frame_end:
            if place > frame_end:
                raise UnsafePickle("a frame ends within an opcode")
            frame_end = None
        code = data[place]
        size = _ARGUMENT_SIZES[code]
        if size is None:
            opcode = pickletools.code2op.get(chr(code))
            raise UnsafePickle(f"it uses the opcode {opcode.name if opcode else code}")
        place += 1
        if size >= 0:
            end = place + size
        elif size == pickletools.UP_TO_NEWLINE:
            end = data.index(b"\n", place) + 1
            if code in _TWO_LINES:
                end = data.index(b"\n", end) + 1
        else:
            start = place + _LENGTH_BYTES[size]
            end = start + int.from_bytes(data[place:start], "little")
        if code == _FRAME:
            if frame_end is not None:
                raise UnsafePickle("a frame begins within another")
            frame_end = end + int.from_bytes(data[place:end], "little")
        # The C unpickler's memo is an array as long as its largest index.
        if code in _MEMO_CODES:
            index = data[place:end]
            number = int.from_bytes(index, "little") if size >= 0 else int(index)
            if not 0 <= number <= count:
                raise UnsafePickle(f"it numbers a memo {number} after {count} steps")
        if code == _STOP:
            if frame_end is not None and frame_end != end:
                raise UnsafePickle("a frame ends behind the end")
            return fills
        fills = fills or code in _DICT_CODES
        place, count = end, count + 1
        if count > _MAX_STEPS:
            raise UnsafePickle(f"it takes more than {_MAX_STEPS:,} steps")
