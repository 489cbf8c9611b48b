"""Networks in NumPy against the saved models in plain Keras, and the networks that are left to Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synthray.model.architectures import ARCHITECTURES
from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import NumpyNetwork, read_network
from synthray.model.predictor import MAX_ROWS, Predictor
from synthray.model.saved import load_model, read_card, read_verified, save_model
from synthray.model.shipped import shipped_model
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable, Range
from tests.model.test_heads import tables
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card

shapes = st.tuples(st.integers(3, 6), st.integers(1, 9))


def save_named(network: str, table: ParameterTable, shape: tuple[int, int], folder: Path, seed: int = 0) -> str:
    """Save a network with weights and biases that are far from their initial ones."""
    from synthray.model.networks import build_named

    random = np.random.default_rng(seed)
    initial = build_named(network, shape, table, width=8)
    fused = HeadLayout(table, ARCHITECTURES[network].bins)
    trunk = [w for w in initial.get_weights() if w.ndim][: 2 * (8 if network == "histogram" else 2)]
    kernel = 3 * fused.initial_kernel(trunk[-1].shape[0], seed)
    weights = [*(w + 0.1 * random.standard_normal(w.shape) for w in trunk), kernel, random.standard_normal(fused.width)]
    model = build_named(network, shape, table, width=8, weights=weights)
    return save_model(model, str(folder), build_card(table, shape, bins=fused.bins))


def head_outputs(uri: str, features: np.ndarray) -> np.ndarray:
    """Return the outputs of the heads of a saved model, in plain Keras, ``(sounds, width)``."""
    import keras

    model, card = load_model(uri)
    layout = HeadLayout(card.table, card.bins)
    named = dict(zip(model.output_names, keras.tree.flatten(model(features)), strict=True))
    return np.concatenate([named[layout.head_name(parameter)] for parameter in card.table.learned], axis=1)


def network_of(uri: str) -> NumpyNetwork:
    raw, card = read_verified(uri)
    network = read_network(raw, HeadLayout(card.table, card.bins), card.feature_shape)
    assert network is not None
    return network


@pytest.mark.slow
@pytest.mark.parametrize("network", ARCHITECTURES)
@pytest.mark.parametrize(("table", "shape"), [(FOREIGN, FOREIGN_SHAPE), (INSTRUMENT, (20, 45))], ids=["foreign", "own"])
def test_network_returns_the_outputs_of_plain_keras(
    network: str, table: ParameterTable, shape: tuple[int, int], tmp_path: Path
) -> None:
    uri = save_named(network, table, shape, tmp_path)
    features = np.random.default_rng(0).random((257, *shape), np.float32)
    features[0] = 0
    expected = head_outputs(uri, features)
    assert expected.std(axis=0).max() > 0.01
    outputs = network_of(uri)(features)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, atol=2e-5, rtol=2e-5)
    for sounds in (1, 2):
        np.testing.assert_allclose(network_of(uri)(features[:sounds]), expected[:sounds], atol=2e-5, rtol=2e-5)
    assert read_card(uri).numpy


@pytest.mark.slow
@settings(max_examples=5)
@given(table=tables, network=st.sampled_from(sorted(ARCHITECTURES)), shape=shapes, seed=st.integers(0, 99))
@example(table=ParameterTable((Range("a", 0, 6, step=1),)), network="histogram", shape=(3, 1), seed=0)
def test_network_of_any_table_returns_the_outputs_of_plain_keras(
    table: ParameterTable, network: str, shape: tuple[int, int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    uri = save_named(network, table, shape, tmp_path_factory.mktemp("model"), seed)
    features = np.random.default_rng(seed).standard_normal((3, *shape)).astype(np.float32)
    np.testing.assert_allclose(network_of(uri)(features), head_outputs(uri, features), atol=2e-5, rtol=2e-5)


def test_shipped_network_returns_the_outputs_of_plain_keras() -> None:
    uri = shipped_model()
    shape = read_card(uri).feature_shape
    features = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    np.testing.assert_allclose(network_of(uri)(features), head_outputs(uri, features), atol=1e-5)


def test_predictor_of_other_number_types_and_many_sounds_returns_the_same(tmp_path: Path) -> None:
    predictor = Predictor.load(save_named("log", FOREIGN, FOREIGN_SHAPE, tmp_path))
    features = np.random.default_rng(0).integers(0, 9, (MAX_ROWS + 1, *FOREIGN_SHAPE))
    expected = predictor.labels(features.astype(np.float32))
    for dtype in (np.float64, np.float16, np.int64):
        np.testing.assert_array_equal(predictor.labels(features.astype(dtype)), expected)
    before = features.astype(np.float32)
    predictor.labels(before)
    np.testing.assert_array_equal(before, features)


@pytest.mark.slow
def test_loading_and_matching_import_neither_tensorflow_nor_keras() -> None:
    program = (
        "import sys\n"
        "from synthray.match.match import warm_up\n"
        "from synthray.serve.models.load import load_predictor\n"
        "from synthray.model.shipped import shipped_model\n"
        "import synthray.evaluate.parts, synthray.serve.app\n"
        "warm_up(load_predictor(shipped_model()))\n"
        "print([name for name in ('tensorflow', 'keras', 'scipy.signal') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split("\n")[-2] == "[]"
