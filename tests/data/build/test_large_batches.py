"""A large batch is split into several shards, and every example is the same as without the split."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.data import stats
from synthray.data.build import plan as plan_module
from synthray.data.build import shard as shard_module
from synthray.data.build.plan import BuildConfig, Part, Plan
from synthray.data.build.shard import build_shard
from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.data.open import open_dataset
from synthray.data.parquet import decode_shard
from synthray.data.sources import notebook
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import BadBatch, DataError, StorageError
from synthray.storage import Store, open_store
from synthray.storage.local import LocalStore
from tests import foreign
from tests.conftest import convert_here

LARGE = tuple(range(foreign.BATCHES - 1))
"""Batches of the foreign source that ``small_shards`` splits; the last one is small."""
FEATURES = "fft/fft_batch_3.npy"


def set_sizes(patch: pytest.MonkeyPatch, large_bytes: int, shard_bytes: int) -> None:
    patch.setattr(notebook, "LARGE_BYTES", large_bytes)
    patch.setattr(plan_module, "_MAX_SHARD_BYTES", shard_bytes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


@pytest.fixture
def unsplit(source: Path, tmp_path: Path) -> Manifest:
    return convert_here(source, tmp_path / "unsplit")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split batches of 32 examples, which are 100 kB as float64, into five parts."""
    set_sizes(monkeypatch, 50_000, 12_000)


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_examples(out: Path | str) -> Examples:
    dataset = open_dataset(str(out))
    return dataset.take(np.arange(dataset.manifest.rows))


def assert_same(left: Examples, right: Examples) -> None:
    np.testing.assert_array_equal(left.features, right.features, strict=True)
    np.testing.assert_array_equal(left.labels, right.labels, strict=True)


def assert_nearly_equal(left: dict[str, dict], right: dict[str, dict]) -> None:
    """Compare statistics. Sums of floats may differ in the last bit."""
    assert left.keys() == right.keys()
    for name, found in left.items():
        for key, value in found.items():
            expected = right[name][key]
            assert value == (expected if isinstance(expected, dict) else pytest.approx(expected, abs=1e-7)), (name, key)


def make_plan(source: Path, out: Path, **options: object) -> Plan:
    return Plan.make(NotebookSource.open(str(source)), BuildConfig(str(out), **options))


@pytest.mark.usefixtures("unsplit", "small_shards")
def test_large_batches_are_split_in_order_and_keep_every_example(
    source: Path, tmp_path: Path, unsplit: Manifest
) -> None:
    plan = make_plan(source, tmp_path / "out")
    parts = [range(6), range(6, 12), range(12, 19), range(19, 25), range(25, 32)]
    assert plan.shards == (*((Part(number, rows),) for number in LARGE for rows in parts), (Part(6),))
    manifest = convert_here(source, tmp_path / "out")
    assert max(shard.bytes for shard in manifest.shards[:-1]) < 2 * 12_000  # with 7 kB of labels and footer
    assert_same(all_examples(tmp_path / "out"), all_examples(tmp_path / "unsplit"))
    assert manifest.source["batches"] == foreign.BATCHES
    assert manifest.loudness == unsplit.loudness
    assert_nearly_equal(manifest.statistics, unsplit.statistics)


def read_records(plan: Plan) -> tuple[Examples, dict[str, object]]:
    """Return the examples and statistics of all shards, without publishing them."""
    records = [build_shard(plan, number) for number in range(len(plan.shards))]
    store, table = open_store(plan.config.out), plan.source.table
    read = [decode_shard(store.read(record.shard.path), table, "shard") for record in records]
    features, labels = (np.concatenate([getattr(b, name) for b in read]) for name in ("features", "labels"))
    return Examples(features, labels), stats.merge([record.sums for record in records], table)


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    dtypes=st.lists(st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "|u1", ">i2", "<i8"]), min_size=5, max_size=5),
    fortran=st.lists(st.booleans(), min_size=5, max_size=5),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    bounds=st.tuples(st.integers(0, 3000), st.integers(1, 2000)),
    stored=st.sampled_from(["float32", "float16"]),
)
def test_any_split_gives_the_examples_of_the_whole_batches(
    sizes: list[int],
    shape: tuple[int, int],
    dtypes: list[str],
    fortran: list[bool],
    version: tuple[int, int],
    bounds: tuple[int, int],
    stored: str,
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder, random = foreign.write(Path(name) / "source", batches=0), np.random.default_rng(len(sizes))
        for number, size in enumerate(sizes):
            features = random.integers(0, 100, (size, *shape)).astype(dtypes[number])
            with (folder / f"fft/fft_batch_{number}.npy").open("wb") as file:
                np.lib.format.write_array(file, np.asarray(features, order="F" if fortran[number] else "C"), version)
            columns = [
                "constant",
                np.eye(5)[random.integers(5, size=size)],
                random.random(size),
                random.random((size, 1)),
                np.eye(2)[random.integers(2, size=size)],
            ]
            (folder / f"parameters/parameter_batches_{number}.pkl").write_bytes(pickle.dumps(columns))
        whole, whole_statistics = read_records(make_plan(folder, Path(name) / "whole", dtype=stored))
        set_sizes(patch, *bounds)
        parts, parts_statistics = read_records(make_plan(folder, Path(name) / "parts", dtype=stored))
        assert len(whole) == sum(sizes)
        assert_same(parts, whole)
        assert_nearly_equal(parts_statistics, whole_statistics)


@pytest.mark.usefixtures("unsplit", "small_shards")
def test_fortran_order_is_not_split(source: Path, tmp_path: Path) -> None:
    np.save(source / FEATURES, np.asfortranarray(np.load(source / FEATURES)))
    plan = make_plan(source, tmp_path / "out")
    assert [shard for shard in plan.shards if shard[0].batch == 3] == [(Part(3),)]
    convert_here(source, tmp_path / "out")
    assert_same(all_examples(tmp_path / "out"), all_examples(tmp_path / "unsplit"))


def test_plan_of_small_batches_reads_no_header(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(LocalStore, "read_range", lambda *arguments: read.append(arguments))
    plan = make_plan(source, tmp_path / "out")
    assert (read, plan.shards) == ([], tuple((Part(number),) for number in range(foreign.BATCHES)))


@pytest.mark.usefixtures("small_shards")
def test_plan_and_tasks_read_only_what_they_need(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, int] = {}

    def counted(function: Callable[..., bytes]) -> Callable[..., bytes]:
        def count(store: Store, path: str, *part: int) -> bytes:
            raw = function(store, path, *part)
            read[path] = read.get(path, 0) + len(raw)
            return raw

        return count

    for name in ("read", "read_range"):
        monkeypatch.setattr(LocalStore, name, counted(getattr(LocalStore, name)))
    plan = make_plan(source, tmp_path / "out")
    headers = {path: size for path, size in read.items() if path.startswith("fft/fft_batch") and "6" not in path}
    assert (len(headers), max(headers.values())) == (6, 10_012)
    read.clear()
    for number in range(15, 20):
        build_shard(plan, number)
    size = (source / FEATURES).stat().st_size
    assert size - 128 + 5 * 10_012 == read[FEATURES]
    assert read["parameters/parameter_batches_3.pkl"] == (source / "parameters/parameter_batches_3.pkl").stat().st_size


@pytest.mark.usefixtures("small_shards")
def test_large_files_of_one_size_and_time_keep_their_own_labels(source: Path, tmp_path: Path) -> None:
    paths = [source / f"parameters/parameter_batches_{number}.pkl" for number in (0, 1)]
    for number, path in enumerate(paths):
        path.write_bytes(pickle.dumps(foreign.batch(number)[1]))
    for path in (*paths, *source.glob("fft/*")):
        os.utime(path, (1e9, 1e9))
    opened = NotebookSource.open(str(source))
    assert opened.stamp(0) == opened.stamp(1)
    for number in (0, 1, 0):
        np.testing.assert_array_equal(opened.read(number, range(4, 7)).labels[:, 1], foreign.batch(number)[1][2][4:7])


CHANGES = {
    "shorter": (lambda path: os.truncate(path, 60_000), "it changed while it was read: 9184 bytes instead of 50688"),
    "missing": (Path.unlink, r"it is missing, but parameters/parameter_batches_3\.pkl exists"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("small_shards")
def test_large_file_that_changes_while_it_is_read_is_bad(change: str, source: Path) -> None:
    act, message = CHANGES[change]
    opened = NotebookSource.open(str(source))
    act(source / FEATURES)
    with pytest.raises(BadBatch, match=rf"^fft/fft_batch_3\.npy: {message}"):
        opened.read(3, range(16, 32))


@pytest.mark.faults
@pytest.mark.usefixtures("small_shards")
def test_split_build_that_was_killed_resumes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_here(source, tmp_path / "uninterrupted")
    plan = make_plan(source, tmp_path / "out")
    finished = (0, 3, 4, 11, 30)
    for number in finished:
        build_shard(plan, number)
    made: list[int] = []
    original = shard_module._encode_shard

    def encode(plan: Plan, number: int) -> object:
        made.append(number)
        return original(plan, number)

    monkeypatch.setattr(shard_module, "_encode_shard", encode)
    convert_here(source, tmp_path / "out")
    assert made == [number for number in range(31) if number not in finished]
    assert all_files(tmp_path / "out") == all_files(tmp_path / "uninterrupted")


@pytest.mark.usefixtures("small_shards")
def test_damaged_part_is_repaired(source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    before = all_files(tmp_path / "out")
    (tmp_path / "out" / manifest.shards[7].path).write_bytes(b"torn")
    (tmp_path / "out" / manifest.shards[8].path).unlink()
    convert_here(source, tmp_path / "out")
    assert all_files(tmp_path / "out") == before


@pytest.mark.usefixtures("small_shards")
def test_records_of_a_changed_large_batch_are_not_used(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(source, tmp_path / "out")
    before = [plan.fingerprint(number) for number in range(len(plan.shards))]
    assert len(set(before)) == len(before)
    np.save(source / FEATURES, np.concatenate([np.load(source / FEATURES)] * 2))
    again = make_plan(source, tmp_path / "out")
    assert [again.fingerprint(number) == before[number] for number in (14, 15, 19)] == [True, False, False]
    for sizes in ((50_000, 20_000), (10**9, 12_000)):
        set_sizes(monkeypatch, *sizes)
        assert make_plan(source, tmp_path / "out").fingerprint(0) != before[0]


def save(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / FEATURES, change(np.load(folder / FEATURES)))


def with_value(value: float, *examples: int) -> Callable[[Path], object]:
    def change(features: np.ndarray) -> np.ndarray:
        features[list(examples), 5, 6] = value
        return features

    return save(change)


def with_columns(change: Callable[[list], object]) -> Callable[[Path], object]:
    def corrupt(folder: Path) -> None:
        path = folder / "parameters/parameter_batches_3.pkl"
        path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))

    return corrupt


def change_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / FEATURES).write_bytes(change((folder / FEATURES).read_bytes()))


def set_pitch(columns: list, example: int, value: float) -> list:
    columns[2] = columns[2].copy()
    columns[2][example] = value
    return columns


BAD = {
    "NaN in one part": (with_value(np.nan, 20), r"npy: the value at \(20, 5, 6\) \(example, frame, bin\) is nan"),
    "inf in several parts": (
        with_value(np.inf, 9, 30),
        r"npy: the value at \(9, 5, 6\) \(example, frame, bin\) is inf",
    ),
    "too large for float16": (with_value(1e5, 31), r"npy: the value 100000 is too large for float16"),
    "other bins": (
        save(lambda features: features[:, :, :-1]),
        r"npy: its shape is \(32, 12, 32\), but other batches have \(examples, 12, 33\)",
    ),
    "truncated": (change_bytes(lambda raw: raw[:-8]), "npy: it is truncated or too long: 101368 bytes .* 101376"),
    "a header of a petabyte": (
        change_bytes(lambda raw: raw.replace(b"(32, 12, 33)", b"(9999,99,99)")),
        "npy: it is truncated or too long: 101376 bytes of data instead of",
    ),
    "a corrupt header": (change_bytes(lambda raw: b"torn" + raw[4:]), r"npy: it is not a whole \.npy file"),
    "a header length of gigabytes": (
        change_bytes(lambda raw: raw[:6] + b"\x02\x00\xff\xff\xff\xff" + raw[12:]),
        r"npy: it is not a whole \.npy file",
    ),
    "complex numbers": (save(lambda features: features + 1j), "npy: it holds complex128 of shape"),
    "no parameters": (
        lambda folder: (folder / "parameters/parameter_batches_3.pkl").unlink(),
        r"pkl: it is missing, but fft/fft_batch_3\.npy exists",
    ),
    "another number of parameters": (
        with_columns(lambda columns: [*columns[:2], columns[2][:-1], *columns[3:]]),
        r"pkl: parameter 2 \(1_osc_pitch\) has the shape \(31,\), not \(32,\)",
    ),
    "a bad label": (
        with_columns(lambda columns: set_pitch(columns, 29, np.nan)),
        r"pkl: parameter 2 \(1_osc_pitch\), example 29: the value is nan",
    ),
    "a pickle that calls": (
        lambda folder: (folder / "parameters/parameter_batches_3.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR."),
        r"pkl: it calls os\.system",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("small_shards")
def test_bad_large_batch_is_named_once_and_skipped_as_a_whole(case: str, source: Path, tmp_path: Path) -> None:
    corrupt, message = BAD[case]
    corrupt(source)
    with pytest.raises(DataError, match=f"^1 of 7 batches cannot be used; nothing was published:\n  .*{message}"):
        convert_here(source, tmp_path / "out", dtype="float16")
    manifest = convert_here(source, tmp_path / "out", dtype="float16", skip_bad=True)
    [skip] = manifest.skipped
    assert re.search(message, f"{skip.source}: {skip.reason}")
    assert manifest.source["batches"] == 6
    kept = np.concatenate([foreign.batch(number)[0] for number in (0, 1, 2, 4, 5, 6)])
    np.testing.assert_array_equal(all_examples(tmp_path / "out").features, kept.astype(np.float16))
    assert len(list((tmp_path / "out" / "shards").iterdir())) == len(manifest.shards) == 5 * 3 + 1
    assert convert_here(source, tmp_path / "out", dtype="float16", skip_bad=True) == manifest


@pytest.mark.parametrize("is_bad", [False, True])
@pytest.mark.usefixtures("small_shards")
def test_labels_of_a_large_batch_are_decoded_once_for_all_threads(
    is_bad: bool, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, decoded, together = NotebookSource.open(str(source)), [], threading.Barrier(3)
    original = notebook.load_plain

    def decode(raw: bytes) -> object:
        decoded.append(1)
        time.sleep(0.1)
        return None if is_bad else original(raw)

    def read(first: int) -> Examples | str:
        together.wait()
        try:
            return opened.read(3, range(first, first + 2))
        except BadBatch as error:
            return str(error)

    monkeypatch.setattr(notebook, "load_plain", decode)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(read, (0, 2, 4)))
    assert len(decoded) == 1
    if is_bad:
        assert set(found) == {"parameters/parameter_batches_3.pkl: it holds a NoneType instead of a list"}
    else:
        np.testing.assert_array_equal(np.concatenate([each.labels for each in found]), opened.read(3).labels[:6])


@pytest.mark.usefixtures("small_shards")
def test_labels_of_a_large_batch_are_read_again_after_an_error_of_storage(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, original, errors = NotebookSource.open(str(source)), notebook.load_plain, [StorageError("no connection")]

    def decode(raw: bytes) -> object:
        if errors:
            raise errors.pop()
        return original(raw)

    monkeypatch.setattr(notebook, "load_plain", decode)
    with pytest.raises(StorageError):
        opened.read(3, range(2))
    assert len(opened.read(3, range(2))) == 2


@pytest.mark.usefixtures("small_shards")
def test_data_set_whose_only_batch_is_bad_is_not_published(tmp_path: Path) -> None:
    source = foreign.write(tmp_path / "one", batches=1)
    path = source / "fft/fft_batch_0.npy"
    features = np.load(path)
    features[8] = np.nan
    np.save(path, features)
    with pytest.raises(DataError, match=r"^none of the 1 batches can be used\. The first: fft/fft_batch_0.npy: the v"):
        convert_here(source, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.s3
@pytest.mark.usefixtures("small_shards")
def test_large_batches_in_a_bucket_give_the_same_shards(source: Path, tmp_path: Path, on_s3: str) -> None:
    local = convert_here(source, tmp_path / "out")
    bucket = open_store(f"{on_s3}/source")
    for path, raw in all_files(source).items():
        bucket.write(path, raw)
    assert convert_here(bucket.uri, f"{on_s3}/out") == local


CONVERT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.shard import build_shard
from synthray.data.sources.notebook import NotebookSource

def peak_mb():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000

before = peak_mb()
plan = Plan.make(NotebookSource.open(sys.argv[1]), BuildConfig(sys.argv[2]))
with ThreadPoolExecutor(3) as pool:
    rows = [record.shard.rows for record in pool.map(lambda number: build_shard(plan, number), range(len(plan.shards)))]
print(sum(rows), max(rows), peak_mb() - before)
"""


@pytest.mark.slow
def test_large_batch_is_converted_in_memory_for_a_few_shards(tmp_path: Path) -> None:
    source, examples = foreign.write(tmp_path / "source", batches=0), 15_000
    np.lib.format.open_memmap(source / "fft/fft_batch_0.npy", "w+", np.float64, (examples, 10, 500))  # 600 MB, sparse
    columns = ["constant", np.eye(5)[[0] * examples], *np.zeros((2, examples)), np.eye(2)[[0] * examples]]
    (source / "parameters/parameter_batches_0.pkl").write_bytes(pickle.dumps(columns))
    command = [sys.executable, "-c", CONVERT, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, largest, grown_mb = map(float, done.stdout.split())
    assert (rows, largest) == (examples, 600)
    assert grown_mb < 500
