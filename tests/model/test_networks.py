"""Networks with fused heads against Keras's own 38 layers and losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from synthray.errors import ConfigError
from synthray.model.heads import HeadLayout
from synthray.model.losses import LABEL_SPREAD, UNHEARD, score
from synthray.model.networks import build_fused, build_named, check_network
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


@pytest.mark.parametrize("name", TABLES)
def test_score_equals_keras_losses_and_metrics(name: str) -> None:
    table, shape = TABLES[name], (4, 7)
    fused = build_fused("notebook", shape, HeadLayout(table), seed=3)
    named = build_named("notebook", shape, table, weights=fused.get_weights())
    features = np.random.default_rng(0).random((16, *shape)).astype(np.float32)
    labels = random_labels(table, 16)
    scores = score(fused(features), tf.constant(labels), HeadLayout(table))
    outputs = dict(zip(named.output_names, keras.tree.flatten(named(features)), strict=True))
    losses, accuracies, errors = [], [], []
    for number, parameter in enumerate(table.learned):
        output = outputs[f"out_{parameter.name}"]
        if isinstance(parameter, Choice):
            targets = keras.ops.one_hot(labels[:, number].astype(int), len(parameter.values))
            losses.append(keras.losses.CategoricalCrossentropy()(targets, output))
            accuracies.append(np.mean(keras.metrics.categorical_accuracy(targets, output)))
        else:
            losses.append(keras.losses.MeanAbsoluteError()(labels[:, number : number + 1], output))
            errors.append(losses[-1])
    assert np.mean(scores.loss) == pytest.approx(float(np.sum(losses)), rel=1e-5)
    assert np.mean(scores.accuracy) == pytest.approx(np.mean(accuracies) if accuracies else 0)
    assert np.mean(scores.error) == pytest.approx(float(np.mean(errors)) if errors else 0, rel=1e-5)


def test_build_named_has_the_notebooks_parameter_counts() -> None:
    model = build_named("notebook", SHAPE, INSTRUMENT)
    counts = {layer.name: layer.count_params() for layer in model.layers}
    assert counts["conv1d"] == 423_424
    assert counts["dense"] == 1_179_904
    heads = [counts[name] for name in model.output_names]
    assert len(heads) == 38
    assert {counts[f"out_{p.name}"] for p in INSTRUMENT.ranges} == {257}
    assert counts["out_amplitude_lfo_waveform"] == 1_028
    assert counts["out_oscillator_2_routing"] == 771


def test_build_named_compiles_the_notebooks_losses() -> None:
    model = build_named("notebook", (4, 7), TABLES["foreign"], width=4)
    compiled, choices = model.get_compile_config(), ("out_a", "out_c")
    assert compiled["loss"] == dict.fromkeys(choices, "categorical_crossentropy") | {"out_b": "mean_absolute_error"}
    assert compiled["metrics"] == dict.fromkeys(choices, "categorical_accuracy")


def trunk(seed: int) -> list[np.ndarray]:
    """Initial weights without those of the heads."""
    return build_fused("notebook", (4, 7), HeadLayout(TABLES["foreign"]), seed, width=4).get_weights()[:-2]


@pytest.mark.parametrize("seed", [2**32, 2**63 - 1])
def test_build_fused_uses_all_bits_of_a_seed(seed: int) -> None:
    weights, shorter = trunk(seed), trunk(seed % 2**32)
    assert all(np.isfinite(array).all() for array in weights)
    assert not np.array_equal(weights[0], shorter[0])
    np.testing.assert_array_equal(weights[0], trunk(seed)[0])


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_build_fused_seeds_keras_with_a_short_seed_itself(seed: int) -> None:
    weights = trunk(seed)
    keras.utils.set_random_seed(seed)
    x = keras.layers.Conv1D(4, 3)(features := keras.Input((4, 7)))
    x = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    for array, expected in zip(weights, keras.Model(features, x).get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_build_fused_restores_the_dtype_policy_and_keeps_heads_in_float32() -> None:
    model = build_fused("notebook", (4, 7), HeadLayout(TABLES["foreign"]), 0, width=4, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    assert model.get_layer("dense").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_check_network_refuses_too_few_frames() -> None:
    with pytest.raises(ConfigError, match="convolves over 3 frames; the data set has 2"):
        check_network("notebook", (2, 551))
    check_network("histogram", (1, 551))


def test_score_of_histograms_equals_literal_sums() -> None:
    table = ParameterTable((Range("a"), Choice("b", ("x", "y", "z")), Range("c", 0, 6, step=1)))
    layout = HeadLayout(table, bins=16)
    random = np.random.default_rng(0)
    outputs = random.standard_normal((20, layout.width)).astype(np.float32) * 2
    labels = np.stack([random.random(20), random.integers(3, size=20), random.integers(7, size=20) / 6], axis=1)
    scores = score(tf.constant(outputs), tf.constant(labels, tf.float32), layout)
    for row, (output, (a, b, c)) in enumerate(zip(outputs.astype(np.float64), labels, strict=True)):
        parts = [output[layout.columns[name]] for name in "abc"]
        log_p = [part - np.log(np.exp(part).sum()) for part in parts]
        centres = (np.arange(16) + 0.5) / 16
        bell = np.exp(-0.5 * ((a - centres) / LABEL_SPREAD) ** 2)
        loss = -(bell / bell.sum() * log_p[0]).sum() - log_p[1][int(b)] - log_p[2][round(c * 6)]
        assert float(scores.loss[row]) == pytest.approx(loss, rel=1e-4)
        assert float(scores.accuracy[row]) == (parts[1].argmax() == b)
        after = np.exp(log_p[0]).cumsum()
        first = int((after < 0.5).sum())
        before = after[first] - np.exp(log_p[0][first])
        median_a = (first + (0.5 - before) / np.exp(log_p[0][first])) / 16
        median_c = (np.exp(log_p[2]).cumsum() < 0.5).sum() / 6
        assert float(scores.error[row]) == pytest.approx((abs(median_a - a) + abs(median_c - c)) / 2, abs=1e-4)


@pytest.mark.parametrize("position", [-0.5, 0.0, 1.0, 7.0])
def test_score_of_histograms_beyond_the_range_is_finite(position: float) -> None:
    layout = HeadLayout(ParameterTable((Range("a"),)), bins=4)
    scores = score(tf.zeros((1, 4)), tf.constant([[position]]), layout)
    assert float(scores.loss[0]) == pytest.approx(np.log(4), rel=1e-5)


@pytest.mark.parametrize("bins", [0, 16])
def test_score_leaves_out_unheard_parameters(bins: int) -> None:
    table = ParameterTable((Range("a"), Choice("b", ("x", "y", "z")), Range("c")))
    layout = HeadLayout(table, bins)
    outputs = np.random.default_rng(0).standard_normal((1, layout.width)).astype(np.float32)
    alone = {}
    for column, name in enumerate("abc"):
        labels = np.full((1, 3), UNHEARD, np.float32)
        labels[0, column] = 1.0
        alone[name] = score(tf.constant(outputs), tf.constant(labels), layout)
    together = score(tf.constant(outputs), tf.ones((1, 3)), layout)
    assert float(together.loss[0]) == pytest.approx(sum(float(each.loss[0]) for each in alone.values()), rel=1e-5)
    assert float(together.error[0]) == pytest.approx((float(alone["a"].error[0]) + float(alone["c"].error[0])) / 2)
    assert float(together.accuracy[0]) == float(alone["b"].accuracy[0])
    nothing = score(tf.constant(outputs), tf.fill((1, 3), UNHEARD), layout)
    assert [float(each[0]) for each in nothing] == [0, 0, 0]
    assert np.isnan(score(tf.constant(outputs), tf.fill((1, 3), np.nan), layout).loss[0])
