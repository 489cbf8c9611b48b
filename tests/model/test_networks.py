"""The fused network against Keras's own 38 layers and losses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from synthray.errors import ConfigError, ModelError, NotFound
from synthray.model.heads import HeadLayout
from synthray.model.losses import score
from synthray.model.networks import build_fused, build_named, check_network, unfuse
from synthray.model.saved import ModelCard, load_model, model_name, resolve_model, save_model
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range

SHAPE = (20, 551)
TABLES = {
    "instrument": INSTRUMENT,
    "foreign": ParameterTable((Choice("a", ("x", "y", "z", "v", "w")), Range("b"), Choice("c", ("p", "q")))),
    "ranges only": ParameterTable((Range("a"), Range("b"))),
    "choices only": ParameterTable((Choice("a", ("x", "y")), Choice("b", ("x",)))),
}


def random_labels(table: ParameterTable, count: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.stack(
        [random.integers(p.num_outputs, size=count) if isinstance(p, Choice) else random.random(count)
         for p in table.learned],
        axis=1,
    ).astype(np.float32)  # fmt: skip


def card(table: ParameterTable = INSTRUMENT, name: str = "model_9_20") -> ModelCard:
    return ModelCard(name, table, SHAPE, 20, {"digest": "d"}, {"seed": 0}, {"loss": 1.0}, "")


@pytest.mark.parametrize("name", TABLES)
def test_fused_loss_and_metrics_are_those_of_keras(name: str) -> None:
    table, shape = TABLES[name], (4, 7)
    fused = build_fused("notebook", shape, HeadLayout(table), seed=3)
    named = unfuse(fused.get_weights(), "notebook", shape, table)
    features = np.random.default_rng(0).random((16, *shape)).astype(np.float32)
    labels = random_labels(table, 16)
    scores = score(fused(features), tf.constant(labels), HeadLayout(table))
    outputs = dict(zip(named.output_names, keras.tree.flatten(named(features)), strict=True))
    losses, accuracies, errors = [], [], []
    for number, parameter in enumerate(table.learned):
        output = outputs[f"out_{parameter.name}"]
        if isinstance(parameter, Choice):
            wanted = keras.ops.one_hot(labels[:, number].astype(int), len(parameter.values))
            losses.append(keras.losses.CategoricalCrossentropy()(wanted, output))
            accuracies.append(np.mean(keras.metrics.categorical_accuracy(wanted, output)))
        else:
            losses.append(keras.losses.MeanAbsoluteError()(labels[:, number : number + 1], output))
            errors.append(losses[-1])
    assert np.mean(scores.loss) == pytest.approx(float(np.sum(losses)), rel=1e-5)
    assert np.mean(scores.accuracy) == pytest.approx(np.mean(accuracies) if accuracies else 0)
    assert np.mean(scores.error) == pytest.approx(float(np.mean(errors)) if errors else 0, rel=1e-5)


def test_the_numbers_of_the_notebook() -> None:
    model = build_named("notebook", SHAPE, INSTRUMENT)
    counts = {layer.name: layer.count_params() for layer in model.layers}
    assert counts["conv1d"] == 423_424
    assert counts["dense"] == 1_179_904
    heads = [counts[name] for name in model.output_names]
    assert len(heads) == 38
    assert {counts[f"out_{p.name}"] for p in INSTRUMENT.ranges} == {257}
    assert counts["out_amplitude_lfo_waveform"] == 1_028
    assert counts["out_oscillator_2_routing"] == 771


def test_heads_start_as_keras_would_start_them() -> None:
    layout = HeadLayout(INSTRUMENT)
    kernel = layout.initial_kernel(256, seed=5)
    assert kernel.shape == (256, 31 + 27)
    for parameter in INSTRUMENT.learned:
        limit = np.sqrt(6 / (256 + parameter.num_outputs))
        part = kernel[:, layout.columns[parameter.name]]
        assert 0.9 * limit < np.abs(part).max() <= limit
    np.testing.assert_array_equal(kernel, layout.initial_kernel(256, seed=5))
    assert (kernel != layout.initial_kernel(256, seed=6)).mean() > 0.99


def test_a_saved_model_opens_in_plain_keras(tmp_path: Path) -> None:
    fused = build_fused("notebook", SHAPE, HeadLayout(INSTRUMENT), seed=0)
    uri = save_model(unfuse(fused.get_weights(), "notebook", SHAPE, INSTRUMENT), str(tmp_path), card())
    assert uri == str(tmp_path / "model_9_20.keras")
    program = (
        "import sys, keras, numpy as np; "
        f"model = keras.models.load_model({uri!r}); "
        "outputs = model.predict(np.zeros((2, 20, 551)), verbose=0); "
        "assert not any(name.startswith('synthray') for name in sys.modules); "
        "print(model.input.name, len(model.outputs), model.output_names[0], len(keras.tree.flatten(outputs)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.stdout.split() == ["in_fft", "38", "out_oscillator_1_waveform", "38"]


def test_a_model_comes_back_with_its_card(tmp_path: Path) -> None:
    fused = build_fused("notebook", (4, 7), HeadLayout(TABLES["foreign"]), seed=0)
    named = unfuse(fused.get_weights(), "notebook", (4, 7), TABLES["foreign"])
    uri = save_model(named, str(tmp_path), card(TABLES["foreign"]))
    for where in (uri, str(tmp_path)):
        model, read = load_model(where)
        assert read.table == TABLES["foreign"]
        assert len(read.sha256) == 64
        for a, b in zip(model.get_weights(), named.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_no_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHRAY_HOME", str(tmp_path))
    with pytest.raises(NotFound, match=r"jobs/train\.py makes one"):
        resolve_model()
    with pytest.raises(NotFound, match=r"no model at .*x\.keras; jobs/train\.py makes one"):
        load_model(str(tmp_path / "x.keras"))
    fused = build_fused("notebook", (4, 7), HeadLayout(TABLES["foreign"]), seed=0)
    named = unfuse(fused.get_weights(), "notebook", (4, 7), TABLES["foreign"])
    uri = save_model(named, str(tmp_path / "models" / "a"), card(TABLES["foreign"]))
    assert resolve_model() == uri
    Path(uri).write_bytes(Path(uri).read_bytes()[:-1])
    with pytest.raises(ModelError, match="is not the file that its card describes"):
        load_model(uri)
    Path(uri).with_suffix(".json").write_text("{}")
    with pytest.raises(ModelError, match="is not a model card"):
        load_model(uri)


def test_networks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="model is 'huge'; it can be notebook"):
        check_network("huge", SHAPE)
    with pytest.raises(ConfigError, match="convolves over 3 frames; the data set has 2"):
        check_network("notebook", (2, 551))


def test_models_are_named_as_in_the_notebook() -> None:
    assert model_name(9, 20) == "model_9_20"
