"""One Parquet shard: its schema, its writing, its reading.

A named column for each learned parameter, with values that a person can query (Hz, ms, dB, the name of a class), and
the features as one fixed-size binary column whose dtype and shape stand in the field's metadata. Plain Arrow types
only. Page checksums are written and verified; the manifest's SHA-256 covers the whole file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthray.data.batch import Batch
from synthray.errors import CorruptShard, DataError
from synthray.synth.parameters import Choice, ParameterTable

FEATURES = "features"
DTYPES = ("float32", "float16")

# A training step reads a window of rows out of several shards: groups of this many rows are what it reads at least.
_ROWS_PER_GROUP = 128


def schema(table: ParameterTable, feature_shape: tuple[int, int], dtype: str) -> pa.Schema:
    """The columns of every shard of a data set.

    Raises:
        DataError: a parameter has the name of the features' column.
    """
    if FEATURES in table.label_index:
        raise DataError(f"a learned parameter is named {FEATURES!r}, which is the name of the sounds' own column")
    size = int(np.prod(feature_shape)) * np.dtype(dtype).itemsize
    shape = ",".join(str(n) for n in feature_shape)
    fields = [
        pa.field(p.name, pa.dictionary(pa.int32(), pa.string()) if isinstance(p, Choice) else pa.float64(), False)
        for p in table.learned
    ]
    return pa.schema([*fields, pa.field(FEATURES, pa.binary(size), False, {"dtype": dtype, "shape": shape})])


def encode_shard(batches: Sequence[Batch], table: ParameterTable, shard_schema: pa.Schema) -> bytes:
    """The Parquet file of one or more batches, in their order. The same input gives the same bytes."""
    dtype = shard_schema.field(FEATURES).metadata[b"dtype"].decode()
    labels = np.concatenate([batch.labels for batch in batches])
    columns: list[pa.Array] = []
    for number, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            codes = pa.array(labels[:, number].astype(np.int32))
            columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(parameter.values, pa.string())))
        else:
            columns.append(pa.array(parameter.from_unit_interval(labels[:, number])))
    width = shard_schema.field(FEATURES).type
    blocks = [pa.py_buffer(np.ascontiguousarray(batch.features, dtype)) for batch in batches]
    features = pa.chunked_array(
        [pa.Array.from_buffers(width, len(b), [None, block]) for b, block in zip(batches, blocks, strict=True)]
    )
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        shard_schema,
        compression="none",  # magnitudes are noise to a compressor; the reader gets them without a copy
        use_dictionary=[p.name for p in table.choices],
        write_statistics=[p.name for p in table.learned],
        write_page_checksum=True,
        store_schema=True,
    ) as writer:
        writer.write_table(pa.table([*columns, features], schema=shard_schema), row_group_size=_ROWS_PER_GROUP)
    return sink.getvalue().to_pybytes()


def decode_shard(
    raw: bytes | pa.Buffer, table: ParameterTable, name: str, rows: tuple[int, int] | None = None
) -> Batch:
    """The examples of a shard, or of its rows ``[first, last)`` only; features in their stored dtype, without a copy.

    Raises:
        CorruptShard: the file is not what this table's shards look like, or a page's checksum fails.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)
        first, last = rows or (0, file.metadata.num_rows)
        groups, skipped = _groups_of(file.metadata, first, last)
        read = file.read_row_groups(groups, use_threads=False).slice(first - skipped, last - first)
        return Batch(_features(read), _labels(read, table))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptShard(f"{name} cannot be read: {error}; make the data set again") from error


def _groups_of(metadata: pq.FileMetaData, first: int, last: int) -> tuple[list[int], int]:
    """Row groups that hold rows ``[first, last)``, and how many rows stand before the first of them."""
    groups, start, skipped = [], 0, 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if start < last and end > first:
            skipped = skipped if groups else start
            groups.append(group)
        start = end
    return groups, skipped


def _features(read: pa.Table) -> np.ndarray:
    field = read.schema.field(FEATURES)
    dtype = np.dtype(field.metadata[b"dtype"].decode())
    shape = tuple(int(n) for n in field.metadata[b"shape"].decode().split(","))
    chunks = []
    for chunk in read[FEATURES].chunks:
        flat = np.frombuffer(chunk.buffers()[1], dtype, count=(chunk.offset + len(chunk)) * int(np.prod(shape)))
        chunks.append(flat.reshape(-1, *shape)[chunk.offset :])
    if not chunks:
        return np.empty((0, *shape), dtype)
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _labels(read: pa.Table, table: ParameterTable) -> np.ndarray:
    labels = np.empty((len(read), len(table.learned)))
    for number, parameter in enumerate(table.learned):
        column = read[parameter.name]
        if isinstance(parameter, Choice):
            names = {value: code for code, value in enumerate(parameter.values)}
            for chunk, start in _chunks(column):
                codes = np.array([names[value] for value in chunk.dictionary.to_pylist()])
                labels[start : start + len(chunk), number] = codes[chunk.indices.to_numpy()] if len(chunk) else 0
        else:
            labels[:, number] = parameter.to_unit_interval(column.to_numpy())
    return labels


def _chunks(column: pa.ChunkedArray) -> list[tuple[pa.Array, int]]:
    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    return list(zip(column.chunks, starts.tolist(), strict=False))
