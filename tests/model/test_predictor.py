"""Predictions of the predictor against those of the saved model in plain Keras."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from synthray.errors import ModelError, NotFound
from synthray.model.architectures import ARCHITECTURES
from synthray.model.heads import HeadLayout
from synthray.model.networks import build_fused, build_named
from synthray.model.predictor import MAX_ROWS, Predictor
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card, build_model

TABLES = {
    "mixed": FOREIGN,
    "only ranges": ParameterTable((Range("a"), Range("b"))),
    "only choices": ParameterTable((Choice("a", ("x", "y")), Choice("b", ("x", "y", "z")), Choice("c", ("u", "v")))),
    "one range": ParameterTable((Range("a"),)),
    "one choice": ParameterTable((Choice("a", ("x", "y")),)),
}


def features_of(sounds, shape, seed=0):
    return np.random.default_rng(seed).random((sounds, *shape), np.float32)


def keras_outputs(model, features):
    """Run the saved layers one by one, by name."""
    import keras

    outputs = model(features, training=False)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {name: keras.ops.convert_to_numpy(out) for name, out in zip(model.output_names, outputs, strict=True)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("range_activation", [None, "sigmoid"], ids=["numbers", "sigmoids"])
def test_predict_returns_the_outputs_of_plain_keras(table, range_activation):
    model = build_model(table, FOREIGN_SHAPE, range_activation)
    features = features_of(6, FOREIGN_SHAPE)
    expected = keras_outputs(model, features)
    outputs = Predictor(model, build_card(table, FOREIGN_SHAPE)).predict(features)
    assert list(outputs) == [f"out_{parameter.name}" for parameter in table.learned] == list(expected)
    for name, values in expected.items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], values, atol=1e-6)


@pytest.mark.parametrize("table", [FOREIGN, TABLES["only choices"]], ids=["mixed", "only choices"])
@pytest.mark.parametrize("scale", [1e12, 1e30])
def test_predict_with_huge_features_returns_the_outputs_of_plain_keras(table, scale):
    model = build_model(table, FOREIGN_SHAPE)
    features = np.float32(scale) * features_of(20, FOREIGN_SHAPE)
    outputs = Predictor(model, build_card(table, FOREIGN_SHAPE)).predict(features)
    for name, values in keras_outputs(model, features).items():
        np.testing.assert_allclose(outputs[name], values, rtol=1e-3, atol=1e-3)


def test_predict_returns_the_instruments_38_outputs_of_plain_keras(model_folder, predictor):
    import keras

    features = features_of(3, (20, 551))
    expected = keras_outputs(keras.models.load_model(model_folder / "model_2_1.keras"), features)
    outputs = predictor.predict(features)
    assert len(outputs) == 38
    assert max(np.ptp(values) for values in outputs.values()) > 0.01
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=1e-5)


def test_labels_are_the_most_likely_class_and_the_clipped_number(foreign_predictor):
    features = 40 * features_of(50, FOREIGN_SHAPE)
    outputs = foreign_predictor.predict(features)
    labels = foreign_predictor.labels(features)
    assert labels.shape == (50, 5)
    assert labels.dtype == np.float32
    for column, parameter in enumerate(FOREIGN.learned):
        for sound in range(50):
            found = outputs[f"out_{parameter.name}"][sound].tolist()
            expected = found.index(max(found)) if isinstance(parameter, Choice) else min(max(found[0], 0), 1)
            assert labels[sound, column] == pytest.approx(expected)
    unclipped = foreign_predictor.labels(features, clip=False)
    assert not np.array_equal(unclipped, labels)
    np.testing.assert_array_equal(unclipped[:, 1], outputs["out_cutoff"][:, 0])


def test_predict_splits_more_than_max_rows(foreign_predictor):
    features = features_of(2 * MAX_ROWS + 1, FOREIGN_SHAPE)
    outputs = foreign_predictor.predict(features)["out_decay"]
    assert outputs.shape == (2 * MAX_ROWS + 1, 1)
    np.testing.assert_allclose(outputs[-1:], foreign_predictor.predict(features[-1:])["out_decay"], atol=1e-6)


def test_predict_traces_a_keras_model_once_for_all_batch_sizes():
    predictor = Predictor(build_model(FOREIGN, FOREIGN_SHAPE), build_card(FOREIGN, FOREIGN_SHAPE))
    for sounds in (1, 2, 3, 17, 64):
        predictor.predict(features_of(sounds, FOREIGN_SHAPE))
    assert predictor._network._function.experimental_get_tracing_count() == 1


def test_predict_from_many_threads_returns_each_its_own_outputs(foreign_predictor):
    requests = [features_of(1 + seed % 5, FOREIGN_SHAPE, seed) for seed in range(64)]
    alone = [foreign_predictor.predict(features) for features in requests]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(foreign_predictor.predict, requests))
    for expected, found in zip(alone, together, strict=True):
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


@pytest.mark.parametrize(
    ("table", "shape", "message"),
    [
        (FOREIGN, (5, 8), r"inputs are \[\(None, 5, 7\)\], its card says \(None, 5, 8\)"),
        (ParameterTable((*FOREIGN.parameters, Range("more"))), FOREIGN_SHAPE, "has no output 'out_more'"),
        (ParameterTable(FOREIGN.parameters[:-1]), FOREIGN_SHAPE, "'out_lfo_shape' is not a learned parameter"),
        (
            ParameterTable((*FOREIGN.parameters[:-1], Choice("lfo_shape", ("sine", "saw")))),
            FOREIGN_SHAPE,
            r"'out_lfo_shape' has shape \(None, 3\), its card says \(None, 2\)",
        ),
    ],
)
def test_predictor_with_the_card_of_another_model_raises_model_error(table, shape, message):
    with pytest.raises(ModelError, match=message):
        Predictor(build_model(FOREIGN, FOREIGN_SHAPE), build_card(table, shape))


def test_predict_with_another_feature_shape_raises_model_error(foreign_predictor):
    with pytest.raises(ModelError, match=r"\(2, 5, 8\), expected \(sounds, 5, 7\)"):
        foreign_predictor.predict(np.zeros((2, 5, 8), np.float32))


def test_load_of_a_missing_model_raises_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"nothing\.keras"):
        Predictor.load(f"{tmp_path}/nothing.keras")


HISTOGRAMS = ParameterTable((Range("a"), Choice("b", ("x", "y", "z")), Constant("k"), Range("c", 0, 6, step=1)))


def test_histogram_model_predicts_as_in_plain_keras_and_knows_distributions():
    layout = HeadLayout(HISTOGRAMS, ARCHITECTURES["histogram"].bins)
    fused = build_fused("histogram", (4, 6), layout, seed=1, width=4)
    kernel, bias = fused.get_layer("heads").get_weights()
    weights = [*fused.get_weights()[:-2], 10 * kernel, bias]  # so that probabilities differ
    model = build_named("histogram", (4, 6), HISTOGRAMS, width=4, weights=weights)
    predictor = Predictor(model, build_card(HISTOGRAMS, (4, 6), bins=layout.bins))
    features = np.random.default_rng(0).standard_normal((9, 4, 6)).astype(np.float32)
    plain = dict(zip(model.output_names, model(features), strict=True))
    predicted = predictor.predict(features)
    assert list(predicted) == ["out_a", "out_b", "out_c"]
    for name, values in predicted.items():
        np.testing.assert_allclose(values, plain[name], atol=1e-5)
    labels, distributions = predictor.labels_and_distributions(features)
    np.testing.assert_allclose(labels[:, [0, 2]], np.concatenate([plain["out_a"], plain["out_c"]], axis=1), atol=1e-5)
    np.testing.assert_array_equal(labels[:, 1], plain["out_b"].numpy().argmax(axis=1))
    for row, distribution in enumerate(distributions):
        np.testing.assert_allclose(distribution.likeliest(), labels[row], atol=1e-5)
        np.testing.assert_allclose(distribution.probabilities[0], plain["histogram_a"][row], atol=1e-5)
        np.testing.assert_allclose(distribution.probabilities[1], plain["out_b"][row], atol=1e-5)
    assert np.std(labels[:, 0]) > 0.02


def test_labels_and_distributions_are_of_one_call_of_the_network(predictor, monkeypatch):
    features = np.random.default_rng(0).random((2, 20, 551), np.float32)
    expected = predictor.labels(features)
    calls = []
    network = predictor._network
    monkeypatch.setattr(predictor, "_network", lambda rows: calls.append(len(rows)) or network(rows))
    labels, distributions = predictor.labels_and_distributions(features)
    assert calls == [2]
    np.testing.assert_array_equal(labels, expected)
    assert len(distributions) == 2


def test_model_of_numbers_is_certain_of_the_bin_of_its_number(predictor):
    features = np.random.default_rng(0).random((3, 20, 551), np.float32)
    labels, distributions = predictor.labels_and_distributions(features)
    for row, distribution in enumerate(distributions):
        for column, parameter in enumerate(predictor.card.table.learned):
            probabilities = distribution.probabilities[column]
            assert probabilities.sum() == pytest.approx(1, abs=1e-5)
            if isinstance(parameter, Range):
                assert probabilities.max() == 1
                nearest = np.rint(labels[row, column] * parameter.num_steps)
                inside = min(np.floor(labels[row, column] * len(probabilities)), len(probabilities) - 1)
                assert probabilities.argmax() == (nearest if parameter.step else inside)


def test_import_of_predictor_works_where_the_system_has_no_affinity():
    script = "import os; del os.sched_getaffinity; import synthray.model.predictor as p; print(p._CORES)"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(finished.stdout) == os.cpu_count()
