"""Presets predicted for a sound, and the sounds that cannot be matched."""

import numpy as np
import pytest

from synthray.errors import ModelError, SoundError
from synthray.match.sound import match_settings, match_sound, normalize_level, warm_up
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Range


def test_match_settings_are_within_every_range(predictor, sound):
    settings = match_settings(predictor, sound)
    assert settings.shape == (46,)
    for parameter, setting in zip(INSTRUMENT.parameters, settings, strict=True):
        if isinstance(parameter, Range):
            rounding = 1e-5 * max(abs(parameter.minimum), abs(parameter.maximum))
            assert parameter.minimum - rounding <= setting <= parameter.maximum + rounding, parameter.name
        elif isinstance(parameter, Choice):
            assert setting in range(len(parameter.values)), parameter.name
        else:
            assert setting == np.float32(parameter.value)


def test_match_sound_is_the_preset_of_the_settings(predictor, sound):
    from synthray.synth.presets import preset_from_json

    settings = preset_from_json(INSTRUMENT, match_sound(predictor, sound))
    np.testing.assert_allclose(settings, match_settings(predictor, sound), rtol=1e-3, atol=1e-3)


def test_match_sound_has_extra_entries(predictor, sound):
    assert match_sound(predictor, sound, sound={"skipped_s": 0.5})["sound"] == {"skipped_s": 0.5}


def test_match_sound_with_a_foreign_model_raises_model_error(foreign_predictor, sound):
    with pytest.raises(ModelError, match="model_3_1 was trained on another instrument"):
        match_sound(foreign_predictor, sound)


@pytest.mark.parametrize("bad", [np.zeros(100, np.float32), np.full(22050, np.nan, np.float32)])
def test_match_sound_of_another_length_or_not_finite_raises_sound_error(predictor, bad):
    with pytest.raises(SoundError, match="the sound has shape"):
        match_sound(predictor, bad)


def test_warm_up_renders_only_for_models_of_the_instrument(predictor, foreign_predictor, monkeypatch):
    rendered = []
    monkeypatch.setattr("synthray.match.sound.render", lambda settings: rendered.append(settings.shape))
    warm_up(foreign_predictor)
    assert rendered == []
    warm_up(predictor)
    assert rendered == [(1, 46)]


@pytest.mark.parametrize("gain_db", [-60.0, -20.0, 0.0, 40.0])
def test_normalize_level_is_the_same_at_every_level(gain_db):
    tone = 0.9 * np.sin(np.linspace(0, 2000, 22050)).astype(np.float32)
    scaled = normalize_level(tone * np.float32(10 ** (gain_db / 20)))
    np.testing.assert_allclose(scaled, normalize_level(tone), atol=1e-6)
    assert np.sqrt(np.mean(scaled**2)) == pytest.approx(10 ** (-33 / 20), rel=1e-3)


def test_match_settings_do_not_depend_on_the_level(predictor, sound):
    expected = match_settings(predictor, sound)
    for gain in (0.001, 0.1, 10.0):
        np.testing.assert_allclose(match_settings(predictor, sound * np.float32(gain)), expected, rtol=1e-3, atol=1e-3)


def test_normalize_level_of_silence_raises_sound_error():
    with pytest.raises(SoundError, match="the sound is silent in its first 2 s"):
        normalize_level(np.zeros(22050, np.float32))
