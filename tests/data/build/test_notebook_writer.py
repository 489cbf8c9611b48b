"""Generated sounds: the same in both formats and after any restart, and other sounds are never overwritten."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthray.data import rendering
from synthray.data.build import publish as publish_module
from synthray.data.build import shard as shard_module
from synthray.data.build.generate_config import GenerateConfig
from synthray.data.build.notebook_writer import finish, reserve_output, write_batch
from synthray.data.build.plan import Plan
from synthray.data.build.publish import publish
from synthray.data.build.shard import build_shard, repair_shard
from synthray.data.examples import Examples
from synthray.data.manifest import Manifest
from synthray.data.open import open_dataset
from synthray.data.sources import synthetic as sounds
from synthray.data.sources.notebook import NotebookSource
from synthray.data.sources.synthetic import SoundGenerator, SynthSource
from synthray.errors import ConfigError, Conflict, CorruptShard, DataError
from synthray.storage import locate, open_store
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT, INSTRUMENT_VERSION
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import MUSICAL, Prior, random_presets
from synthray.synth.voice import render
from tests.conftest import convert_here


def generate(out: Path, batches: int = 2, seed: int = 3, **options: Any) -> list[bool]:
    config = GenerateConfig(str(out), batches, seed, **options)
    reserve_output(config)
    written = [write_batch(config, number) for number in range(batches)]
    finish(config)
    return written


def build(out: Path, **options: Any) -> Manifest:
    """Do what ``synthray generate --format parquet`` does, in this process and without Ray."""
    config = GenerateConfig(str(out), **{"batches": 2, "seed": 3, "format": "parquet", **options})
    plan = Plan.make(config.source(), config.build)
    return publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])


def all_examples(uri: Path | str) -> Examples:
    dataset = open_dataset(str(uri))
    return dataset.take(np.arange(dataset.manifest.rows))


def same(one: Examples, other: Examples) -> bool:
    return np.array_equal(one.features, other.features) and np.array_equal(one.labels, other.labels)


def test_generate_npy_writes_the_files_of_the_layout(tmp_path: Path) -> None:
    assert generate(tmp_path) == [True, True]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "fft/fft_batch_0.npy", "fft/fft_batch_1.npy", "keys.pkl",
        "parameters/parameter_batches_0.pkl", "parameters/parameter_batches_1.pkl", "randomizer_parts.pkl",
    ]  # fmt: skip
    features = np.load(tmp_path / "fft" / "fft_batch_1.npy")
    labels = random_presets(3, 32, 32)
    audio = render(INSTRUMENT.labels_to_settings(labels), noise_seeds(3, 32, 32))
    np.testing.assert_array_equal(features, analyse(audio))
    batch = NotebookSource.open(str(tmp_path)).read(1)
    np.testing.assert_array_equal(batch.labels, labels)


def test_generate_parquet_equals_generate_npy_and_convert(tmp_path: Path) -> None:
    generate(tmp_path / "batches", batches=3)
    converted = convert_here(tmp_path / "batches", tmp_path / "converted")
    direct = build(tmp_path / "direct", batches=3)
    assert direct.shards == converted.shards
    assert direct.table == converted.table == INSTRUMENT
    assert direct.source["seed"] == 3
    open_dataset(str(tmp_path / "direct")).read_shard(2)


def test_generate_again_keeps_complete_batches_and_writes_others(tmp_path: Path) -> None:
    generate(tmp_path)
    before = (tmp_path / "fft" / "fft_batch_1.npy").read_bytes()
    (tmp_path / "parameters" / "parameter_batches_1.pkl").unlink()
    (tmp_path / "fft" / "fft_batch_1.npy").write_bytes(b"torn")
    assert generate(tmp_path) == [False, True]
    assert (tmp_path / "fft" / "fft_batch_1.npy").read_bytes() == before


def test_generate_never_overwrites_other_sounds(tmp_path: Path) -> None:
    generate(tmp_path)
    with pytest.raises(Conflict, match=r"already holds other sounds\. Give another --out"):
        generate(tmp_path, seed=4)
    with pytest.raises(Conflict, match=r"holds more than the 1 batches requested \(fft/fft_batch_1\.npy\)"):
        generate(tmp_path, batches=1)
    assert generate(tmp_path, batches=3) == [False, False, True]
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(Conflict, match=r"already holds a published data set\. Give another --out"):
        generate(tmp_path, batches=3)


@pytest.mark.faults
def test_reserve_output_lets_only_one_of_two_jobs_write(tmp_path: Path) -> None:
    """Otherwise a batch could get the features of one job and the parameters of the other."""
    first, other = (GenerateConfig(str(tmp_path), 2, seed) for seed in (3, 4))
    reserve_output(first)
    with pytest.raises(
        Conflict, match=r'another job generates other sounds here \(\{.*"seed": 3\}\)\. Give another --out'
    ):
        reserve_output(other)
    reserve_output(first)  # the same command again
    assert generate(tmp_path) == [True, True]
    with pytest.raises(Conflict, match="already holds other sounds"):
        reserve_output(other)
    assert not (tmp_path / "generating.json").exists()


def test_generate_writes_lost_features_again(tmp_path: Path) -> None:
    generate(tmp_path)
    lost = tmp_path / "fft" / "fft_batch_1.npy"
    before = lost.read_bytes()
    lost.unlink()
    assert generate(tmp_path) == [False, True]
    assert lost.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batches": 0}, "batches is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"format": "csv"}, r"format: unknown value \('csv'\)"),
        ({"content": "presets"}, "--content needs --format parquet"),
        ({"format": "parquet", "content": "ideas"}, r"content: unknown value \('ideas'\)"),
        ({"format": "parquet", "append": "out"}, "cannot be appended to itself"),
        ({"reject_silent_dbfs": 0.0}, "reject_silent is 0 dBFS. Give at most -20"),
        ({"reject_silent_dbfs": float("nan")}, "reject_silent is nan"),
        ({"prior": "loud"}, r"prior: unknown value \('loud'\). Use uniform, musical, or"),
    ],
)
def test_generate_config_with_an_invalid_value_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerateConfig("out", **arguments)


LIMIT_DBFS = -40.0


def test_batch_resamples_silent_presets_the_same_way_at_any_batch_size() -> None:
    plain, rejecting = SoundGenerator(3), SoundGenerator(3, LIMIT_DBFS)
    before, after = plain.batch(0, 64), rejecting.batch(0, 64)
    silent = loudness_dbfs(before.features) < LIMIT_DBFS
    assert 0 < silent.sum() == after.replaced < 32
    assert (loudness_dbfs(after.features) >= LIMIT_DBFS).all()
    np.testing.assert_array_equal(after.features[~silent], before.features[~silent])
    assert (after.labels[silent] != before.labels[silent]).any(axis=1).all()
    parts = [rejecting.batch(first, 8) for first in range(0, 64, 8)]
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), after.features)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), after.labels)
    assert sum(part.replaced for part in parts) == after.replaced


def test_synth_source_read_some_rows_of_a_batch() -> None:
    source = SynthSource(SoundGenerator(3), (0, 1))
    whole, part = source.read(1), source.read(1, range(5, 9))
    np.testing.assert_array_equal(part.features, whole.features[5:9])
    np.testing.assert_array_equal(part.labels, whole.labels[5:9])


def test_batch_of_a_mixture_resamples_within_the_kind_of_each_preset() -> None:
    half, all_musical = Prior(0.5), MUSICAL
    before, after = SoundGenerator(3, None, half).batch(0, 256), SoundGenerator(3, LIMIT_DBFS, half).batch(0, 256)
    replaced = (before.labels != after.labels).any(axis=1)
    assert 0 < replaced.sum() == after.replaced
    musical = (before.labels == random_presets(3, 0, 256, prior=all_musical)).all(axis=1)
    again = (after.labels == random_presets(3, 0, 256, 1, all_musical)).all(axis=1)
    assert again[replaced & musical].mean() > 0.5  # the others were drawn more than once
    assert not again[replaced & ~musical].any()


def test_generate_with_a_prior_writes_its_presets_and_provenance(tmp_path: Path) -> None:
    manifest = build(tmp_path / "mixed", batches=1, prior="musical:.5")
    assert manifest.source["prior"] == "musical:0.5"
    np.testing.assert_array_equal(all_examples(tmp_path / "mixed").labels, random_presets(3, 0, 32, prior=Prior(0.5)))
    more = build(tmp_path / "more", batches=1, prior="musical:0.5", append=str(tmp_path / "mixed"))
    assert [part["prior"] for part in more.source_parts] == ["musical:0.5"] * 2
    assert "prior" not in build(tmp_path / "uniform", batches=1, prior="uniform").source


def test_batch_with_an_unreachable_limit_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "_MAX_DRAWS", 2)
    with pytest.raises(DataError, match=r"sound 32 of seed 3 is below -20 dBFS in each of 2 draws. Lower the limit"):
        SoundGenerator(3, -20.0).batch(32, 32)


def test_manifest_counts_resampled_presets(tmp_path: Path) -> None:
    manifest = build(tmp_path / "audible", reject_silent_dbfs=LIMIT_DBFS)
    assert manifest.source["reject_silent_dbfs"] == LIMIT_DBFS
    assert manifest.source["replaced"] == SoundGenerator(3, LIMIT_DBFS).batch(0, 64).replaced > 0
    generate(tmp_path / "batches", reject_silent_dbfs=LIMIT_DBFS)
    assert generate(tmp_path / "batches", reject_silent_dbfs=LIMIT_DBFS) == [False, False]
    assert convert_here(tmp_path / "batches", tmp_path / "converted").shards == manifest.shards
    before = {path: path.read_bytes() for path in (tmp_path / "batches").rglob("*.*")}
    with pytest.raises(Conflict, match="other sounds"):
        generate(tmp_path / "batches")
    # also if the first batch is the same in both
    with pytest.raises(Conflict, match="already holds other sounds"):
        write_batch(GenerateConfig(str(tmp_path / "batches"), 2, 3), 1)
    assert {path: path.read_bytes() for path in (tmp_path / "batches").rglob("*.*")} == before


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_stored_presets_equal_stored_features_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    stored = build(tmp_path / "sounds", dtype=dtype, reject_silent_dbfs=LIMIT_DBFS)
    presets = build(tmp_path / "presets", dtype=dtype, reject_silent_dbfs=LIMIT_DBFS, content="presets")
    assert presets.bytes < stored.bytes / 10
    assert presets.source["replaced"] == stored.source["replaced"] > 0
    assert presets.loudness == stored.loudness
    assert all_examples(tmp_path / "presets").features.dtype == dtype
    assert same(all_examples(tmp_path / "presets"), all_examples(tmp_path / "sounds"))


def test_presets_of_another_instrument_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "presets", content="presets")
    monkeypatch.setattr(rendering, "INSTRUMENT_VERSION", 99)
    both_versions = rf"version {INSTRUMENT_VERSION}\b.* version 99\b"
    with pytest.raises(DataError, match=both_versions):
        open_dataset(str(tmp_path / "presets")).read_shard(0)
    with pytest.raises(DataError, match=both_versions):
        build(tmp_path / "more", content="presets", append=str(tmp_path / "presets"))
    assert not (tmp_path / "more").exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", ["features", "presets"])
def test_append_continues_after_the_batches_of_the_same_seed(tmp_path: Path, content: str) -> None:
    build(tmp_path / "first", content=content)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*.parquet")}
    second = build(tmp_path / "second", batches=1, append=str(tmp_path / "first"), content=content)
    third = build(tmp_path / "third", batches=2, append=str(tmp_path / "second"), content=content)
    whole = build(tmp_path / "whole", batches=5, content=content)
    assert [part["batches"] for part in third.source["parts"]] == [2, 1, 2]
    assert third.source["batches"] == 5
    assert same(all_examples(tmp_path / "third"), all_examples(tmp_path / "whole"))
    assert third.loudness == whole.loudness
    for name, found in third.statistics.items():
        expected = whole.statistics[name]
        assert found.get("counts") == expected.get("counts")
        assert found.get("mean") == pytest.approx(expected.get("mean"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*.parquet")} == before
    assert len(list((tmp_path / "second" / "shards").iterdir())) == len(second.shards) - 2
    # neither another seed nor a rerun of the first job changes the other data sets
    other = build(tmp_path / "other", batches=1, seed=8, append=str(tmp_path / "first"), content=content)
    build(tmp_path / "first", content=content)
    assert same(all_examples(tmp_path / "third"), all_examples(tmp_path / "whole"))
    np.testing.assert_array_equal(all_examples(tmp_path / "other").labels[64:], random_presets(8, 0, 32), strict=True)
    assert other.source["parts"][1]["seed"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("append", [False, True])
def test_matches_published_recognises_a_data_set_without_rendering(append: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {"reject_silent_dbfs": -20.0}
    if append:
        build(tmp_path / "base", **options)
        options["append"] = str(tmp_path / "base")
    made = build(tmp_path / "out", **options)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    (tmp_path / "out" / "unfinished").mkdir()
    (tmp_path / "out" / "unfinished" / f"{'0' * 32}.json").write_text("{}")

    def plan(**changed: Any) -> Plan:
        fields = {"batches": 2, "seed": 3, "format": "parquet", **options, **changed}
        config = GenerateConfig(str(tmp_path / "out"), **fields)
        return Plan.make(config.source(), config.build)

    known = plan()
    assert publish_module.matches_published(known)
    assert not any(repair_shard(known, made, number) for number in range(len(known.shards)))
    assert publish_module.finalize(known, made) == made
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == files
    for changed in ({"seed": 4}, {"batches": 3}, {"reject_silent_dbfs": -30.0}, {"prior": "musical"}):
        if not append or changed.keys() <= {"seed", "batches"}:  # the others are refused earlier
            with pytest.raises(Conflict, match=r"already holds another data set \(synth, .*give another --out"):
                publish_module.matches_published(plan(**changed))

    damaged = tmp_path / "out" / made.shards[-1].path
    raw = damaged.read_bytes()
    damaged.write_bytes(raw[:-1])
    assert [repair_shard(known, made, number) for number in range(len(known.shards))] == [False, True]
    assert damaged.read_bytes() == raw
    damaged.unlink()
    other = GenerateConfig(str(tmp_path / "out"), 2, 4, format="parquet").source()
    with pytest.raises(CorruptShard, match="is missing"):
        repair_shard(replace(known, source=other), made, len(known.shards) - 1)
    assert not damaged.exists()


@pytest.mark.parametrize("is_missing", [True, False])
@pytest.mark.parametrize("content", ["features", "presets"])
def test_repair_on_another_type_of_cpu_says_so_and_writes_nothing(
    is_missing: bool, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path / "out", content=content)
    damaged = tmp_path / "out" / made.shards[-1].path
    damaged.unlink() if is_missing else damaged.write_bytes(b"corrupt")
    config = GenerateConfig(str(tmp_path / "out"), 2, 3, format="parquet", content=content)
    plan = Plan.make(config.source(), config.build)
    assert publish_module.matches_published(plan)
    own_encode = shard_module.encode_shard
    monkeypatch.setattr(shard_module, "encode_shard", lambda *arguments: own_encode(*arguments) + b"another last bit")
    problem = r"is missing\." if is_missing else r"has changed since it was published: 7 of .*…\."
    with pytest.raises(CorruptShard, match=rf"{damaged.name} {problem} It cannot be repaired here") as caught:
        repair_shard(plan, made, len(plan.shards) - 1)
    text = str(caught.value)
    assert re.search(r"different shard \(SHA-256 \w{12}… instead of \w{12}…\)\. .*types of CPU.*another --out\.$", text)
    assert "Run the job that created" not in text
    assert damaged.exists() != is_missing


def test_data_sets_that_share_shards_can_be_moved_together(tmp_path: Path) -> None:
    build(tmp_path / "a" / "first")
    build(tmp_path / "a" / "second", batches=1, append=str(tmp_path / "a" / "first"))
    apart = build(tmp_path / "b" / "third", batches=1, append=str(tmp_path / "a" / "second"))
    assert apart.shards[0].path == str(tmp_path / "a" / "first" / "shards" / Path(apart.shards[0].path).name)
    expected = all_examples(tmp_path / "b" / "third")
    neighbour = build(tmp_path / "a" / "third", batches=1, append=str(tmp_path / "a" / "second"))
    assert neighbour.shards[0].path.startswith("../first/shards/")
    shutil.move(tmp_path / "a", tmp_path / "moved")
    assert same(all_examples(tmp_path / "moved" / "third"), expected)
    shutil.rmtree(tmp_path / "moved" / "first")
    with pytest.raises(CorruptShard, match=r"moved/first/shards/00000-\w+\.parquet is missing"):
        all_examples(tmp_path / "moved" / "third")


def test_append_works_between_bucket_roots_and_folders() -> None:
    manifest = open_dataset("synth://?batches=1").manifest
    for base, out in (("s3://a/first", "s3://a"), ("s3://a/first", "s3://b"), ("s3://a", "s3://a/second")):
        [shard] = publish_module._relocated_shards(base, manifest, out)
        store, path = locate(open_store(out), shard.path)
        assert f"{store.uri}/{path}" == f"{base}/{manifest.shards[0].path}"


def test_append_to_a_data_set_of_another_kind_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "first")
    first = str(tmp_path / "first")
    with pytest.raises(DataError, match=r"another dtype \(float32, not float16\)"):
        build(tmp_path / "second", append=first, dtype="float16")
    with pytest.raises(DataError, match=r"another content \(features, not presets\)"):
        build(tmp_path / "second", append=first, content="presets")
    with pytest.raises(ConfigError, match="with another --reject-silent"):
        build(tmp_path / "second", append=first, reject_silent_dbfs=LIMIT_DBFS)
    with pytest.raises(ConfigError, match=r"with another --prior \(uniform\)"):
        build(tmp_path / "second", append=first, prior="musical")
    manifest = Manifest.load(open_store(first))
    table = replace(manifest.table, parameters=manifest.table.parameters[1:])
    (tmp_path / "first" / "manifest.json").write_bytes(replace(manifest, table=table).encode())
    with pytest.raises(DataError, match=r"first: the batches cannot be appended\. The data set has other parameters"):
        build(tmp_path / "second", append=first)
