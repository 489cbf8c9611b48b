"""Making sounds: the same ones however they are made, and never over other ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthray.data.build import BuildConfig, Plan, build_shard, publish
from synthray.data.dataset import Dataset
from synthray.data.generate import GenerateConfig, SynthSource, check_free, write_batch, write_general_files
from synthray.data.notebook import NotebookSource
from synthray.errors import ConfigError, Conflict
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import noise_seeds, random_labels
from synthray.synth.voice import render
from tests.conftest import convert_here


def generate(out: Path, batches: int = 2, seed: int = 3) -> list[bool]:
    config = GenerateConfig(str(out), batches, seed)
    check_free(config)
    written = [write_batch(config, number) for number in range(batches)]
    write_general_files(config)
    return written


def test_the_files_are_the_notebooks_and_hold_the_sounds(tmp_path: Path) -> None:
    assert generate(tmp_path) == [True, True]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "fft/fft_batch_0.npy", "fft/fft_batch_1.npy", "keys.pkl",
        "parameters/parameter_batches_0.pkl", "parameters/parameter_batches_1.pkl", "randomizer_parts.pkl",
    ]  # fmt: skip
    features = np.load(tmp_path / "fft" / "fft_batch_1.npy")
    labels = random_labels(INSTRUMENT, 3, 32, 32)
    audio = render(INSTRUMENT.labels_to_settings(labels), noise_seeds(3, 32, 32))
    np.testing.assert_array_equal(features, analyse(audio))
    batch, _ = NotebookSource.open(str(tmp_path)).read(1)
    np.testing.assert_array_equal(batch.labels, labels)


def test_straight_to_a_data_set_is_the_same_as_by_way_of_the_batches(tmp_path: Path) -> None:
    generate(tmp_path / "batches", batches=3)
    converted = convert_here(tmp_path / "batches", tmp_path / "converted")
    plan = Plan.make(SynthSource(3, (0, 1, 2)), BuildConfig(str(tmp_path / "straight")))
    straight = publish(plan, [build_shard(plan, number) for number in range(len(plan.shards))])
    assert straight.shards == converted.shards
    assert straight.table == converted.table == INSTRUMENT
    assert straight.source["seed"] == 3
    Dataset.open(str(tmp_path / "straight")).read_shard(2)


def test_running_again_keeps_what_is_there_and_mends_what_is_not(tmp_path: Path) -> None:
    generate(tmp_path)
    before = (tmp_path / "fft" / "fft_batch_1.npy").read_bytes()
    (tmp_path / "parameters" / "parameter_batches_1.pkl").unlink()
    (tmp_path / "fft" / "fft_batch_1.npy").write_bytes(b"torn")
    assert generate(tmp_path) == [False, True]
    assert (tmp_path / "fft" / "fft_batch_1.npy").read_bytes() == before


def test_other_sounds_are_never_written_over(tmp_path: Path) -> None:
    generate(tmp_path)
    with pytest.raises(Conflict, match="holds other sounds already: give another --out"):
        generate(tmp_path, seed=4)
    with pytest.raises(Conflict, match=r"parameter_batches_1\.pkl already, beyond the 1 batches asked for"):
        generate(tmp_path, batches=1)
    assert generate(tmp_path, batches=3) == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batches": 0}, "batches is 0"), ({"seed": -1}, "seed is -1"), ({"layout": "csv"}, "format is 'csv'")],
)
def test_what_cannot_be_made_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerateConfig("out", **arguments)
