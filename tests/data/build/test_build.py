"""From batches to a published data set: complete or not at all, and safe to run again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthray.data.build import plan as plan_module
from synthray.data.build import shard as shard_module
from synthray.data.build.plan import BuildConfig, Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard
from synthray.data.card.readme import CARD, PICTURE
from synthray.data.manifest import Manifest
from synthray.data.open import newest_dataset, open_dataset
from synthray.data.order import PADDING
from synthray.data.sources.notebook import NotebookSource
from synthray.errors import ConfigError, Conflict, CorruptShard, DataError, NotFound
from synthray.storage import open_store
from synthray.storage.local import LocalStore
from tests import foreign
from tests.conftest import convert_here

EXAMPLES = 6 * 32 + 11


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of(manifest: Manifest) -> set[str]:
    """Return the paths of all files of a published data set."""
    return {"manifest.json", CARD, PICTURE, *(shard.path for shard in manifest.shards)}


def test_convert_keeps_every_example_in_order(source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    assert manifest.rows == EXAMPLES
    assert manifest.feature_shape == (foreign.FRAMES, foreign.BINS)
    assert manifest.source["batches"] == foreign.BATCHES
    dataset = open_dataset(str(tmp_path / "out"))
    assert dataset.manifest == manifest
    read = [dataset.read_shard(number) for number in range(len(manifest.shards))]
    originals = [foreign.batch(number) for number in range(foreign.BATCHES)]
    np.testing.assert_array_equal(
        np.concatenate([batch.features for batch in read]),
        np.concatenate([features for features, _ in originals]).astype(np.float32),
    )
    labels = np.concatenate([batch.labels for batch in read])
    np.testing.assert_array_equal(labels[:, 1], np.concatenate([columns[2] for _, columns in originals]))
    np.testing.assert_array_equal(labels[:, 3], np.concatenate([columns[4].argmax(axis=1) for _, columns in originals]))


def test_take_returns_any_rows_and_zeros_for_padding(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    rows = np.array([EXAMPLES - 1, 0, PADDING, 40, 40, 33])
    batch = dataset.take(rows)
    assert not batch.features[2].any()
    for place in (0, 1, 3, 4, 5):
        features, columns = foreign.batch(int(rows[place]) // 32)
        np.testing.assert_array_equal(batch.features[place], features[rows[place] % 32].astype(np.float32))
        assert batch.labels[place, 1] == np.float32(columns[2][rows[place] % 32])


def test_read_examples_stay_unchanged_while_more_is_read(source: Path, tmp_path: Path) -> None:
    """Buffers are reused, but never while an array refers to them."""
    manifest = convert_here(source, tmp_path / "out")
    dataset, batches = open_dataset(str(tmp_path / "out")), NotebookSource.open(str(source))
    for read, count in ((dataset.read_shard, len(manifest.shards)), (batches.read, foreign.BATCHES)):
        kept = read(0)
        features = kept.features.copy()
        for _ in range(3):
            for number in range(1, count):
                read(number)
        np.testing.assert_array_equal(kept.features, features)


@pytest.mark.parametrize("row", [-2, EXAMPLES])
def test_take_rows_out_of_range_raises(source: Path, tmp_path: Path, row: int) -> None:
    convert_here(source, tmp_path / "out")
    with pytest.raises(IndexError, match=f"not in a data set of {EXAMPLES} rows"):
        open_dataset(str(tmp_path / "out")).take(np.array([0, row]))


def test_convert_run_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    first = convert_here(source, tmp_path / "out")
    before = all_files(tmp_path / "out")
    assert convert_here(source, tmp_path / "out") == first
    assert all_files(tmp_path / "out") == before
    assert not [name for name in before if "unfinished" in name]


def test_convert_after_a_killed_run_builds_only_the_missing_shards(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_here(source, tmp_path / "uninterrupted")
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    for number in (0, 2, 5):
        build_shard(plan, number)
    with pytest.raises(NotFound, match="no finished data set"):
        open_dataset(str(tmp_path / "out"))
    made: list[int] = []
    original = shard_module._encode_shard
    monkeypatch.setattr(
        shard_module,
        "_encode_shard",
        lambda plan, number: made.append(number) or original(plan, number),
    )
    convert_here(source, tmp_path / "out")
    assert made == [1, 3, 4, 6]
    assert all_files(tmp_path / "out") == all_files(tmp_path / "uninterrupted")


class Killed(BaseException):
    """The end of the process; synthray does not catch it."""


@pytest.mark.slow
def test_convert_killed_before_any_store_change_resumes_with_the_same_result(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_here(source, tmp_path / "uninterrupted")
    uninterrupted = all_files(tmp_path / "uninterrupted")
    changes, fatal = 0, None

    def killable(change: Callable[..., object]) -> Callable[..., object]:
        def act(*arguments: object, **options: object) -> object:
            nonlocal changes
            if changes == fatal:
                raise Killed
            changes += 1
            return change(*arguments, **options)

        return act

    for name in ("write", "delete"):
        monkeypatch.setattr(LocalStore, name, killable(getattr(LocalStore, name)))
    convert_here(source, tmp_path / "counted")
    num_changes = changes
    assert num_changes > 3 * len(uninterrupted) / 2  # shards and records, manifest, card, removal of the records
    for number in range(num_changes):
        out, changes, fatal = tmp_path / str(number), 0, number
        with pytest.raises(Killed):
            convert_here(source, out)
        fatal = None
        convert_here(source, out)
        assert all_files(out) == uninterrupted, f"killed before change {number} of {num_changes}"


DAMAGE = {
    "flipped byte": lambda path: path.write_bytes(
        path.read_bytes()[:5000] + bytes([path.read_bytes()[5000] ^ 1]) + path.read_bytes()[5001:]
    ),
    "truncated": lambda path: os.truncate(path, 100),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_convert_rebuilds_a_damaged_shard_of_an_unfinished_run(damage: str, source: Path, tmp_path: Path) -> None:
    """A power loss may leave a record without its complete shard."""
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    record = build_shard(plan, 1)
    DAMAGE[damage](tmp_path / "out" / record.shard.path)
    assert convert_here(source, tmp_path / "out").rows == EXAMPLES
    open_dataset(str(tmp_path / "out")).read_shard(1)


def test_convert_rebuilds_a_shard_whose_batch_has_changed(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    build_shard(plan, 0)
    path = source / "fft" / "fft_batch_0.npy"
    np.save(path, np.load(path) + 1)
    manifest = convert_here(source, tmp_path / "out")
    batch = open_dataset(str(tmp_path / "out")).read_shard(0)
    np.testing.assert_array_equal(batch.features[:32], (foreign.batch(0)[0] + 1).astype(np.float32))
    assert manifest.rows == EXAMPLES


def test_convert_into_another_data_set_is_refused_and_changes_nothing(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out")
    before = all_files(tmp_path / "out")
    np.save(source / "fft" / "fft_batch_0.npy", np.load(source / "fft" / "fft_batch_0.npy") + 1)
    with pytest.raises(Conflict, match=r"out: already holds another data set\. .*; give another --out"):
        convert_here(source, tmp_path / "out")
    assert all_files(tmp_path / "out") == before


def test_plan_for_a_published_data_set_of_another_kind_is_refused(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out")
    opened = NotebookSource.open(str(source))
    with pytest.raises(
        Conflict, match=r"out: already holds a data set with another dtype \(float32, not float16\)\. .* --out"
    ):
        Plan.make(opened, BuildConfig(str(tmp_path / "out"), "float16"))


def test_append_of_batches_that_the_base_holds_is_refused(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "first")
    with pytest.raises(DataError, match=r"first: already holds these batches\. Nothing was published"):
        convert_here(source, tmp_path / "second", append=str(tmp_path / "first"))
    other = foreign.write(tmp_path / "other")
    np.save(other / "fft" / "fft_batch_0.npy", np.load(other / "fft" / "fft_batch_0.npy") + 1)
    both = convert_here(other, tmp_path / "second", append=str(tmp_path / "first"))
    assert both.rows == 2 * EXAMPLES
    assert convert_here(other, tmp_path / "second", append=str(tmp_path / "first")) == both
    with pytest.raises(DataError, match=r"second: already holds these batches"):
        convert_here(source, tmp_path / "third", append=str(tmp_path / "second"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_published_shard_is_refused_by_readers_and_repaired_by_convert(
    damage: str, source: Path, tmp_path: Path
) -> None:
    manifest = convert_here(source, tmp_path / "out")
    before = all_files(tmp_path / "out")
    path = tmp_path / "out" / manifest.shards[1].path
    DAMAGE[damage](path)
    dataset = open_dataset(str(tmp_path / "out"))
    dataset.read_shard(0)
    with pytest.raises(CorruptShard, match=path.name):
        dataset.read_shard(1)
    with pytest.raises(CorruptShard, match=path.name):
        dataset.take(np.array([40]))
    convert_here(source, tmp_path / "out")
    assert all_files(tmp_path / "out") == before


@pytest.mark.faults
def test_publish_by_two_jobs_at_once_keeps_the_first(source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    opened = NotebookSource.open(str(source))
    plans = [Plan.make(opened, BuildConfig(out, dtype)) for dtype in ("float32", "float16")]
    records = [[build_shard(plan, number) for number in range(len(plan.shards))] for plan in plans]
    won = publish(plans[0], records[0])
    before = all_files(tmp_path / "out")
    assert set(before) == files_of(won)
    with pytest.raises(Conflict, match="already holds another data set"):
        publish(plans[1], records[1])
    assert all_files(tmp_path / "out") == before
    dataset = open_dataset(out)
    assert dataset.manifest == won
    for number in range(len(won.shards)):
        dataset.read_shard(number)


def test_build_shard_after_another_job_published_writes_nothing(source: Path, tmp_path: Path) -> None:
    late = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out"), "float16"))
    won = convert_here(source, tmp_path / "out")
    build_shard(late, 0)
    assert set(all_files(tmp_path / "out")) == files_of(won)


@pytest.mark.parametrize("odd", [0, 3, 6])
def test_convert_skips_the_one_batch_of_another_shape(odd: int, source: Path, tmp_path: Path) -> None:
    path = source / "fft" / f"fft_batch_{odd}.npy"
    np.save(path, np.load(path)[:, :, :-1])
    manifest = convert_here(source, tmp_path / "out", skip_bad=True)
    assert [skip.source for skip in manifest.skipped] == [f"fft/fft_batch_{odd}.npy"]
    assert manifest.feature_shape == (12, 33)


def corrupt_two_batches(source: Path) -> None:
    (source / "fft" / "fft_batch_2.npy").write_bytes(b"torn")
    path = source / "fft" / "fft_batch_4.npy"
    np.save(path, np.load(path)[:, :, :-1])


def test_convert_with_bad_batches_lists_all_and_fails_unless_they_are_skipped(source: Path, tmp_path: Path) -> None:
    corrupt_two_batches(source)
    with pytest.raises(DataError) as caught:
        convert_here(source, tmp_path / "out")
    message = str(caught.value)
    assert "2 of 7 batches cannot be used; nothing was published" in message
    assert "fft/fft_batch_2.npy: it is not a whole .npy file" in message
    assert "fft/fft_batch_4.npy: its shape is (32, 12, 32), but other batches have (examples, 12, 33)" in message
    assert "--skip-bad" in message
    with pytest.raises(NotFound):
        open_dataset(str(tmp_path / "out"))
    manifest = convert_here(source, tmp_path / "out", skip_bad=True)
    assert manifest.rows == EXAMPLES - 64
    assert [skip.source for skip in manifest.skipped] == ["fft/fft_batch_2.npy", "fft/fft_batch_4.npy"]
    assert manifest.source["batches"] == 5
    assert open_dataset(str(tmp_path / "out")).manifest == manifest


def test_build_shard_without_its_bad_batches_is_built_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "_SHARDS_OF_A_SMALL_DATA_SET", 3)
    (source / "fft" / "fft_batch_4.npy").write_bytes(b"torn")
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out"), skip_bad=True))
    made = [build_shard(plan, number) for number in range(len(plan.shards))]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").iterdir()}
    assert [build_shard(plan, number) for number in range(len(plan.shards))] == made
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").iterdir()} == before
    assert [skip.source for skip in publish(plan, made).skipped] == ["fft/fft_batch_4.npy"]


def test_convert_reads_a_fixed_batch_again(source: Path, tmp_path: Path) -> None:
    corrupt_two_batches(source)
    with pytest.raises(DataError):
        convert_here(source, tmp_path / "out")
    for number in (2, 4):
        np.save(source / "fft" / f"fft_batch_{number}.npy", foreign.batch(number)[0])
    manifest = convert_here(source, tmp_path / "out")
    assert manifest.rows == EXAMPLES
    # a query over shards/*.parquet would count leftovers of the failed run
    assert set(all_files(tmp_path / "out")) == files_of(manifest)


def test_publish_removes_the_shards_of_other_runs(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out"), "float16"))
    for number in (0, 1):
        build_shard(plan, number)
    manifest = convert_here(source, tmp_path / "out")
    assert set(all_files(tmp_path / "out")) == files_of(manifest)


def test_publish_keeps_files_that_synthray_did_not_write(source: Path, tmp_path: Path) -> None:
    out, foreign_files = tmp_path / "out", ("shards/train-000.tar", "shards/first.parquet", "unfinished/novel.txt")
    for name in foreign_files:
        open_store(out).write(name, b"precious")
    convert_here(source, out)
    assert all((out / name).read_bytes() == b"precious" for name in foreign_files)
    open_store(tmp_path / "project").write(CARD, b"# My project")
    with pytest.raises(Conflict, match=r"project/README\.md: this file is not a data set's card\. Give another --out"):
        convert_here(source, tmp_path / "project")
    assert all_files(tmp_path / "project") == {CARD: b"# My project"}


def test_publish_without_a_shard_in_the_store_fails(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    records = [build_shard(plan, number) for number in range(len(plan.shards))]
    (tmp_path / "out" / records[3].shard.path).unlink()
    with pytest.raises(DataError, match=r"00003-.*parquet: the shard is missing\..*a URI that all machines share"):
        publish(plan, records)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_build_config_makes_paths_absolute_and_checks_the_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert BuildConfig("out").out == str(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"dtype: unknown value \('int8'\)\. Use float32 or float16"):
        BuildConfig("x", "int8")


def test_convert_without_a_readable_batch_fails(source: Path, tmp_path: Path) -> None:
    for path in (source / "fft").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 7 batches can be read\. The first: fft/fft_batch_0"):
        convert_here(source, tmp_path / "out", skip_bad=True)


def test_convert_values_beyond_float16_are_bad(source: Path, tmp_path: Path) -> None:
    path = source / "fft" / "fft_batch_1.npy"
    np.save(path, np.load(path) + 70_000)
    with pytest.raises(DataError, match=r"fft_batch_1\.npy: the value 7000\d\.?\d* is too large for float16"):
        convert_here(source, tmp_path / "out", dtype="float16")


def test_manifest_has_all_facts_and_is_checked_when_loaded(source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    body = json.loads(path.read_text())
    assert body["format"] == "synthray-dataset/1"
    assert str(tmp_path) not in path.read_text()
    assert body["statistics"]["1_osc_pitch"].keys() == {"mean", "deviation", "minimum", "maximum", "histogram"}
    assert sum(body["statistics"]["env_0"]["counts"].values()) == EXAMPLES
    assert sum(body["loudness"]["counts"]) == EXAMPLES
    for corrupt, message in (
        ("{", "is corrupt"),
        (json.dumps(body | {"format": "other/9"}), "is of the format 'other/9'"),
        (json.dumps({k: v for k, v in body.items() if k != "shards"}), "is corrupt"),
        (json.dumps(body | {"parameters": [{"kind": "odd"}]}), "parameter 0 of the table"),
    ):
        path.write_text(corrupt)
        with pytest.raises(DataError, match=message):
            open_dataset(str(tmp_path / "out"))
    assert replace(manifest, skipped=()).digest == manifest.digest
    assert replace(manifest, feature_dtype="float16").digest != manifest.digest
    assert Manifest.decode(manifest.encode(), "x") == manifest


def test_newest_dataset_is_found_or_its_command_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path / "home"))
    with pytest.raises(NotFound, match="synthray convert"):
        newest_dataset()
    convert_here(source, tmp_path / "home" / "data" / "one")
    assert newest_dataset() == str(tmp_path / "home" / "data" / "one")
