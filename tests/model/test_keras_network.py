"""Networks that are left to Keras: those that NumPy does not know, and those that differ."""

from __future__ import annotations

import io
import json
import logging
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from synthray.errors import ModelError
from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import NumpyNetwork, agrees_with_keras, read_network
from synthray.model.predictor import Predictor
from synthray.model.saved import load_model, read_card, save_model
from synthray.synth.parameters import Choice
from tests.model.test_numpy_network import head_outputs, network_of, save_named
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


def layer(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(layer for layer in config["config"]["layers"] if layer["name"] == name)


def set_field(name: str, key: str, value: object) -> Change:
    return lambda config, _: layer(config, name)["config"].__setitem__(key, value)


CHANGES: dict[str, Change] = {
    "an unknown activation": set_field("dense", "activation", "elu"),
    "an unknown setting": set_field("dense", "lora_rank", 4),
    "another policy": set_field("dense", "dtype", "mixed_float16"),
    "strides": set_field("conv1d", "strides", [2]),
    "causal padding": set_field("conv1d", "padding", "causal"),
    "an unknown layer": lambda config, _: layer(config, "flatten").__setitem__("class_name", "GlobalAveragePooling1D"),
    "a layer of another package": lambda config, _: layer(config, "dense").__setitem__("module", "custom"),
    "a layer that is called twice": lambda config, _: layer(config, "dense")["inbound_nodes"].append(
        layer(config, "dense")["inbound_nodes"][0]
    ),
    "a call with a keyword": lambda config, _: layer(config, "dense")["inbound_nodes"][0]["kwargs"].__setitem__(
        "training", True
    ),
    "a layer that reads itself": lambda config, _: layer(config, "flatten")["inbound_nodes"][0]["args"][0][
        "config"
    ].update(keras_history=["flatten", 0, 0]),
    "another shape between layers": lambda config, _: layer(config, "conv1d")["inbound_nodes"][0]["args"][0][
        "config"
    ].update(shape=[None, 4, 7]),
    "another model class": lambda config, _: config.__setitem__("class_name", "Sequential"),
    "heads on different layers": lambda config, _: layer(config, "out_on")["inbound_nodes"][0]["args"][0][
        "config"
    ].__setitem__("keras_history", ["flatten", 0, 0]),
    "a linear choice": set_field("out_on", "activation", "linear"),
    "a range between 0 and 1": set_field("out_cutoff", "activation", "sigmoid"),
    "a head of another width": set_field("out_on", "units", 3),
    "a missing output": lambda config, _: config["config"]["output_layers"].pop(),
    "another input shape": set_field("in_fft", "batch_shape", [None, 5, 8]),
    "weights of another shape": lambda _, weights: weights.__setitem__(
        "layers/conv1d/vars/0", np.zeros((3, 7, 5), "f")
    ),
    "weights of another type": lambda _, weights: weights.__setitem__(
        "layers/conv1d/vars/0", weights["layers/conv1d/vars/0"].astype("f8")
    ),
    "missing weights": lambda _, weights: weights.pop("layers/conv1d/vars/1"),
}


def changed(raw: bytes, change: Change) -> bytes:
    """Return a ``.keras`` file with another configuration or other weights."""
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    config, weights, names = json.loads(entries["config.json"]), {}, {}

    def collect(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            weights[path] = item[()]
        else:
            names[path] = dict(item.attrs)

    with h5py.File(io.BytesIO(entries["model.weights.h5"])) as file:
        file.visititems(collect)
    change(config, weights)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, attributes in names.items():
            file.require_group(path).attrs.update(attributes)
        for path, values in weights.items():
            file[path] = values
    entries |= {"config.json": json.dumps(config).encode(), "model.weights.h5": buffer.getvalue()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_read_network_of_an_unknown_network_returns_none_and_logs_why(
    change: Change, foreign_file: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    layout = HeadLayout(FOREIGN)
    with caplog.at_level(logging.INFO, "synthray.model.numpy_network"):
        assert read_network(changed(foreign_file, lambda *_: None), layout, FOREIGN_SHAPE) is not None
        assert not caplog.records
        assert read_network(changed(foreign_file, change), layout, FOREIGN_SHAPE, "model_3_1") is None
    [record] = caplog.records
    assert record.getMessage().startswith("model_3_1: Keras computes it (")


def test_read_network_without_h5py_raises_import_error(foreign_file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="h5py"):
        read_network(foreign_file, HeadLayout(FOREIGN), FOREIGN_SHAPE)


@pytest.fixture(scope="module")
def foreign_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Path(save_named("notebook", FOREIGN, FOREIGN_SHAPE, tmp_path_factory.mktemp("foreign"))).read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"corrupt"])
def test_read_network_of_a_corrupt_file_returns_none(content: bytes, foreign_file: bytes) -> None:
    assert read_network(content, HeadLayout(FOREIGN), FOREIGN_SHAPE) is None
    assert read_network(foreign_file[:-100], HeadLayout(FOREIGN), FOREIGN_SHAPE) is None


@pytest.mark.parametrize("name", ["weights of another shape", "missing weights", "a missing output"])
def test_load_of_a_file_that_does_not_fit_its_card_raises_model_error(
    name: str, foreign_file: bytes, tmp_path: Path
) -> None:
    uri = write_model(tmp_path, changed(foreign_file, CHANGES[name]))
    with pytest.raises(ModelError):
        Predictor.load(uri)


def write_model(folder: Path, raw: bytes, **fields: object) -> str:
    card = build_card(FOREIGN, FOREIGN_SHAPE, sha256=sha256(raw).hexdigest(), **fields)
    (folder / "model_2_1.keras").write_bytes(raw)
    (folder / "model_2_1.json").write_bytes(card.encode())
    return f"{folder}/model_2_1.keras"


def test_model_with_another_layer_is_predicted_by_keras(tmp_path: Path) -> None:
    import keras

    features = keras.Input(FOREIGN_SHAPE, name="in_fft")
    vector = keras.layers.UnitNormalization()(keras.layers.Flatten()(features))
    outputs = [
        keras.layers.Dense(p.num_outputs, "softmax" if isinstance(p, Choice) else None, name=f"out_{p.name}")(vector)
        for p in FOREIGN.learned
    ]
    model = keras.Model(features, outputs)
    uri = save_model(model, str(tmp_path), build_card(FOREIGN, FOREIGN_SHAPE))
    assert not read_card(uri).numpy
    predictor = Predictor.load(uri)
    assert not isinstance(predictor._network, NumpyNetwork)
    sounds = np.random.default_rng(0).random((3, *FOREIGN_SHAPE), np.float32)
    np.testing.assert_allclose(predictor._outputs(sounds), head_outputs(uri, sounds), atol=1e-6)


def test_card_without_numpy_leaves_the_model_to_keras(foreign_file: bytes, tmp_path: Path) -> None:
    predictor = Predictor.load(write_model(tmp_path, foreign_file, numpy=False))
    assert not isinstance(predictor._network, NumpyNetwork)
    sounds = np.random.default_rng(0).random((3, *FOREIGN_SHAPE), np.float32)
    expected = Predictor.load(write_model(tmp_path, foreign_file))
    assert isinstance(expected._network, NumpyNetwork)
    np.testing.assert_allclose(predictor._outputs(sounds), expected._outputs(sounds), atol=1e-5)


def test_network_that_differs_from_keras_does_not_agree(foreign_file: bytes, tmp_path: Path) -> None:
    uri = write_model(tmp_path, foreign_file)
    model, layout, network = load_model(uri)[0], HeadLayout(FOREIGN), network_of(uri)
    assert agrees_with_keras(network, model, layout, FOREIGN_SHAPE)
    assert not agrees_with_keras(replace(network, bias=network.bias + 0.01), model, layout, FOREIGN_SHAPE)


def test_card_of_before_without_the_field_still_loads(foreign_file: bytes, tmp_path: Path) -> None:
    uri = write_model(tmp_path, foreign_file)
    card = tmp_path / "model_2_1.json"
    body = json.loads(card.read_bytes())
    del body["numpy"]
    card.write_text(json.dumps(body))
    assert isinstance(Predictor.load(uri)._network, NumpyNetwork)
