"""Data sets that are rendered when read: the same sounds as stored ones, and with ``fresh`` new ones each epoch."""

from __future__ import annotations

import numpy as np
import pytest

from synthray.data.open import absolute, name_of, open_dataset
from synthray.data.sources.synthetic import SoundGenerator
from synthray.errors import ConfigError
from synthray.synth.priors import Prior, random_presets

URI = "synth://?seed=7&batches=10"


def test_on_the_fly_dataset_take_equals_sound_generator() -> None:
    dataset = open_dataset(URI)
    assert dataset.manifest.rows == 320
    assert dataset.shard_rows == (256, 64)
    rows = np.array([319, 0, 255, 256, -1])
    taken = dataset.take(rows)
    for index, row in enumerate(rows[:-1]):
        sound = SoundGenerator(7).batch(int(row), 1)
        np.testing.assert_array_equal(taken.features[index], sound.features[0])
        np.testing.assert_array_equal(taken.labels[index], sound.labels[0])
    assert not taken.features[-1].any()


def test_on_the_fly_dataset_fresh_epochs_follow_each_other() -> None:
    dataset = open_dataset(f"{URI}&fresh=1")
    assert dataset.fresh
    assert not open_dataset(URI).fresh
    for epoch in range(3):
        expected = SoundGenerator(7).batch(epoch * 320 + 256, 64)
        np.testing.assert_array_equal(dataset.read_shard(1, epoch).labels, expected.labels)
        np.testing.assert_array_equal(dataset.read_shard(1, epoch).features, expected.features)
    np.testing.assert_array_equal(open_dataset(URI).read_shard(1, 2).labels, SoundGenerator(7).batch(256, 64).labels)


def test_on_the_fly_dataset_options_equal_sound_generator() -> None:
    dataset = open_dataset("synth://?seed=3&batches=2&reject-silent=-40&dtype=float16")
    expected = SoundGenerator(3, -40.0).batch(0, 64, "float16")
    # The dtype does not decide which presets are silent.
    np.testing.assert_array_equal(expected.labels, SoundGenerator(3, -40.0).batch(0, 64).labels)
    assert dataset.feature_bytes == expected.features.nbytes
    np.testing.assert_array_equal(dataset.take(np.arange(64)).features, expected.features)


def test_on_the_fly_dataset_of_a_mixture_has_its_presets() -> None:
    dataset = open_dataset("synth://?seed=3&batches=2&prior=musical:0.5")
    np.testing.assert_array_equal(dataset.take(np.arange(64)).labels, random_presets(3, 0, 64, prior=Prior(0.5)))
    assert dataset.manifest.source["prior"] == "musical:0.5"
    assert dataset.uri == "synth://?seed=3&batches=2&fresh=0&prior=musical:0.5&dtype=float32"
    assert open_dataset(dataset.uri).manifest.digest == dataset.manifest.digest
    assert open_dataset("synth://?seed=3&batches=2&prior=musical%3A.50").uri == dataset.uri
    assert name_of(dataset.uri) == "synth-seed-3-batches-2-fresh-0-prior-musical-0.5-dtype-float32"
    assert "prior" not in open_dataset("synth://?seed=3&batches=2&prior=uniform").manifest.source


def test_on_the_fly_dataset_uri_is_complete_and_gives_the_name() -> None:
    assert absolute("synth://") == "synth://?seed=0&batches=3500&fresh=0&dtype=float32"
    assert absolute(absolute(URI)) == absolute(URI)
    assert name_of(URI) == "synth-seed-7-batches-10-fresh-0-dtype-float32"
    others = [URI, *(f"{URI}&{more}" for more in ("fresh=1", "reject-silent=-60", "dtype=float16", "prior=musical"))]
    assert len({open_dataset(uri).manifest.digest for uri in others}) == 5
    assert b"loudness" not in open_dataset(URI).manifest.encode()  # models refer to its digest
    exact = open_dataset(f"{URI}&reject-silent=-60.1234567")
    assert open_dataset(exact.uri).manifest.digest == exact.manifest.digest
    assert open_dataset(URI).manifest.digest == open_dataset("synth://?batches=10&seed=7&fresh=0").manifest.digest


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("synth://?seeds=7", "'seeds' is not an option"),
        ("synth://?seed=x", "invalid literal"),
        ("synth://?seed=-1", "seed is -1"),
        ("synth://?batches=0", "batches is 0"),
        ("synth://?fresh=yes", "fresh is yes"),
        ("synth://?dtype=int8", "dtype is int8"),
        ("synth://bucket/x?seed=1", "bucket/x is before the question mark"),
        ("synth://?seed", "bad query field"),
        ("synth://?seed=1&seed=2", "given twice"),
        ("synth://?seed=1#fresh=1", "after a #"),
        ("synth://?batches=1000000000", "batches is 1000000000. It must be from 1 to 1,000,000"),
        ("synth://?prior=loud", r"prior: unknown value \('loud'\)"),
        ("synth://?prior=musical:2", "musical presets is 2. It must be from 0 to 1"),
        ("synth://?reject-silent=-inf", "Give at most -20"),
        ("synth://?reject-silent=0", "Give at most -20"),
    ],
)
def test_open_dataset_invalid_synth_uri_gives_reason(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_dataset(uri)
