"""One Parquet shard: its schema, its writing, its reading.

A named column for each learned parameter, with values that a person can query (Hz, ms, dB, the name of a class), and
the features as one fixed-size binary column whose dtype and shape stand in the field's metadata. A data set of presets
has a noise seed for each sound instead of its features. Plain Arrow types only. Page checksums are written, for other
readers; ours compare the SHA-256 of the whole file with the manifest's.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthray.data.batch import Batch
from synthray.data.manifest import PRESETS, SOUNDS
from synthray.errors import CorruptShard, DataError
from synthray.synth.parameters import Choice, ParameterTable, Range

FEATURES, NOISE_SEED = "features", "noise_seed"
DTYPES = ("float32", "float16")


def schema(table: ParameterTable, feature_shape: tuple[int, int], dtype: str, store: str = SOUNDS) -> pa.Schema:
    """The columns of every shard of a data set.

    Raises:
        DataError: a parameter has the name of one of the other columns.
    """
    size = int(np.prod(feature_shape)) * np.dtype(dtype).itemsize
    shape = ",".join(str(n) for n in feature_shape)
    sound = pa.field(FEATURES, pa.binary(size), False, {"dtype": dtype, "shape": shape})
    last = pa.field(NOISE_SEED, pa.uint64(), False) if store == PRESETS else sound
    if last.name in table.label_index:
        raise DataError(f"a learned parameter is named {last.name!r}, which is the name of the sounds' own column")
    fields = [
        pa.field(p.name, pa.dictionary(pa.int32(), pa.string()) if isinstance(p, Choice) else pa.float64(), False)
        for p in table.learned
    ]
    return pa.schema([*fields, last])


class _Digested(io.RawIOBase):
    """What is written passes on to ``file`` and is counted and digested, while it still is in the processor's cache."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.bytes, self.sha256 = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.sha256.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes


def write_shard(
    file: BinaryIO, batches: Sequence[Batch], table: ParameterTable, shard_schema: pa.Schema
) -> tuple[int, str]:
    """Write the Parquet file of one or more batches, in their order. The same input gives the same bytes.

    Returns:
        How many bytes it has, and their SHA-256.
    """
    presets = NOISE_SEED in shard_schema.names and FEATURES not in shard_schema.names
    labels = np.concatenate([batch.labels for batch in batches])
    columns: list[pa.Array] = []
    for number, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            codes = pa.array(labels[:, number].astype(np.int32))
            columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(parameter.values, pa.string())))
        elif presets:
            columns.append(pa.array(_short_values(parameter, labels[:, number])))
        else:
            columns.append(pa.array(parameter.from_unit_interval(labels[:, number])))
    columns.append(_sounds(batches, shard_schema.field(len(columns))))
    shard = pa.table(columns, schema=shard_schema)
    sink = _Digested(file)
    with pq.ParquetWriter(
        pa.PythonFile(sink, "w"),
        shard_schema,
        # magnitudes are noise to a compressor; the reader gets them without a copy
        compression="zstd" if presets else "none",
        use_byte_stream_split=[p.name for p in table.ranges] if presets else False,
        use_dictionary=[p.name for p in table.choices],
        # of a few hundred presets statistics and Arrow's own schema would be a fifth
        write_statistics=False if presets else [p.name for p in table.learned],
        write_page_checksum=True,
        store_schema=not presets,
    ) as writer:
        writer.write_table(shard, row_group_size=len(labels))
    return sink.bytes, sink.sha256.hexdigest()


def _short_values(parameter: Range, labels: np.ndarray) -> np.ndarray:
    """Values of a range, each with as few bits as bring its float32 label back: the zeros behind them take no room.

    All 53 bits of float64 are needed seldom, and the 24 of float32 are not always enough.
    """
    exact = parameter.from_unit_interval(labels)
    values, wanted = exact.copy(), labels.astype(np.float32)
    mantissa, exponent = np.frexp(exact)
    for bits in (36, 32, 28, 26, 24, 22):
        rounded = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
        enough = parameter.to_unit_interval(rounded).astype(np.float32) == wanted
        values[enough] = rounded[enough]
    return values


def _sounds(batches: Sequence[Batch], field: pa.Field) -> pa.ChunkedArray:
    """The last column: features, or what they can be rendered from."""
    if field.name == NOISE_SEED:
        return pa.chunked_array([pa.array(batch.noise_seeds, pa.uint64()) for batch in batches])
    dtype = field.metadata[b"dtype"].decode()
    blocks = [pa.py_buffer(np.ascontiguousarray(batch.features, dtype)) for batch in batches]
    return pa.chunked_array(
        [pa.Array.from_buffers(field.type, len(b), [None, block]) for b, block in zip(batches, blocks, strict=True)]
    )


def decode_shard(raw: bytes | pa.Buffer, table: ParameterTable, name: str) -> Batch:
    """The examples of a shard whose digest was compared already.

    Returns:
        features in their stored dtype, without a copy; for a shard of presets ``(examples, 0, 0)`` and noise seeds.

    Raises:
        CorruptShard: the file is not what this table's shards look like.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), read_dictionary=[p.name for p in table.choices])
        read = file.read(use_threads=False)
        labels = _labels(read, table)
        if NOISE_SEED in read.schema.names and FEATURES not in read.schema.names:
            return Batch(np.empty((len(read), 0, 0), np.float32), labels, read[NOISE_SEED].to_numpy())
        return Batch(_features(read), labels)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptShard(f"{name} cannot be read: {error}; make the data set again") from error


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
