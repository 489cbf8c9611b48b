"""Thrift's compact protocol, as far as the end of a Parquet file needs it: structs out of bytes, and bytes out of them.

A struct is a dictionary of its fields by number, each a pair of its type and its value; a list is a pair of the type
of its items and the items. What a field means nobody needs to know to pass it on.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from typing import Any

TRUE, FALSE, _, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _, STRUCT = range(1, 13)

Fields = dict[int, tuple[int, Any]]


def decode(raw: bytes) -> Fields:
    """The struct that the bytes begin with.

    Raises:
        IndexError, ValueError: there is no whole one.
    """
    return _struct(raw, 0)[0]


def encode(fields: Fields) -> bytes:
    """The inverse of ``decode``."""
    out = bytearray()
    _put_struct(out, fields)
    return bytes(out)


def _struct(raw: bytes, at: int) -> tuple[Fields, int]:
    fields: Fields = {}
    number = 0
    while head := raw[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(raw, at)
        value, at = _value(raw, at, head & 15)
        fields[number] = head & 15, value
    return fields, at + 1


def _value(raw: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (I16, I32, I64):
        return _signed(raw, at)
    if kind == BINARY:
        size, at = _unsigned(raw, at)
        return raw[at : at + size], at + size
    if kind == STRUCT:
        return _struct(raw, at)
    if kind in (LIST, SET):
        return _list(raw, at)
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind == DOUBLE:
        return struct.unpack_from("<d", raw, at)[0], at + 8
    raise ValueError(f"Thrift's type {kind} is not known")


def _list(raw: bytes, at: int) -> tuple[tuple[int, list[Any]], int]:
    count, kind = raw[at] >> 4, raw[at] & 15
    at += 1
    if count == 15:
        count, at = _unsigned(raw, at)
    if kind in (TRUE, FALSE):  # there each takes a byte, which Parquet's end has no use for
        raise ValueError("Thrift's lists of truth values are not known")
    items = []
    for _ in range(count):
        item, at = _value(raw, at, kind)
        items.append(item)
    return (kind, items), at


def _unsigned(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _signed(raw: bytes, at: int) -> tuple[int, int]:
    number, at = _unsigned(raw, at)
    return number >> 1 ^ -(number & 1), at


def _put_struct(out: bytearray, fields: Fields) -> None:
    last = 0
    for number, (kind, value) in fields.items():
        step = number - last
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _put_signed(out, number)
        _put(out, kind, value)
        last = number
    out.append(0)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if kind in (I16, I32, I64):
        _put_signed(out, value)
    elif kind == BINARY:
        _put_unsigned(out, len(value))
        out += value
    elif kind == STRUCT:
        _put_struct(out, value)
    elif kind in (LIST, SET):
        item_kind, items = value
        if len(items) < 15:
            out.append(len(items) << 4 | item_kind)
        else:
            out.append(0xF0 | item_kind)
            _put_unsigned(out, len(items))
        for item in items:
            _put(out, item_kind, item)
    elif kind == DOUBLE:
        out += struct.pack("<d", value)
    elif kind not in (TRUE, FALSE):  # of a field, whose type is its value
        raise ValueError(f"Thrift's type {kind} is not known")


def _put_signed(out: bytearray, number: int) -> None:
    _put_unsigned(out, number << 1 if number >= 0 else (-number << 1) - 1)


def _put_unsigned(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
