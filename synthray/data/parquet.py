"""One Parquet shard: its schema, its writing, its reading.

A named column for each learned parameter, with values that a person can query (Hz, ms, dB, the name of a class), and
the features as one fixed-size binary column whose dtype and shape stand in the field's metadata. A data set of presets
has a noise seed for each sound instead of its features. Plain Arrow types only. Page checksums are written, for other
readers; ours compare the SHA-256 of the whole file with the manifest's.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthray.data import parquet_file
from synthray.data.examples import Examples
from synthray.data.manifest import FEATURES as FEATURES_CONTENT
from synthray.data.manifest import PRESETS
from synthray.errors import CorruptShard, DataError
from synthray.storage.memory import Memory
from synthray.synth.parameters import Choice, ParameterTable, Range

FEATURES, NOISE_SEED = "features", "noise_seed"
DTYPES = ("float32", "float16")

# Room for all that is not features; more is made where it is not enough.
_REST_BYTES = 1024 * 1024

_memory = Memory()


def schema(
    table: ParameterTable, feature_shape: tuple[int, int], dtype: str, content: str = FEATURES_CONTENT
) -> pa.Schema:
    """The columns of every shard of a data set.

    Raises:
        DataError: a parameter has the name of one of the other columns.
    """
    size = int(np.prod(feature_shape)) * np.dtype(dtype).itemsize
    shape = ",".join(str(n) for n in feature_shape)
    sound = pa.field(FEATURES, pa.binary(size), False, {"dtype": dtype, "shape": shape})
    last = pa.field(NOISE_SEED, pa.uint64(), False) if content == PRESETS else sound
    if last.name in table.label_index:
        raise DataError(f"a learned parameter is named {last.name!r}, which is the name of the sounds' own column")
    fields = [
        pa.field(p.name, pa.dictionary(pa.int32(), pa.string()) if isinstance(p, Choice) else pa.float64(), False)
        for p in table.learned
    ]
    return pa.schema([*fields, last])


def encode_shard(batches: Sequence[Examples], table: ParameterTable, shard_schema: pa.Schema) -> tuple[memoryview, str]:
    """The Parquet file of one or more batches, in their order. The same input gives the same bytes.

    Returns:
        It, from the beginning of a page of memory on, and its SHA-256.
    """
    labels = np.concatenate([batch.labels for batch in batches])
    *fields, last = shard_schema
    if last.name == NOISE_SEED:
        seeds = pa.chunked_array([pa.array(batch.noise_seeds, pa.uint64()) for batch in batches])
        columns = [*_columns(labels, table, short=True), seeds]
        return _digested([_presets_file(pa.table(columns, schema=shard_schema), table)], 0)
    dtype = last.metadata[b"dtype"].decode()
    features = [np.ascontiguousarray(batch.features, dtype) for batch in batches]
    # not compressed: magnitudes are noise to a compressor, and the reader gets them without a copy
    parts = parquet_file.parts(
        pa.table(_columns(labels, table, short=False), schema=pa.schema(fields)),
        last,
        features,
        use_dictionary=[p.name for p in table.choices],
        write_statistics=[p.name for p in table.learned],
    )
    return _digested(parts, sum(block.nbytes for block in features))


def _columns(labels: np.ndarray, table: ParameterTable, *, short: bool) -> list[pa.Array]:
    """The column of each learned parameter: a range's values in its unit, a choice's by name."""
    columns: list[pa.Array] = []
    for number, parameter in enumerate(table.learned):
        if isinstance(parameter, Choice):
            codes = pa.array(labels[:, number].astype(np.int32))
            columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(parameter.values, pa.string())))
        elif short:
            columns.append(pa.array(_short_values(parameter, labels[:, number])))
        else:
            columns.append(pa.array(parameter.from_unit_interval(labels[:, number])))
    return columns


def _presets_file(presets: pa.Table, table: ParameterTable) -> memoryview:
    file = io.BytesIO()
    with pq.ParquetWriter(
        file,
        presets.schema,
        compression="zstd",
        use_byte_stream_split=[p.name for p in table.ranges],
        use_dictionary=[p.name for p in table.choices],
        # of a few hundred presets statistics and Arrow's own schema would be a fifth
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(presets, row_group_size=len(presets))
    return file.getbuffer()


def _digested(parts: Iterable[bytes | memoryview], features_bytes: int) -> tuple[memoryview, str]:
    """The parts one behind the other, each digested while it is in the processor's cache, and their SHA-256."""
    whole = _memory.empty((features_bytes + _REST_BYTES,), "uint8")
    size, sha256 = 0, hashlib.sha256()
    for part in parts:
        if size + len(part) > len(whole):
            larger = _memory.empty((2 * (size + len(part)),), "uint8")
            larger[:size] = whole[:size]
            whole = larger
        sha256.update(part)
        whole[size : size + len(part)] = np.frombuffer(part, np.uint8)
        size += len(part)
    return whole[:size].data, sha256.hexdigest()


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


def decode_shard(raw: bytes | pa.Buffer, table: ParameterTable, name: str) -> Examples:
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
            return Examples(np.empty((len(read), 0, 0), np.float32), labels, read[NOISE_SEED].to_numpy())
        return Examples(_features(read), labels)
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
