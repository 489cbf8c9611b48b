"""Matches: the network's answer, and better presets within a budget."""

import numpy as np
import pytest

from synthray.errors import ConfigError, ModelError, SoundError
from synthray.match.distances.spectral import mel_levels, multi_scale_distance
from synthray.match.match import match, warm_up
from synthray.match.sound import normalize_level
from synthray.synth.audible.audible import audible
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json
from synthray.synth.voice import check_settings, render


def distance_db(audio, settings):
    levels, other = (mel_levels(sound[None]) for sound in (normalize_level(audio), render(settings[None])[0]))
    return float(multi_scale_distance(levels, other)[0])


def test_match_without_search_sounds_like_the_networks_answer(predictor, sound):
    found = match(predictor, sound)
    assert found.evaluations == 0
    labels = predictor.labels(analyse(normalize_level(sound)[None]))
    answer = INSTRUMENT.labels_to_settings(labels)[0]
    assert distance_db(sound, found.settings) <= distance_db(sound, answer) + 0.03
    assert found.distance_db == pytest.approx(distance_db(sound, found.settings), rel=1e-5)
    changed = found.settings != answer
    is_learned = np.array([p.name in INSTRUMENT.label_index for p in INSTRUMENT.parameters])
    assert not changed[~is_learned].any()
    entries = found.to_json()["parameters"]
    heard = np.array([entries[p.name]["audible"] for p in INSTRUMENT.learned])
    assert not heard[changed[is_learned]].any()  # only what cannot be heard may have its default
    np.testing.assert_array_equal(check_settings(found.settings[None])[0], found.settings)


def test_match_calls_the_network_once(predictor, sound, monkeypatch):
    calls = []
    network = predictor._network
    monkeypatch.setattr(predictor, "_network", lambda rows: calls.append(len(rows)) or network(rows))
    match(predictor, sound)
    assert calls == [1]


def test_match_with_search_is_nearer_and_reproducible(predictor, sound):
    network = match(predictor, sound)
    found, again = (match(predictor, sound, max_evaluations=400, threads=threads) for threads in (1, 2))
    assert found.distance_db < network.distance_db
    assert found.evaluations >= 400
    np.testing.assert_array_equal(found.settings, again.settings)
    assert not np.array_equal(match(predictor, sound, max_evaluations=400, seed=1).settings, found.settings)


def test_match_stops_after_its_time(predictor, sound):
    match(predictor, sound, max_evaluations=64)  # compiles
    found = match(predictor, sound, 0.3)
    assert 0.3 <= found.elapsed_s < 5
    assert found.evaluations > 0


def test_match_confidence_belongs_to_the_learned_parameters(predictor, sound):
    found = match(predictor, sound, max_evaluations=64)
    assert found.confidence.shape == (len(INSTRUMENT.learned),)
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("budget", [{"refine_s": -1.0}, {"max_evaluations": -1}])
def test_match_negative_budget_is_refused(predictor, sound, budget):
    with pytest.raises(ConfigError, match="may not be negative"):
        match(predictor, sound, **budget)


def test_match_of_silence_or_with_a_foreign_model_is_refused(predictor, foreign_predictor, sound):
    with pytest.raises(SoundError, match="silent"):
        match(predictor, np.zeros_like(sound))
    with pytest.raises(ModelError, match="another instrument"):
        match(foreign_predictor, sound)


def test_match_to_json_is_a_preset_with_what_is_known(predictor, sound):
    found = match(predictor, sound, max_evaluations=64)
    preset = found.to_json(model="m")
    assert preset["model"] == "m"
    assert preset["distance_db"] == pytest.approx(found.distance_db, abs=1e-3)
    np.testing.assert_allclose(preset_from_json(INSTRUMENT, preset), found.settings, rtol=1e-3, atol=1e-3)
    entries = preset["parameters"]
    assert "audible" not in entries["note_pitch"]
    assert [entries[p.name]["audible"] for p in INSTRUMENT.learned] == audible(found.settings[None])[0].tolist()


def test_warm_up_searches_only_with_models_of_the_instrument(predictor, foreign_predictor, monkeypatch):
    matched = []

    def record(_predictor, audio, *, max_evaluations):
        matched.append((audio.shape, max_evaluations > 1))  # one evaluation would be no search

    monkeypatch.setattr("synthray.match.match.match", record)
    warm_up(foreign_predictor)
    assert matched == []
    warm_up(predictor)
    assert matched == [((22050,), True)]
