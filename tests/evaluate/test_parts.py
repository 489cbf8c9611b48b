"""Selection of the examples to evaluate, checks of model against data set, and the evaluation of one part."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from synthray.data.examples import Examples
from synthray.data.manifest import Manifest, Shard
from synthray.errors import ModelError
from synthray.evaluate.baselines import Candidates
from synthray.evaluate.matches import Matches
from synthray.evaluate.parts import BASELINES, Part, audible_parameters, check_fits, choose_rows, cut, evaluate_part
from synthray.synth.features import analyse, render_features
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import render
from tests.models import FOREIGN, FOREIGN_SHAPE, build_card

CARD = SimpleNamespace(analysis="fft")


def manifest(table=FOREIGN, shape=FOREIGN_SHAPE, rows=(10, 4, 7)):
    shards = tuple(Shard(f"{number}.parquet", count, 1, "0") for number, count in enumerate(rows))
    return Manifest(table, shape, "float32", {"kind": "test"}, shards, {})


def card(digest, first=14, count=7):
    return build_card(FOREIGN, FOREIGN_SHAPE, dataset={"digest": digest, "holdout": {"first": first, "count": count}})


def test_choose_rows_takes_the_holdout_only_for_the_same_data_set():
    data = manifest()
    assert choose_rows([card(data.digest)], data) == ("holdout", 14, 21)
    assert choose_rows([card("another")], data) == ("all", 0, 21)
    assert choose_rows([card(data.digest, 21, 0)], data) == ("all", 0, 21)
    assert choose_rows([build_card(FOREIGN, FOREIGN_SHAPE)], data) == ("all", 0, 21)


def test_choose_rows_knows_the_holdout_of_a_data_set_before_and_after_an_append():
    first = {"kind": "test", "digest": "a", "batches": 1}
    before = replace(manifest(), source=first)
    after = replace(
        before, source={"kind": "appended", "parts": [first, {**first, "digest": "b"}]}, shards=before.shards * 2
    )
    holdout = {"digest": before.digest, "first_part": "a", "holdout": {"first": 14, "count": 7}}
    trained = [
        build_card(FOREIGN, FOREIGN_SHAPE, dataset=holdout | {"digest": each.digest}) for each in (before, after)
    ]
    for data in (before, after):
        assert choose_rows(trained, data) == ("holdout", 14, 21)
    assert choose_rows(trained, replace(before, source={**first, "digest": "c"})) == ("all", 0, 21)


def test_choose_rows_of_several_models_takes_what_no_one_was_trained_on():
    data = manifest()
    assert choose_rows([card(data.digest), card("another")], data) == ("holdout", 14, 21)
    assert choose_rows([card(data.digest), card(data.digest, 10, 8)], data) == ("holdout", 14, 18)
    assert choose_rows([card(data.digest), card(data.digest, 0, 14)], data) == ("all", 0, 21)
    assert choose_rows([card(data.digest), card(data.digest, 21, 0)], data) == ("all", 0, 21)


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        (0, 21, [Part(0, 0, 10, 0), Part(1, 0, 4, 10), Part(2, 0, 7, 14)]),
        (14, 21, [Part(2, 0, 7, 14)]),
        (9, 15, [Part(0, 9, 10, 0), Part(1, 0, 4, 10), Part(2, 0, 1, 14)]),
        (10, 10, []),
    ],
)
def test_cut_returns_one_part_per_shard_without_empty_ones(first, last, parts):
    assert cut(manifest(), first, last) == parts


@pytest.mark.parametrize(("sounds", "rows"), [(3, [9, 11, 13]), (6, [9, 10, 11, 12, 13, 14]), (99, range(9, 15))])
def test_cut_spreads_the_measured_rows_evenly(sounds, rows):
    parts = cut(manifest(), 9, 15, sounds)
    assert [part.start + row for part in parts for row in part.measured] == list(rows)
    assert all(part.first <= row < part.last for part in parts for row in part.measured)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (manifest(shape=(5, 8)), r"takes features \(5, 7\), but the data set has \(5, 8\)"),
        (manifest(ParameterTable(FOREIGN.parameters[:-1])), "'lfo_shape' is in only one of them"),
        (manifest(ParameterTable((*FOREIGN.parameters, Range("more")))), "'more' is in only one of them"),
        (
            manifest(ParameterTable((*FOREIGN.parameters[:-1], Choice("lfo_shape", ("a", "b", "c"))))),
            "their values, ranges or order differ",
        ),
    ],
)
def test_check_fits_refuses_other_parameters_and_shapes(data, message):
    with pytest.raises(ModelError, match=message):
        check_fits(card("x"), data)
    check_fits(card("x"), manifest())


@pytest.fixture(scope="module")
def candidates():
    return Candidates.render(40, threads=1)


def answering(*labels):
    """Models that know the labels of the rows 1 to 3."""
    return [SimpleNamespace(labels=lambda features, clip, known=known: known[1:4], card=CARD) for known in labels]


def instrument_data(labels, seeds):
    features = render_features(INSTRUMENT.labels_to_settings(labels), seeds, threads=1)
    examples = Examples(features, labels, seeds)
    return SimpleNamespace(manifest=SimpleNamespace(table=INSTRUMENT), read_shard=lambda shard: examples)


@pytest.fixture
def only_pitch_is_heard(monkeypatch):
    column = INSTRUMENT.label_index["oscillator_1_pitch"]
    heard = np.arange(len(INSTRUMENT.learned)) == column
    monkeypatch.setattr(
        "synthray.evaluate.parts.audible_parameters", lambda table, labels: np.tile(heard, (len(labels), 1))
    )
    return column


def test_evaluate_part_measures_models_and_baselines_on_the_same_sounds(candidates, only_pitch_is_heard):
    truth = random_presets(5, 0, 4)
    wrong = np.where([isinstance(p, Range) for p in INSTRUMENT.learned], np.float32(1.5), truth)
    guess = truth[0].astype(float)
    dataset = instrument_data(truth, noise_seeds(5, 0, 4))
    result = evaluate_part(answering(truth, wrong), dataset, Part(0, 1, 4, 100, (1, 3)), guess, candidates)

    assert result.sums.rows[0] == 3
    np.testing.assert_array_equal(result.sums.audible_rows[0] > 0, np.arange(38) == only_pitch_is_heard)
    matches = result.matches
    assert matches.rows.tolist() == [101, 103]
    right, clipped, mean, random, nearest, floor = matches.answers
    settings = INSTRUMENT.labels_to_settings(truth)[[1, 3]]
    for preset in (matches.settings, right, floor):
        np.testing.assert_array_equal(preset, settings)
    np.testing.assert_array_equal(mean, INSTRUMENT.labels_to_settings(truth[[0, 0]]))
    np.testing.assert_array_equal(clipped, INSTRUMENT.labels_to_settings(np.where(wrong == 1.5, 1, truth))[[1, 3]])
    assert not np.array_equal(random[0], random[1])
    assert not np.array_equal(nearest, random)
    assert (matches.noise_seeds == noise_seeds(5, 0, 4)[[1, 3]]).all()
    np.testing.assert_array_equal(matches.distances[0], matches.distances[-1])
    assert (matches.distances[-1, :, 0] < matches.distances[1:-1, :, 0]).all()


def test_evaluate_part_refines_the_answers_of_measured_sounds(candidates, predictor):
    truth = random_presets(5, 0, 4)
    dataset = instrument_data(truth, noise_seeds(5, 0, 4))
    part = Part(0, 1, 4, 100, (1, 3))
    matches = evaluate_part([predictor], dataset, part, truth[0], candidates, refine_s=0.3).matches
    network, refined, *baselines = matches.answers
    assert len(baselines) == len(BASELINES)
    np.testing.assert_array_equal(baselines[-1], INSTRUMENT.labels_to_settings(truth)[[1, 3]])
    assert not np.array_equal(network, refined)
    assert matches.distances[1, :, 0].mean() < matches.distances[0, :, 0].mean()


def test_evaluate_part_gives_a_model_the_analysis_of_its_card(candidates, only_pitch_is_heard):
    truth, seeds = random_presets(5, 0, 4), noise_seeds(5, 0, 4)
    seen = []
    model = SimpleNamespace(
        labels=lambda features, clip: seen.append(features) or truth[1:4], card=SimpleNamespace(analysis="spectra")
    )
    evaluate_part([model], instrument_data(truth, seeds), Part(0, 1, 4, 0), truth[0], candidates)
    expected = analyse(render(INSTRUMENT.labels_to_settings(truth), seeds), analysis="spectra")
    np.testing.assert_allclose(seen[0], expected[1:4], rtol=1e-5, atol=1e-5)  # a matrix product rounds by its size


def test_check_fits_of_another_analysis_needs_the_instrument():
    spectra = replace(card("x"), table=INSTRUMENT, analysis="spectra", feature_shape=(20, 456))
    own = Manifest(INSTRUMENT, (20, 551), "float32", {}, (), {})
    check_fits(spectra, own)
    check_fits(replace(spectra, analysis="fft", feature_shape=(9, 9)), replace(own, feature_shape=(9, 9)))
    with pytest.raises(ModelError, match="takes features"):
        check_fits(spectra, manifest())


def test_evaluate_part_without_measured_rows_only_scores(candidates, only_pitch_is_heard):
    truth = random_presets(5, 0, 4)
    dataset = instrument_data(truth, noise_seeds(5, 0, 4))
    result = evaluate_part(answering(truth), dataset, Part(0, 1, 4, 0), truth[0], candidates)
    assert result.sums.rows[0] == 3
    assert len(result.matches) == 0
    assert result.matches.answers.shape == (5, 0, 46)


def test_matches_of_parts_equal_those_of_the_whole(candidates, only_pitch_is_heard):
    truth = random_presets(5, 0, 4)
    dataset = instrument_data(truth, noise_seeds(5, 0, 4))

    def matches(first, last):
        models = [SimpleNamespace(labels=lambda features, clip: truth[first:last], card=CARD)]
        part = Part(0, first, last, 7, tuple(range(first, last)))
        return evaluate_part(models, dataset, part, truth[0], candidates).matches

    whole, merged = matches(0, 4), Matches.concatenate([matches(2, 4), matches(0, 2)], 5)
    for name in ("rows", "settings", "noise_seeds", "answer_noise_seeds", "answers"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    np.testing.assert_allclose(merged.distances, whole.distances, rtol=1e-5)


def test_originals_without_stored_noise_have_noise_seed_0(candidates, only_pitch_is_heard):
    truth = random_presets(5, 0, 4)
    dataset = instrument_data(truth, None)
    matches = evaluate_part(answering(truth), dataset, Part(0, 1, 4, 0, (2,)), truth[0], candidates).matches
    assert matches.noise_seeds.tolist() == [0]
    assert matches.answer_noise_seeds.tolist() != [0]


def test_audible_parameters_of_another_instrument_are_all():
    assert audible_parameters(FOREIGN, np.zeros((2, 5))).tolist() == [[True] * 5] * 2
