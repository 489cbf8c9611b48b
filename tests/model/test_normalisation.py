"""Normalisation of features: its statistics, in Keras, in NumPy and in a saved model that plain Keras opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from synthray.model.architectures import ARCHITECTURES
from synthray.model.heads import HeadLayout
from synthray.model.networks import build_fused, build_named
from synthray.model.normalisation import LIMIT, SPREAD, STANDARD, set_statistics
from synthray.model.numpy_network import read_network
from synthray.model.saved import open_model, read_card, read_verified, save_model
from tests.models import FOREIGN, build_card

SHAPE = (3, 5)


def normalise(sample: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return features as the network gets them, with the statistics of a sample."""
    model = build_fused("notebook", features.shape[1:], HeadLayout(FOREIGN), 0, width=2, normalise=True)
    set_statistics(model, sample)
    return np.asarray(keras.Model(model.input, model.get_layer("conv1d").input)(features))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_normalised_features_do_not_depend_on_the_scale(scale: float) -> None:
    magnitudes = np.exp(3 * np.random.default_rng(0).standard_normal((50, *SHAPE))).astype(np.float32)
    expected = normalise(magnitudes, magnitudes)
    assert np.abs(expected.mean(axis=(0, 1))).max() < 1e-3
    np.testing.assert_allclose(expected.std(axis=(0, 1)), 1, atol=1e-3)
    scaled = magnitudes * np.float32(scale)
    np.testing.assert_allclose(normalise(scaled, scaled), expected, atol=1e-3)


def test_normalised_features_equal_the_formula() -> None:
    sample = np.random.default_rng(0).standard_normal((40, *SHAPE)).astype(np.float32) * 5 + 3
    centre = np.median(sample, axis=(0, 1))
    compressed = np.arcsinh((sample - centre) / np.median(np.abs(sample - centre), axis=(0, 1)))
    expected = (compressed - compressed.mean(axis=(0, 1))) / compressed.std(axis=(0, 1))
    np.testing.assert_allclose(normalise(sample, sample), expected, atol=1e-4)


@pytest.mark.parametrize("values", [0.0, 7.0, -1e6, 1e-30, 3e38])
def test_constant_bin_is_0_even_for_features_in_which_it_varies(values: float) -> None:
    sample = np.random.default_rng(0).random((20, *SHAPE)).astype(np.float32)
    sample[..., 2] = values
    found = normalise(sample, np.random.default_rng(1).random((20, *SHAPE)).astype(np.float32))
    assert not found[..., 2].any()
    assert found[..., :2].any()


@pytest.mark.parametrize("value", [1e30, -3e38, 3e38])
def test_outlier_that_the_sample_lacks_is_limited(value: float) -> None:
    sample = np.random.default_rng(0).random((20, *SHAPE)).astype(np.float32)
    features = sample.copy()
    features[3, 1, 2] = value
    found = normalise(sample, features)
    assert found[3, 1, 2] == np.sign(value) * LIMIT
    assert np.isfinite(found).all()


def test_few_outliers_in_the_sample_hide_no_other_values() -> None:
    random = np.random.default_rng(0)
    clean = np.exp(random.standard_normal((200, *SHAPE))).astype(np.float32)
    dirty = np.where(random.random(clean.shape) < 0.002, np.float32(1e12), clean)
    assert normalise(dirty, clean).std(axis=(0, 1)).min() > 0.4


PLAIN = """
import sys, keras, numpy as np
features = np.load("features.npy")

def statistics(model):
    return [weight.copy() for name in ("{SPREAD}", "{STANDARD}") for weight in model.get_layer(name).get_weights()]

for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    # eagerly, because a graph takes seconds to build
    losses = ["mean_absolute_error"] * len(model.outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=losses, run_eagerly=True)
    before, known = keras.tree.flatten(model.predict(features, verbose=0)), statistics(model)
    np.savez(path + ".npz", *before)
    model.fit(features, [np.zeros_like(each) for each in before], epochs=1, verbose=0)
    assert all(map(np.array_equal, known, statistics(model))), "fit changed the statistics"
    assert not np.array_equal(keras.tree.flatten(model.predict(features, verbose=0))[0], before[0])
assert "synthray" not in sys.modules
""".replace("{SPREAD}", SPREAD).replace("{STANDARD}", STANDARD)


@pytest.mark.slow
def test_saved_model_predicts_in_plain_keras_and_numpy_the_same(tmp_path: Path) -> None:
    features = 1e6 * np.exp(np.random.default_rng(0).standard_normal((16, *SHAPE))).astype(np.float32)
    features[..., 1] = 0
    np.save(tmp_path / "features.npy", features)
    saved = []
    for network, architecture in ARCHITECTURES.items():
        bins = architecture.bins
        fused = build_fused(network, SHAPE, HeadLayout(FOREIGN, bins), 3, width=8, normalise=True)
        set_statistics(fused, features)
        named = build_named(network, SHAPE, FOREIGN, width=8, weights=fused.get_weights(), normalise=True)
        saved.append((named, save_model(named, str(tmp_path / network), build_card(FOREIGN, SHAPE, bins=bins))))
    command = [sys.executable, "-c", PLAIN, *(uri for _, uri in saved)]
    subprocess.run(command, check=True, timeout=300, cwd=tmp_path, env={})
    for named, uri in saved:
        assert_predicts_the_same(uri, named, features)


def assert_predicts_the_same(uri: str, named: keras.Model, features: np.ndarray) -> None:
    """Compare a network with its outputs in plain Keras, which are in a file, and in NumPy."""
    assert read_card(uri).numpy
    with np.load(f"{uri}.npz") as saved:
        outputs = [saved[name] for name in saved.files]
    expected = [np.asarray(each) for each in keras.tree.flatten(named(features))]
    for found, own in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found, own, atol=1e-5)
    raw, card = read_verified(uri)
    layout = HeadLayout(card.table, card.bins)
    in_numpy = read_network(raw, layout, SHAPE)
    assert in_numpy is not None
    heads = dict(zip(named.output_names, expected, strict=True))
    joined = np.concatenate([heads[layout.head_name(parameter)] for parameter in FOREIGN.learned], axis=1)
    np.testing.assert_allclose(in_numpy(features), joined, atol=1e-5)
    assert open_model(raw, uri).output_names == named.output_names


def test_without_normalisation_the_network_has_no_layer_of_it() -> None:
    model = build_fused("notebook", SHAPE, HeadLayout(FOREIGN), 0, width=2)
    assert [layer.name for layer in model.layers] == ["in_fft", "conv1d", "flatten", "dense", "heads"]
