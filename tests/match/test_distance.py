"""Log-spectral distances against an oracle in plain Python."""

import numpy as np
import pytest

from synthray.match.distance import Distances, log_spectral_distance_db, measure_distances
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import random_labels
from synthray.synth.voice import render


def test_log_spectral_distance_equals_the_oracle():
    random = np.random.default_rng(0)
    one, other = (random.gamma(0.5, 20, (3, 4, 6)).astype(np.float32) for _ in range(2))
    one[0, 0, 0] = 0
    expected = []
    for sound in range(3):
        frames = []
        for frame in range(4):
            squares = []
            for a, b in zip(one[sound, frame].tolist(), other[sound, frame].tolist(), strict=True):
                floor = 551 / 10_000
                squares.append((20 * np.log10(max(a, floor)) - 20 * np.log10(max(b, floor))) ** 2)
            frames.append((sum(squares) / 6) ** 0.5)
        expected.append(sum(frames) / 4)
    np.testing.assert_allclose(log_spectral_distance_db(one, other), expected, rtol=1e-6)
    assert log_spectral_distance_db(one, one).tolist() == [0, 0, 0]
    assert log_spectral_distance_db(one * 10, one * 100)[1] < 20.001


def test_distances_add_up_to_their_mean():
    together = Distances(2, 10.0, 30.0) + Distances() + Distances(1, 5.0, 6.0)
    found = together.to_json()
    assert (found["sounds"], found["predicted_db"], found["random_db"]) == (3, 5.0, 12.0)
    assert Distances().to_json() is None


def test_measure_distances_compares_with_the_predicted_and_with_the_neighbouring_preset():
    settings = INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, 0, 0, 3))
    features = analyse(render(settings))
    assert measure_distances(features[:1], settings[:1]) == Distances()
    same = measure_distances(features, settings)
    assert (same.sounds, same.predicted_db) == (3, 0.0)
    assert same.random_db > 5
    shifted = measure_distances(features, np.roll(settings, 1, axis=0))
    assert shifted.predicted_db == pytest.approx(same.random_db)
