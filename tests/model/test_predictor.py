"""The predictor against the saved model as plain Keras runs it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from synthray.errors import ModelError, NotFound, SoundError
from synthray.model.predictor import ROWS_AT_ONCE, Predictor, predict_together
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range
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
    """The slow way: the saved layers one by one, by name."""
    import keras

    outputs = model(features, training=False)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {name: keras.ops.convert_to_numpy(out) for name, out in zip(model.output_names, outputs, strict=True)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("range_activation", [None, "sigmoid"], ids=["fused", "layer by layer"])
def test_outputs_are_those_of_plain_keras(table, range_activation):
    model = build_model(table, FOREIGN_SHAPE, range_activation)
    features = features_of(6, FOREIGN_SHAPE)
    expected = keras_outputs(model, features)
    outputs = Predictor(model, build_card(table, FOREIGN_SHAPE)).predict(features)
    assert list(outputs) == [f"out_{parameter.name}" for parameter in table.learned] == list(expected)
    for name, values in expected.items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], values, atol=1e-6)


def test_the_instruments_38_outputs_are_those_of_plain_keras(model_folder, predictor):
    import keras

    features = features_of(3, (20, 551))
    expected = keras_outputs(keras.models.load_model(model_folder / "model_2_1.keras"), features)
    outputs = predictor.predict(features)
    assert len(outputs) == 38
    assert max(np.ptp(values) for values in outputs.values()) > 0.01
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=1e-5)


def test_labels_are_the_likeliest_class_and_the_clipped_number(foreign_predictor):
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


def test_more_rows_than_fit_at_once_are_cut(foreign_predictor):
    features = features_of(2 * ROWS_AT_ONCE + 1, FOREIGN_SHAPE)
    outputs = foreign_predictor.predict(features)["out_decay"]
    assert outputs.shape == (2 * ROWS_AT_ONCE + 1, 1)
    np.testing.assert_allclose(outputs[-1:], foreign_predictor.predict(features[-1:])["out_decay"], atol=1e-6)


def test_no_batch_size_traces_the_model_again(foreign_predictor):
    for sounds in (1, 2, 3, 17, 64):
        foreign_predictor.predict(features_of(sounds, FOREIGN_SHAPE))
    assert foreign_predictor._function.experimental_get_tracing_count() == 1


def test_threads_get_their_own_answers(foreign_predictor):
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
        (ParameterTable(FOREIGN.parameters[:-1]), FOREIGN_SHAPE, "'out_lfo_shape' is no learned parameter"),
        (
            ParameterTable((*FOREIGN.parameters[:-1], Choice("lfo_shape", ("sine", "saw")))),
            FOREIGN_SHAPE,
            r"'out_lfo_shape' has shape \(None, 3\), its card says \(None, 2\)",
        ),
    ],
)
def test_a_card_of_another_model_is_refused(table, shape, message):
    with pytest.raises(ModelError, match=message):
        Predictor(build_model(FOREIGN, FOREIGN_SHAPE), build_card(table, shape))


def test_features_of_another_shape_are_refused(foreign_predictor):
    with pytest.raises(ModelError, match=r"\(2, 5, 8\), expected \(sounds, 5, 7\)"):
        foreign_predictor.predict(np.zeros((2, 5, 8), np.float32))


def test_a_model_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotFound, match=r"nothing\.keras"):
        Predictor.load(f"{tmp_path}/nothing.keras")


def test_a_sound_gives_a_preset_within_every_range(predictor, sound):
    settings = predictor.match_settings(sound)
    assert settings.shape == (46,)
    for parameter, setting in zip(INSTRUMENT.parameters, settings, strict=True):
        if isinstance(parameter, Range):
            rounding = 1e-5 * max(abs(parameter.minimum), abs(parameter.maximum))
            assert parameter.minimum - rounding <= setting <= parameter.maximum + rounding, parameter.name
        elif isinstance(parameter, Choice):
            assert setting in range(len(parameter.values)), parameter.name
        else:
            assert setting == np.float32(parameter.value)


def test_a_preset_reads_back_as_the_settings(predictor, sound):
    from synthray.synth.presets import preset_from_json

    settings = preset_from_json(INSTRUMENT, predictor.match(sound))
    np.testing.assert_allclose(settings, predictor.match_settings(sound), rtol=1e-3, atol=1e-3)


def test_a_foreign_model_cannot_match_a_sound(foreign_predictor, sound):
    with pytest.raises(ModelError, match="model_3_1 was trained on another instrument"):
        foreign_predictor.match(sound)


@pytest.mark.parametrize("bad", [np.zeros(100, np.float32), np.full(22050, np.nan, np.float32)])
def test_a_sound_of_another_length_or_not_finite_is_refused(predictor, bad):
    with pytest.raises(SoundError, match="the sound has shape"):
        predictor.match(bad)


def test_requests_for_two_models_are_answered_each_by_its_own(foreign_predictor):
    other = Predictor(build_model(FOREIGN, FOREIGN_SHAPE, seed=5), build_card(FOREIGN, FOREIGN_SHAPE))
    requests = [
        ([foreign_predictor, other][seed % 2], features_of(1 + seed % 3, FOREIGN_SHAPE, seed)) for seed in range(9)
    ]
    answers = predict_together(requests)
    assert not np.allclose(
        foreign_predictor.predict(features_of(1, FOREIGN_SHAPE))["out_on"],
        other.predict(features_of(1, FOREIGN_SHAPE))["out_on"],
    )
    for (predictor, features), outputs in zip(requests, answers, strict=True):
        for name, values in predictor.predict(features).items():
            np.testing.assert_allclose(outputs[name], values, atol=1e-6)


def test_a_loud_recording_is_matched_as_a_quiet_one_and_silence_is_told():
    from synthray.model.predictor import normalize_level

    tone = 0.9 * np.sin(np.linspace(0, 2000, 22050)).astype(np.float32)
    np.testing.assert_allclose(normalize_level(tone), normalize_level(tone / 4), atol=1e-6)
    assert np.sqrt(np.mean(normalize_level(tone) ** 2)) == pytest.approx(0.1, rel=1e-3)
    quiet = 0.01 * tone
    np.testing.assert_allclose(normalize_level(quiet), quiet, rtol=1e-6)
    with pytest.raises(SoundError, match="silent"):
        normalize_level(np.zeros(22050, np.float32))
