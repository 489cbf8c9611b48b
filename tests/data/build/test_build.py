"""From batches to a published data set: all of it or nothing, and safe to run again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthray.data.build import plan as plan_module
from synthray.data.build import shard as build_module
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
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable
from tests import foreign
from tests.conftest import convert_here

EXAMPLES = 6 * 32 + 11


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return foreign.write(tmp_path / "training_data")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of(manifest: Manifest) -> set[str]:
    """All that a published data set consists of."""
    return {"manifest.json", CARD, PICTURE, *(shard.path for shard in manifest.shards)}


def test_every_example_arrives_in_order(source: Path, tmp_path: Path) -> None:
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


def test_any_rows_can_be_taken(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out")
    dataset = open_dataset(str(tmp_path / "out"))
    rows = np.array([EXAMPLES - 1, 0, PADDING, 40, 40, 33])
    batch = dataset.take(rows)
    assert not batch.features[2].any()
    for place in (0, 1, 3, 4, 5):
        features, columns = foreign.batch(int(rows[place]) // 32)
        np.testing.assert_array_equal(batch.features[place], features[rows[place] % 32].astype(np.float32))
        assert batch.labels[place, 1] == np.float32(columns[2][rows[place] % 32])


def test_what_was_read_stays_as_it_is_while_more_is_read(source: Path, tmp_path: Path) -> None:
    """The memory of files is used again, but never while anything refers to it."""
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
def test_rows_that_there_are_none_of_are_told(source: Path, tmp_path: Path, row: int) -> None:
    convert_here(source, tmp_path / "out")
    with pytest.raises(IndexError, match=f"of a data set that has {EXAMPLES}"):
        open_dataset(str(tmp_path / "out")).take(np.array([0, row]))


def test_running_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    first = convert_here(source, tmp_path / "out")
    before = everything(tmp_path / "out")
    assert convert_here(source, tmp_path / "out") == first
    assert everything(tmp_path / "out") == before
    assert not [name for name in before if "unfinished" in name]


def test_a_run_that_was_killed_goes_on_and_ends_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_here(source, tmp_path / "undisturbed")
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    for number in (0, 2, 5):
        build_shard(plan, number)
    with pytest.raises(NotFound, match="no finished data set"):
        open_dataset(str(tmp_path / "out"))
    made: list[int] = []
    original = build_module._make_shard
    monkeypatch.setattr(
        build_module,
        "_make_shard",
        lambda plan, number, *rest, **how: made.append(number) or original(plan, number, *rest, **how),
    )
    convert_here(source, tmp_path / "out")
    assert made == [1, 3, 4, 6]
    assert everything(tmp_path / "out") == everything(tmp_path / "undisturbed")


class Killed(BaseException):
    """Nothing of ours catches it."""


def test_killed_before_any_change_to_the_store_it_goes_on_and_ends_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_here(source, tmp_path / "undisturbed")
    undisturbed = everything(tmp_path / "undisturbed")
    changes, fatal = 0, None

    def mortal(change: Callable[..., object]) -> Callable[..., object]:
        def act(*arguments: object, **options: object) -> object:
            nonlocal changes
            if changes == fatal:
                raise Killed
            changes += 1
            return change(*arguments, **options)

        return act

    for name in ("write", "delete"):
        monkeypatch.setattr(LocalStore, name, mortal(getattr(LocalStore, name)))
    convert_here(source, tmp_path / "whole")
    most = changes
    assert most > 3 * len(undisturbed) / 2  # shards and records, the manifest, the card; and the records' removal
    for number in range(most):
        out, changes, fatal = tmp_path / str(number), 0, number
        with pytest.raises(Killed):
            convert_here(source, out)
        fatal = None
        convert_here(source, out)
        assert everything(out) == undisturbed, f"killed before change {number} of {most}"


def test_a_shard_that_got_lost_is_made_again(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    record = build_shard(plan, 1)
    (tmp_path / "out" / record.shard.path).unlink()
    assert convert_here(source, tmp_path / "out").rows == EXAMPLES
    open_dataset(str(tmp_path / "out")).read_shard(1)


def test_a_shard_that_was_cut_short_is_made_again(source: Path, tmp_path: Path) -> None:
    """As a machine that lost its power may leave it, with its record."""
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    record = build_shard(plan, 1)
    os.truncate(tmp_path / "out" / record.shard.path, 100)
    assert convert_here(source, tmp_path / "out").rows == EXAMPLES
    open_dataset(str(tmp_path / "out")).read_shard(1)


def test_what_changed_in_between_is_made_again(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    build_shard(plan, 0)
    path = source / "fft" / "fft_batch_0.npy"
    np.save(path, np.load(path) + 1)
    manifest = convert_here(source, tmp_path / "out")
    batch = open_dataset(str(tmp_path / "out")).read_shard(0)
    np.testing.assert_array_equal(batch.features[:32], (foreign.batch(0)[0] + 1).astype(np.float32))
    assert manifest.rows == EXAMPLES


def test_another_data_set_in_the_same_place_is_refused_and_harms_nothing(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out")
    before = everything(tmp_path / "out")
    np.save(source / "fft" / "fft_batch_0.npy", np.load(source / "fft" / "fft_batch_0.npy") + 1)
    with pytest.raises(Conflict, match=r"out holds another data set; .* give another --out"):
        convert_here(source, tmp_path / "out")
    assert everything(tmp_path / "out") == before


def test_a_data_set_of_another_kind_in_the_same_place_is_refused_before_anything_is_made(
    source: Path, tmp_path: Path
) -> None:
    convert_here(source, tmp_path / "out")
    opened = NotebookSource.open(str(source))
    with pytest.raises(
        Conflict, match=r"out holds a data set with another dtype: float16 here, float32 there; .* --out"
    ):
        Plan.make(opened, BuildConfig(str(tmp_path / "out"), "float16"))


def test_the_same_batches_are_not_appended_twice(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "first")
    with pytest.raises(DataError, match=r"first holds these very batches already"):
        convert_here(source, tmp_path / "second", append=str(tmp_path / "first"))
    other = foreign.write(tmp_path / "other")
    np.save(other / "fft" / "fft_batch_0.npy", np.load(other / "fft" / "fft_batch_0.npy") + 1)
    both = convert_here(other, tmp_path / "second", append=str(tmp_path / "first"))
    assert both.rows == 2 * EXAMPLES
    assert convert_here(other, tmp_path / "second", append=str(tmp_path / "first")) == both
    with pytest.raises(DataError, match=r"second holds these very batches already"):
        convert_here(source, tmp_path / "third", append=str(tmp_path / "second"))


@pytest.mark.parametrize("harm", ["a byte", "cut short", "gone"])
def test_a_published_shard_that_is_harmed_is_mended_by_the_same_command(
    harm: str, source: Path, tmp_path: Path
) -> None:
    manifest = convert_here(source, tmp_path / "out")
    before = everything(tmp_path / "out")
    path = tmp_path / "out" / manifest.shards[3].path
    raw = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if harm == "cut short" else raw[:500] + bytes([raw[500] ^ 1]) + raw[501:])
    with pytest.raises(CorruptShard, match="the job that made the data set mends it when it is run again"):
        open_dataset(str(tmp_path / "out")).read_shard(3)
    convert_here(source, tmp_path / "out")
    assert everything(tmp_path / "out") == before


def test_of_two_jobs_at_once_one_wins_and_the_other_says_so(source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    opened = NotebookSource.open(str(source))
    plans = [Plan.make(opened, BuildConfig(out, dtype)) for dtype in ("float32", "float16")]
    records = [[build_shard(plan, number) for number in range(len(plan.shards))] for plan in plans]
    won = publish(plans[0], records[0])
    with pytest.raises(Conflict):
        publish(plans[1], records[1])
    dataset = open_dataset(out)
    assert dataset.manifest == won
    for number in range(len(won.shards)):
        dataset.read_shard(number)
    assert set(everything(tmp_path / "out")) == files_of(won)


def test_a_job_that_is_late_writes_nothing_beside_the_published_shards(source: Path, tmp_path: Path) -> None:
    late = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out"), "float16"))
    won = convert_here(source, tmp_path / "out")
    build_shard(late, 0)
    assert set(everything(tmp_path / "out")) == files_of(won)


@pytest.mark.parametrize("odd", [0, 3, 6])
def test_one_batch_of_another_shape_is_the_bad_one_wherever_it_is(odd: int, source: Path, tmp_path: Path) -> None:
    path = source / "fft" / f"fft_batch_{odd}.npy"
    np.save(path, np.load(path)[:, :, :-1])
    manifest = convert_here(source, tmp_path / "out", skip_bad=True)
    assert [skip.source for skip in manifest.skipped] == [f"fft/fft_batch_{odd}.npy"]
    assert manifest.feature_shape == (12, 33)


def spoil(source: Path) -> None:
    (source / "fft" / "fft_batch_2.npy").write_bytes(b"torn")
    path = source / "fft" / "fft_batch_4.npy"
    np.save(path, np.load(path)[:, :, :-1])


def test_bad_batches_fail_the_job_and_all_of_them_are_listed(source: Path, tmp_path: Path) -> None:
    spoil(source)
    with pytest.raises(DataError) as caught:
        convert_here(source, tmp_path / "out")
    message = str(caught.value)
    assert "2 of 7 batches cannot be used; nothing was published" in message
    assert "fft/fft_batch_2.npy: it is not a whole .npy file" in message
    assert "fft/fft_batch_4.npy: it has the shape (32, 12, 32), others (examples, 12, 33)" in message
    assert "--skip-bad" in message
    with pytest.raises(NotFound):
        open_dataset(str(tmp_path / "out"))


def test_bad_batches_can_be_left_out_and_stay_listed(source: Path, tmp_path: Path) -> None:
    spoil(source)
    with pytest.raises(DataError):
        convert_here(source, tmp_path / "out")
    manifest = convert_here(source, tmp_path / "out", skip_bad=True)
    assert manifest.rows == EXAMPLES - 64
    assert [skip.source for skip in manifest.skipped] == ["fft/fft_batch_2.npy", "fft/fft_batch_4.npy"]
    assert manifest.source["batches"] == 5
    assert open_dataset(str(tmp_path / "out")).manifest == manifest


def test_a_shard_without_its_bad_batches_is_made_once(
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


def test_a_mended_batch_is_read_again(source: Path, tmp_path: Path) -> None:
    spoil(source)
    with pytest.raises(DataError):
        convert_here(source, tmp_path / "out")
    for number in (2, 4):
        np.save(source / "fft" / f"fft_batch_{number}.npy", foreign.batch(number)[0])
    manifest = convert_here(source, tmp_path / "out")
    assert manifest.rows == EXAMPLES
    # and nothing stays of the run_trial before, which a query over all shards would count
    assert set(everything(tmp_path / "out")) == files_of(manifest)


def test_what_other_runs_left_is_swept_away(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out"), "float16"))
    for number in (0, 1):
        build_shard(plan, number)
    manifest = convert_here(source, tmp_path / "out")
    assert set(everything(tmp_path / "out")) == files_of(manifest)


def test_files_of_others_are_neither_swept_away_nor_written_over(source: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "out", ("shards/train-000.tar", "shards/first.parquet", "unfinished/novel.txt")
    for name in theirs:
        open_store(ours).write(name, b"precious")
    convert_here(source, ours)
    assert all((ours / name).read_bytes() == b"precious" for name in theirs)
    open_store(tmp_path / "project").write(CARD, b"# My project")
    with pytest.raises(Conflict, match=r"project holds a README\.md that is not of a data set: give another --out"):
        convert_here(source, tmp_path / "project")
    assert everything(tmp_path / "project") == {CARD: b"# My project"}


def test_shards_that_lie_elsewhere_are_not_published(source: Path, tmp_path: Path) -> None:
    plan = Plan.make(NotebookSource.open(str(source)), BuildConfig(str(tmp_path / "out")))
    records = [build_shard(plan, number) for number in range(len(plan.shards))]
    (tmp_path / "out" / records[3].shard.path).unlink()
    with pytest.raises(DataError, match=r"00003-.*parquet is not there.*a URI that all machines share"):
        publish(plan, records)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_relative_places_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert BuildConfig("out").out == str(tmp_path / "out")


def test_nothing_usable_is_told(source: Path, tmp_path: Path) -> None:
    for path in (source / "fft").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 7 batches can be read; the first: fft/fft_batch_0"):
        convert_here(source, tmp_path / "out", skip_bad=True)


def test_values_beyond_float16_are_bad(source: Path, tmp_path: Path) -> None:
    path = source / "fft" / "fft_batch_1.npy"
    np.save(path, np.load(path) + 70_000)
    with pytest.raises(DataError, match=r"fft_batch_1\.npy: the value 7000\d\.?\d* is too large for float16"):
        convert_here(source, tmp_path / "out", dtype="float16")


def test_a_dtype_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype is 'int8'; it can be float32 or float16"):
        BuildConfig("x", "int8")


HARM = {
    "a flipped byte": lambda raw: raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:],
    "a cut": lambda raw: raw[:-100],
    "another file": lambda _: b"hello",
}


@pytest.mark.parametrize("what", HARM)
def test_a_harmed_shard_is_named_before_a_wrong_example_is_used(what: str, source: Path, tmp_path: Path) -> None:
    manifest = convert_here(source, tmp_path / "out")
    path = tmp_path / "out" / manifest.shards[1].path
    path.write_bytes(HARM[what](path.read_bytes()))
    dataset = open_dataset(str(tmp_path / "out"))
    dataset.read_shard(0)
    with pytest.raises(
        CorruptShard, match=rf"{path.name} has changed since it was published.*the job that made the data set mends it"
    ):
        dataset.read_shard(1)
    with pytest.raises(CorruptShard):
        dataset.take(np.array([40]))
    path.unlink()
    with pytest.raises(CorruptShard, match="is missing"):
        dataset.read_shard(1)


def test_a_manifest_says_everything_and_is_checked(source: Path, tmp_path: Path) -> None:
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


def test_the_newest_data_set_is_found_or_the_job_that_makes_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path / "home"))
    with pytest.raises(NotFound, match="synthray convert"):
        newest_dataset()
    convert_here(source, tmp_path / "home" / "data" / "one")
    assert newest_dataset() == str(tmp_path / "home" / "data" / "one")


def test_our_own_table_stands_in_the_manifest_with_units() -> None:
    rows = ParameterTable.from_json(json.loads(json.dumps(INSTRUMENT.to_json())))
    assert rows == INSTRUMENT
