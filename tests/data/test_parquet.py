"""A shard gives back what went into it, and notices a single changed byte."""

from __future__ import annotations

import hashlib
from dataclasses import replace

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


def batches(sizes: list[int], table: ParameterTable, seed: int = 0) -> list[Examples]:
    random = np.random.default_rng(seed)
    made = []
    for size in sizes:
        labels = np.stack(
            [
                random.integers(len(p.values), size=size) if isinstance(p, Choice) else random.random(size)
                for p in table.learned
            ],
            axis=1,
        )
        made.append(Examples(random.random((size, *SHAPE)), labels.astype(np.float32).astype(np.float64)))
    return made


def encode(made: list[Examples], table: ParameterTable, columns: pa.Schema) -> bytes:
    raw, sha256 = encode_shard(made, table, columns)
    assert sha256 == hashlib.sha256(raw).hexdigest()
    return bytes(raw)


@settings(deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4), st.sampled_from(["float32", "float16"]))
def test_what_goes_in_comes_out(sizes: list[int], dtype: str) -> None:
    made = batches(sizes, INSTRUMENT)
    read = decode_shard(encode(made, INSTRUMENT, schema(INSTRUMENT, SHAPE, dtype)), INSTRUMENT, "x")
    assert read.features.dtype == dtype
    np.testing.assert_array_equal(read.features, np.concatenate([b.features for b in made]).astype(dtype))
    # a label makes its way through its unit and back to the very same float32
    np.testing.assert_array_equal(
        read.labels.astype(np.float32), np.concatenate([b.labels for b in made]).astype(np.float32)
    )


@pytest.mark.parametrize(("rows", "shape"), [(20_000, (1, 1)), (5_000, (4, 13))])
def test_labels_may_take_more_room_than_features(rows: int, shape: tuple[int, int]) -> None:
    [made] = batches([rows], INSTRUMENT)
    made = replace(made, features=np.random.default_rng(1).random((rows, *shape), np.float32))
    read = decode_shard(encode([made], INSTRUMENT, schema(INSTRUMENT, shape, "float32")), INSTRUMENT, "x")
    np.testing.assert_array_equal(read.features, made.features)
    np.testing.assert_array_equal(read.labels.astype(np.float32), made.labels.astype(np.float32))


def test_foreign_ranges_are_kept_to_the_last_bit() -> None:
    table = ParameterTable((Range("a"), Choice("b", ("x", "y"))))
    labels = np.array([[1e300, 0], [-1.1, 1], [np.pi, 1]])
    raw = encode([Examples(np.zeros((3, *SHAPE)), labels)], table, schema(table, SHAPE, "float32"))
    np.testing.assert_array_equal(decode_shard(raw, table, "x").labels, labels)


def test_a_person_can_query_it() -> None:
    import duckdb

    made = batches([64], INSTRUMENT)
    shard = pq.read_table(pa.BufferReader(encode(made, INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32"))))
    assert shard.num_rows == 64
    rows = duckdb.sql(
        "SELECT filter_type, count(*) AS n, min(filter_cutoff), max(filter_cutoff) FROM shard GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in rows] == ["bandpass", "highpass", "lowpass", "notch"]
    assert sum(row[1] for row in rows) == 64
    assert all(60 <= row[2] <= row[3] <= 5000 for row in rows)


def test_the_same_input_gives_the_same_bytes() -> None:
    a, b = (encode(batches([40, 8], INSTRUMENT), INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32")) for _ in "ab")
    assert a == b


def test_presets_come_back_with_their_noise_seeds() -> None:
    made = [
        replace(b, noise_seeds=np.arange(len(b), dtype=np.uint64) << np.uint64(50))
        for b in batches([40, 8], INSTRUMENT)
    ]
    raw = encode(made, INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32", "presets"))
    read = decode_shard(raw, INSTRUMENT, "x")
    assert read.features.shape == (48, 0, 0)
    np.testing.assert_array_equal(read.noise_seeds, np.concatenate([b.noise_seeds for b in made]))
    labels = np.concatenate([b.labels for b in made])
    np.testing.assert_array_equal(read.labels.astype(np.float32), labels.astype(np.float32))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**24), min_size=1, max_size=50))
def test_any_label_that_is_drawn_comes_back_from_the_short_value_of_a_preset(counts: list[int]) -> None:
    labels = np.zeros((len(counts), len(INSTRUMENT.learned)))
    labels[:, [isinstance(p, Range) for p in INSTRUMENT.learned]] = np.array(counts)[:, None] / 2**24
    presets = Examples(np.empty((len(counts), 0, 0)), labels, np.zeros(len(counts), np.uint64))
    raw = encode([presets], INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32", "presets"))
    np.testing.assert_array_equal(decode_shard(raw, INSTRUMENT, "x").labels.astype(np.float32), labels)


def test_a_preset_takes_some_150_bytes_in_a_shard_of_common_size() -> None:
    [batch] = batches([256], INSTRUMENT)
    presets = replace(batch, noise_seeds=np.random.default_rng(1).integers(2**63, size=256, dtype=np.uint64))
    raw = encode([presets], INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32", "presets"))
    assert len(raw) / 256 < 170


def test_a_flipped_byte_of_a_sound_is_noticed_by_other_readers() -> None:
    raw = bytearray(encode(batches([8], INSTRUMENT), INSTRUMENT, schema(INSTRUMENT, SHAPE, "float32")))
    sound = batches([8], INSTRUMENT)[0].features[3].astype("float32").tobytes()
    place = bytes(raw).index(sound)
    raw[place + 5] ^= 1
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.read_table(pa.BufferReader(bytes(raw)), page_checksum_verification=True)


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"x" * 100])
def test_what_is_no_parquet_is_told(raw: bytes) -> None:
    with pytest.raises(CorruptShard, match="cannot be read"):
        decode_shard(raw, INSTRUMENT, "x")


def test_the_name_of_the_features_is_taken() -> None:
    with pytest.raises(DataError, match="named 'features'"):
        schema(ParameterTable((Range("features"),)), SHAPE, "float32")
