"""The nearest candidate against a literal search, and presets that depend only on the row."""

import numpy as np

from synthray.data.sources.synthetic import SoundGenerator
from synthray.evaluate.baselines import (
    ANSWER_SEED,
    CANDIDATE_SEED,
    Candidates,
    answer_noise_seeds,
    band_levels,
    random_settings,
    settings_of,
)
from synthray.match.distances.spectra import mel_filters
from synthray.synth.features import analyse, render_features
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import check_settings


def test_nearest_equals_a_literal_search(monkeypatch):
    monkeypatch.setattr("synthray.evaluate.baselines._RENDERED_TOGETHER", 32)
    monkeypatch.setattr("synthray.evaluate.baselines._COMPARED_TOGETHER", 2)
    settings, seeds = settings_of(random_presets(CANDIDATE_SEED, 0, 70)), noise_seeds(CANDIDATE_SEED, 0, 70)
    levels = band_levels(render_features(settings, seeds, threads=1))
    sounds = render_features(settings_of(random_presets(3, 0, 5)), threads=1)
    numbers = [
        min(range(70), key=lambda i: ((levels[i] - own).astype(float) ** 2).sum()) for own in band_levels(sounds)
    ]
    candidates = Candidates.render(70, threads=1)
    assert len(set(numbers)) > 2
    np.testing.assert_array_equal(candidates.nearest(sounds), settings[numbers])
    np.testing.assert_array_equal(
        candidates.nearest(render_features(settings[60:], seeds[60:], threads=1)), settings[60:]
    )
    assert candidates.nearest(sounds[:0]).shape == (0, 46)


def test_band_levels_of_a_sine_and_of_silence():
    time_s = np.arange(N_SAMPLES) / 11025
    levels = band_levels(analyse(np.stack([np.sin(2 * np.pi * 2004.5 * time_s), 0 * time_s]), threads=1))
    assert levels.shape == (2, 20 * 64)
    np.testing.assert_allclose(levels[1], 20 * np.log10(551e-4), rtol=1e-5)
    loudest = levels[0].reshape(20, 64).max(axis=1)
    assert (np.abs(loudest - 20 * np.log10(551)) < 4).all()
    assert mel_filters(1102, 64).any(axis=1).all()


def test_answers_depend_only_on_the_row():
    np.testing.assert_array_equal(random_settings(0, 9)[4:], random_settings(4, 5))
    np.testing.assert_array_equal(answer_noise_seeds(0, 9)[4:], answer_noise_seeds(4, 5))


def test_no_data_set_can_have_the_seeds_of_the_baselines():
    SoundGenerator(2**63 - 1)
    assert min(ANSWER_SEED, CANDIDATE_SEED) > 2**63 - 1
    assert ANSWER_SEED != CANDIDATE_SEED


def test_settings_of_labels_outside_of_their_ranges_are_valid():
    labels = random_presets(0, 0, 4)
    labels[0, INSTRUMENT.label_index["filter_cutoff"]] = 1.7
    labels[1, INSTRUMENT.label_index["oscillator_1_pitch"]] = -0.2
    settings = settings_of(labels)
    check_settings(settings)
    assert settings[0, INSTRUMENT.index["filter_cutoff"]] == np.float32(5000)
    assert settings[1, INSTRUMENT.index["oscillator_1_pitch"]] == -24
    np.testing.assert_array_equal(settings[2:], INSTRUMENT.labels_to_settings(labels[2:]))
