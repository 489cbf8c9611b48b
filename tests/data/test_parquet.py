"""Shards: exact round trips, queries by other tools, detection of a flipped byte."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.data.examples import Examples
from synthray.data.parquet import decode_shard, encode_shard, schema
from synthray.errors import CorruptShard, DataError
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range

SHAPE = (4, 6)


def positions(parameter: Range, uniform: np.ndarray) -> np.ndarray:
    """Return positions in [0, 1] that the parameter can have."""
    return np.rint(uniform * parameter.num_steps) / parameter.num_steps if parameter.step else uniform


def batches(sizes: list[int], table: ParameterTable, seed: int = 0) -> list[Examples]:
    random = np.random.default_rng(seed)
    made = []
    for size in sizes:
        labels = np.stack(
            [
                random.integers(len(p.values), size=size)
                if isinstance(p, Choice)
                else positions(p, random.random(size))
                for p in table.learned
            ],
            axis=1,
        )
        made.append(Examples(random.random((size, *SHAPE)), labels.astype(np.float32).astype(np.float64)))
    return made


def encode(made: list[Examples], dtype: str = "float32", content: str = "features") -> bytes:
    return encode_shard(made, INSTRUMENT, schema(INSTRUMENT, SHAPE, dtype, content))


@settings(deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4), st.sampled_from(["float32", "float16"]))
def test_shard_round_trip_is_exact_in_float32(sizes: list[int], dtype: str) -> None:
    made = batches(sizes, INSTRUMENT)
    read = decode_shard(encode(made, dtype), INSTRUMENT, "x")
    assert read.features.dtype == dtype
    np.testing.assert_array_equal(read.features, np.concatenate([b.features for b in made]).astype(dtype))
    # A label is converted to its unit and back.
    np.testing.assert_array_equal(
        read.labels.astype(np.float32), np.concatenate([b.labels for b in made]).astype(np.float32)
    )


@pytest.mark.parametrize(("rows", "shape"), [(20_000, (1, 1)), (5_000, (4, 13))])
def test_shard_with_more_label_bytes_than_feature_bytes_round_trips(rows: int, shape: tuple[int, int]) -> None:
    [made] = batches([rows], INSTRUMENT)
    made = replace(made, features=np.random.default_rng(1).random((rows, *shape), np.float32))
    read = decode_shard(encode_shard([made], INSTRUMENT, schema(INSTRUMENT, shape, "float32")), INSTRUMENT, "x")
    np.testing.assert_array_equal(read.features, made.features)
    np.testing.assert_array_equal(read.labels.astype(np.float32), made.labels.astype(np.float32))


def test_range_without_unit_round_trips_exactly_in_float64() -> None:
    table = ParameterTable((Range("a"), Choice("b", ("x", "y"))))
    labels = np.array([[1e300, 0], [-1.1, 1], [np.pi, 1]])
    raw = encode_shard([Examples(np.zeros((3, *SHAPE)), labels)], table, schema(table, SHAPE, "float32"))
    np.testing.assert_array_equal(decode_shard(raw, table, "x").labels, labels)


def test_duckdb_reads_the_file_by_column_name(tmp_path: Path) -> None:
    import duckdb

    made = batches([64], INSTRUMENT)
    file = tmp_path / "shard.parquet"
    file.write_bytes(encode(made))
    rows = duckdb.sql(
        f"SELECT filter_type, count(*) AS n, min(filter_cutoff), max(filter_cutoff) FROM '{file}' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in rows] == ["bandpass", "highpass", "lowpass", "notch"]
    assert sum(row[1] for row in rows) == 64
    assert all(60 <= row[2] <= row[3] <= 5000 for row in rows)


@pytest.mark.parametrize("content", ["features", "presets"])
def test_pandas_reads_choices_as_strings(content: str) -> None:
    import pandas as pd

    [batch] = batches([64], INSTRUMENT)
    made = replace(batch, noise_seeds=np.arange(64, dtype=np.uint64))
    raw = encode([made], content=content)
    frame = pd.read_parquet(io.BytesIO(raw))
    assert list(frame.columns[:-1]) == [parameter.name for parameter in INSTRUMENT.learned]
    lowpass = frame[frame["filter_type"] == "lowpass"]
    assert 0 < len(lowpass) < 64
    assert frame["filter_cutoff"].between(60, 5000).all()


def test_features_are_a_view_of_one_arrow_buffer() -> None:
    made = batches([100, 40], INSTRUMENT)
    raw = encode(made)
    assert pq.ParquetFile(pa.BufferReader(raw)).num_row_groups == 1
    features = decode_shard(raw, INSTRUMENT, "x").features
    assert features.shape == (140, *SHAPE)
    base = features
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert not base.flags.owndata


def test_same_input_gives_the_same_bytes() -> None:
    assert encode(batches([40, 8], INSTRUMENT)) == encode(batches([40, 8], INSTRUMENT))


def test_presets_round_trip_with_their_noise_seeds() -> None:
    made = [
        replace(b, noise_seeds=np.arange(len(b), dtype=np.uint64) << np.uint64(50))
        for b in batches([40, 8], INSTRUMENT)
    ]
    raw = encode(made, content="presets")
    read = decode_shard(raw, INSTRUMENT, "x")
    assert read.features.shape == (48, 0, 0)
    np.testing.assert_array_equal(read.noise_seeds, np.concatenate([b.noise_seeds for b in made]))
    labels = np.concatenate([b.labels for b in made])
    np.testing.assert_array_equal(read.labels.astype(np.float32), labels.astype(np.float32))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**24), min_size=1, max_size=50))
def test_preset_labels_round_trip_exactly_in_float32(counts: list[int]) -> None:
    labels = np.zeros((len(counts), len(INSTRUMENT.learned)))
    labels[:, [isinstance(p, Range) and not p.step for p in INSTRUMENT.learned]] = np.array(counts)[:, None] / 2**24
    presets = Examples(np.empty((len(counts), 0, 0)), labels, np.zeros(len(counts), np.uint64))
    raw = encode([presets], content="presets")
    np.testing.assert_array_equal(decode_shard(raw, INSTRUMENT, "x").labels.astype(np.float32), labels)


def test_preset_takes_less_than_250_bytes() -> None:
    [batch] = batches([256], INSTRUMENT)
    presets = replace(batch, noise_seeds=np.random.default_rng(1).integers(2**63, size=256, dtype=np.uint64))
    raw = encode([presets], content="presets")
    assert len(raw) / 256 < 250


def test_flipped_byte_is_detected_by_other_readers() -> None:
    raw = bytearray(encode(batches([8], INSTRUMENT)))
    sound = batches([8], INSTRUMENT)[0].features[3].astype("float32").tobytes()
    raw[raw.index(sound) + 5] ^= 1
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.read_table(pa.BufferReader(bytes(raw)), page_checksum_verification=True)


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"x" * 100])
def test_file_that_is_not_parquet_raises_corrupt_shard(raw: bytes) -> None:
    with pytest.raises(CorruptShard, match="cannot be read"):
        decode_shard(raw, INSTRUMENT, "x")


def test_parameter_named_features_is_rejected() -> None:
    with pytest.raises(DataError, match="'features': this name is reserved"):
        schema(ParameterTable((Range("features"),)), SHAPE, "float32")
