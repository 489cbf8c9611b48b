"""A Parquet shard: its schema, encoder and decoder.

Each learned parameter is a named column that a person can query, in Hz, ms, dB or as a class name. Features are one
fixed-size binary column, whose dtype and shape are in the field's metadata. A shard of presets has noise seeds instead.
Page checksums are for other readers. synthray compares the SHA-256 of the whole file, in ``dataset.py``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthray.data.examples import Examples
from synthray.data.manifest import FEATURES, PRESETS
from synthray.errors import CorruptShard, DataError
from synthray.synth.parameters import Choice, ParameterTable

FEATURES_COLUMN, NOISE_SEED_COLUMN = "features", "noise_seed"
DTYPES = ("float32", "float16")


def schema(table: ParameterTable, feature_shape: tuple[int, int], dtype: str, content: str = FEATURES) -> pa.Schema:
    """Return the columns of every shard of a data set.

    Raises:
        DataError: a learned parameter has the name of another column.
    """
    size = int(np.prod(feature_shape)) * np.dtype(dtype).itemsize
    shape = ",".join(str(n) for n in feature_shape)
    sound = pa.field(FEATURES_COLUMN, pa.binary(size), False, {"dtype": dtype, "shape": shape})
    last = pa.field(NOISE_SEED_COLUMN, pa.uint64(), False) if content == PRESETS else sound
    if last.name in table.label_index:
        raise DataError(
            f"learned parameter {last.name!r}: this name is reserved for a column of the shards. Rename it."
        )
    fields = [
        pa.field(p.name, pa.dictionary(pa.int32(), pa.string()) if isinstance(p, Choice) else pa.float64(), False)
        for p in table.learned
    ]
    return pa.schema([*fields, last])


def encode_shard(batches: Sequence[Examples], table: ParameterTable, shard_schema: pa.Schema) -> bytes:
    """Return the Parquet file of one or more batches, in order.

    The same input gives the same bytes.
    """
    labels = np.concatenate([batch.labels for batch in batches])
    last = shard_schema[-1]
    if last.name == NOISE_SEED_COLUMN:
        column = pa.chunked_array([pa.array(batch.noise_seeds, pa.uint64()) for batch in batches])
        options = {"compression": "zstd", "use_byte_stream_split": [p.name for p in table.ranges]}
    else:
        column = pa.chunked_array([_feature_column(batch.features, last) for batch in batches])
        # Magnitudes hardly compress.
        options = {"compression": "none"}
    file = io.BytesIO()
    pq.write_table(
        pa.table([*_label_columns(labels, table), column], schema=shard_schema),
        file,
        row_group_size=len(labels),
        use_dictionary=[p.name for p in table.choices],
        write_statistics=[p.name for p in table.learned],
        write_page_checksum=True,
        store_schema=True,  # keeps the features' metadata
        **options,
    )
    return file.getvalue()


def _feature_column(features: np.ndarray, field: pa.Field) -> pa.Array:
    data = np.ascontiguousarray(features, field.metadata[b"dtype"].decode())
    return pa.Array.from_buffers(field.type, len(data), [None, pa.py_buffer(data)])


def _label_columns(labels: np.ndarray, table: ParameterTable) -> list[pa.Array]:
    """Return one column per learned parameter: a range in its unit, a choice by name."""
    columns: list[pa.Array] = []
    for number, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            codes = pa.array(labels[:, number].astype(np.int32))
            columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(parameter.values, pa.string())))
        else:
            columns.append(pa.array(parameter.from_unit_interval(labels[:, number])))
    return columns


def decode_shard(raw: bytes | pa.Buffer, table: ParameterTable, name: str) -> Examples:
    """Return the examples of a shard.

    Returns:
        Features in their stored dtype, a read-only view of Arrow's buffer. For a shard of presets, features of shape
        ``(examples, 0, 0)`` and noise seeds.

    Raises:
        CorruptShard: the file is not a shard of this table.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), read_dictionary=[p.name for p in table.choices])
        read = file.read(use_threads=False)
        labels = _labels(read, table)
        if NOISE_SEED_COLUMN in read.schema.names and FEATURES_COLUMN not in read.schema.names:
            return Examples(np.empty((len(read), 0, 0), np.float32), labels, read[NOISE_SEED_COLUMN].to_numpy())
        return Examples(_features(read), labels)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptShard(f"{name} cannot be read: {error}. Create the data set again.") from error


def _features(read: pa.Table) -> np.ndarray:
    field = read.schema.field(FEATURES_COLUMN)
    dtype = np.dtype(field.metadata[b"dtype"].decode())
    shape = tuple(int(n) for n in field.metadata[b"shape"].decode().split(","))
    chunks = []
    for chunk in read[FEATURES_COLUMN].chunks:
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
            whole = column.unify_dictionaries().combine_chunks()
            codes = np.array([names[value] for value in whole.dictionary.to_pylist()])
            labels[:, number] = codes[whole.indices.to_numpy()]
        else:
            labels[:, number] = parameter.to_unit_interval(column.to_numpy())
    return labels
