"""A Parquet file whose last column has large values of one size, which are taken as they lie in memory.

PyArrow copies such values twice and takes their checksums at a tenth of a processor's pace; for features that is a good
part of making a data set. So PyArrow writes the file with one byte in the place of each value, and then those pages are
replaced by ones of the values themselves, and the file's end is told so.

The numbers of fields are those of parquet.thrift in https://github.com/apache/parquet-format.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from synthray.data import thrift
from synthray.data.thrift import I32, STRUCT, Fields

# Small enough to be in the processor's cache still when it is digested and copied, after its checksum was taken.
_PAGE_BYTES = 1024 * 1024
_END_BYTES = 8
_DATA_PAGE, _PLAIN, _RLE = 0, 0, 3


def parts(
    others: pa.Table, field: pa.Field, blocks: Sequence[np.ndarray], **options: Any
) -> Iterator[bytes | memoryview]:
    """The file from its beginning to its end: one row group, not compressed, every page with its checksum.

    Args:
        others: the columns before the last one.
        field: the last one; of a fixed-size binary type, not nullable.
        blocks: its values, in their order: C-contiguous arrays, their first axis over values.
        options: of ``pyarrow.parquet.ParquetWriter``, for the other columns.
    """
    file = _with_one_byte_each(others, field, **options)
    end_from = len(file) - _END_BYTES - struct.unpack("<I", file[-8:-4])[0]
    end = thrift.decode(file[end_from:])
    row_group = _items(end, 4)[0]
    chunk = _items(row_group, 1)[-1][3][1]  # the ColumnMetaData of the last column
    pages_from, before = chunk[9][1], chunk[7][1]
    yield file[:pages_from]
    pages = size = 0
    for values in _pages(blocks, field.type.byte_width):
        head = _page_head(values)
        yield head
        yield values.reshape(-1).view(np.uint8).data
        pages, size = pages + 1, size + len(head) + values.nbytes
    _set(_items(end, 2)[-1], 2, field.type.byte_width)  # SchemaElement.type_length
    for number in (6, 7):  # total_uncompressed_size, total_compressed_size
        _set(chunk, number, size)
    if 13 in chunk:
        _set(_items(chunk, 13)[0], 3, pages)  # PageEncodingStats.count
    for number in (2, 6):  # RowGroup.total_byte_size, total_compressed_size
        _set(row_group, number, row_group[number][1] + size - before)
    encoded = thrift.encode(end)
    yield encoded + struct.pack("<I", len(encoded)) + file[-4:]


def _with_one_byte_each(others: pa.Table, field: pa.Field, **options: Any) -> bytes:
    """What PyArrow writes for values of one byte each in the last column; the schema that it stores is the true one."""
    byte = pa.binary(1)
    column = pa.Array.from_buffers(byte, len(others), [None, pa.py_buffer(bytes(len(others)))])
    table = others.append_column(pa.field(field.name, byte, nullable=False), column)
    schema = pa.schema([*others.schema, field]).serialize().to_pybytes()
    file = io.BytesIO()
    with pq.ParquetWriter(
        file, table.schema, compression="none", write_page_checksum=True, store_schema=False, **options
    ) as writer:
        writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(schema).decode()})
    return file.getvalue()


def _pages(blocks: Sequence[np.ndarray], value_bytes: int) -> Iterator[np.ndarray]:
    step = max(1, _PAGE_BYTES // value_bytes)
    for block in blocks:
        for first in range(0, len(block), step):
            yield block[first : first + step]


def _page_head(values: np.ndarray) -> bytes:
    checksum = isal_zlib.crc32(values.data)
    signed = checksum - (checksum >> 31 << 32)
    data_page = {1: (I32, len(values)), 2: (I32, _PLAIN), 3: (I32, _RLE), 4: (I32, _RLE)}
    sizes = {2: (I32, values.nbytes), 3: (I32, values.nbytes)}
    return thrift.encode({1: (I32, _DATA_PAGE), **sizes, 4: (I32, signed), 5: (STRUCT, data_page)})


def _items(fields: Fields, number: int) -> list[Fields]:
    """The structs of a field that is a list of them."""
    return fields[number][1][1]


def _set(fields: Fields, number: int, value: int) -> None:
    fields[number] = fields[number][0], value
