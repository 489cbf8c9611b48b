"""What is put into PyArrow's file is a Parquet file like any other, to every reader."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.data import parquet_file, thrift


def written(sizes: list[int], value_bytes: int) -> tuple[bytes, pa.Table]:
    """A file of blocks of so many values, and the table that it should be."""
    random = np.random.default_rng(7)
    blocks = [random.integers(256, size=(size, value_bytes), dtype=np.uint8) for size in sizes]
    rows = sum(sizes)
    words = pa.DictionaryArray.from_arrays(pa.array(np.arange(rows, dtype=np.int32) % 2), pa.array(["saw", "sine"]))
    numbers = pa.array(random.random(rows))
    fields = [
        pa.field("word", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("number", pa.float64(), nullable=False),
        pa.field("sound", pa.binary(value_bytes), False, {"dtype": "uint8"}),
    ]
    others = pa.table([words, numbers], schema=pa.schema(fields[:2]))
    parts = parquet_file.parts(others, fields[2], blocks, use_dictionary=["word"], write_statistics=["number"])
    sound = pa.array([row.tobytes() for block in blocks for row in block], pa.binary(value_bytes))
    return b"".join(parts), pa.table([words, numbers, sound], schema=pa.schema(fields))


# values of a part of a page, of a page and a bit, and of several pages
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1, 13, 44_080, 300_000, 1_100_000]))
def test_pyarrow_reads_it_with_its_checksums(sizes: list[int], value_bytes: int) -> None:
    raw, table = written(sizes, value_bytes)
    file = pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)
    read = file.read()
    assert read.equals(table)
    assert read.schema.equals(table.schema, check_metadata=True)


def test_its_end_tells_what_pyarrow_would_have_told() -> None:
    raw, table = written([32, 32, 5], 44_080)
    whole = pa.BufferOutputStream()
    with pq.ParquetWriter(
        whole, table.schema, compression="none", use_dictionary=["word"], write_statistics=["number"]
    ) as writer:
        writer.write_table(table)
    ours, theirs = (pq.read_metadata(pa.BufferReader(data)) for data in (raw, whole.getvalue()))
    assert ours.schema.equals(theirs.schema)
    assert (ours.num_rows, ours.num_row_groups, ours.created_by) == (69, 1, theirs.created_by)
    [group, their_group] = [metadata.row_group(0).to_dict() for metadata in (ours, theirs)]
    chunks = group["columns"]
    assert group["total_byte_size"] == sum(chunk["total_uncompressed_size"] for chunk in chunks)
    ends = [chunk["data_page_offset"] + chunk["total_compressed_size"] for chunk in chunks]
    assert ends[-1] == len(raw) - 8 - struct.unpack("<I", raw[-8:-4])[0]  # the last page ends where the end begins
    for chunk, their_chunk in zip(chunks, their_group["columns"], strict=True):
        for name in ("path_in_schema", "physical_type", "num_values", "encodings", "compression", "is_stats_set"):
            assert chunk[name] == their_chunk[name]


def test_duckdb_and_pandas_read_it(tmp_path: Path) -> None:
    import duckdb
    import pandas as pd

    raw, table = written([40, 8], 44_080)
    path = tmp_path / "x.parquet"
    path.write_bytes(raw)
    sounds = table["sound"].to_pylist()
    rows = duckdb.sql(f"SELECT word, number, sound FROM '{path}'").fetchall()
    assert rows == list(zip(table["word"].to_pylist(), table["number"].to_pylist(), sounds, strict=True))
    assert pd.read_parquet(path)["sound"].tolist() == sounds


@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_flipped_byte_in_any_page_is_noticed(page: int) -> None:
    raw, table = written([3], 1_100_000)
    harmed = bytearray(raw)
    harmed[raw.index(table["sound"][page].as_py()) + 1_000_000] ^= 1
    file = pq.ParquetFile(pa.BufferReader(bytes(harmed)), page_checksum_verification=True)
    with pytest.raises(OSError, match="CRC"):
        file.read()


INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.deferred(
    lambda: st.one_of(
        st.sampled_from([(thrift.TRUE, True), (thrift.FALSE, False)]),
        st.tuples(st.sampled_from([thrift.I16, thrift.I32, thrift.I64]), INTEGERS),
        st.tuples(st.just(thrift.DOUBLE), st.floats(allow_nan=False)),
        st.tuples(st.just(thrift.BINARY), st.binary(max_size=200)),
        st.tuples(st.just(thrift.STRUCT), STRUCTS),
        st.tuples(st.just(thrift.LIST), st.tuples(st.just(thrift.I64), st.lists(INTEGERS, max_size=20))),
        st.tuples(st.just(thrift.LIST), st.tuples(st.just(thrift.STRUCT), st.lists(STRUCTS, max_size=3))),
    )
)
STRUCTS = st.dictionaries(st.integers(-40, 40), VALUES, max_size=4)


@given(STRUCTS)
def test_a_struct_comes_back_from_its_bytes(fields: thrift.Fields) -> None:
    assert thrift.decode(thrift.encode(fields)) == fields


def test_the_end_of_pyarrows_files_is_spelt_as_it_spells_it() -> None:
    raw, _ = written([3], 13)
    end = raw[-8 - struct.unpack("<I", raw[-8:-4])[0] : -8]
    assert thrift.encode(thrift.decode(end)) == end
    for cut in range(len(end)):
        with pytest.raises((IndexError, ValueError)):
            thrift.decode(end[:cut])


def test_what_it_would_misread_is_refused() -> None:
    with pytest.raises(ValueError, match="truth values"):
        thrift.decode(bytes([1 << 4 | thrift.LIST, 2 << 4 | thrift.TRUE, 1, 2, 0]))
    with pytest.raises(ValueError, match="type 11 is not known"):
        thrift.decode(bytes([1 << 4 | 11, 0, 0]))
