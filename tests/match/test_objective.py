"""The searched distance, against a literal computation from levels."""

import numpy as np
import pytest

from synthray.match.objective import LARGEST_LOUDNESS_DB, LOUDNESS_WEIGHT, RESOLUTIONS, Objective
from synthray.match.spectrum import Spectrograph
from synthray.synth.dsp.lanes import LANES
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

LABELS = random_presets(11, 0, 40)


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return render(INSTRUMENT.labels_to_settings(LABELS[:1]), [7], threads=1)[0]


def levels_of(sounds: np.ndarray) -> np.ndarray:
    """Return levels (numbers, sounds), one block of lanes at a time."""
    spectrograph = Spectrograph(RESOLUTIONS)
    blocks = []
    for first in range(0, len(sounds), LANES):
        spectrograph.samples[:] = 0
        spectrograph.samples[:, : len(sounds[first : first + LANES])] = sounds[first : first + LANES].T
        blocks.append(spectrograph.levels()[:, : len(sounds[first : first + LANES])].copy())
    return np.concatenate(blocks, axis=1).astype(np.float64)


def differences_of(target: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return differences to the target, (numbers, presets)."""
    return levels_of(render(INSTRUMENT.labels_to_settings(labels), threads=1)) - levels_of(target[None])


def weights() -> np.ndarray:
    counts = [resolution.frames * resolution.bands for resolution in RESOLUTIONS]
    return np.repeat(1 / np.array(counts), counts) / len(counts)


def test_distances_are_mean_absolute_differences_of_every_block(target):
    objective = Objective(target, loudness_weight=0)
    expected = weights() @ np.abs(differences_of(target, LABELS))
    np.testing.assert_allclose(objective(LABELS), expected, rtol=1e-4)
    assert objective.evaluations == len(LABELS)
    assert expected.argmin() == 0, "the target's own preset is the nearest"


def test_distances_do_not_depend_on_threads_or_order(target):
    distances = Objective(target)(LABELS)
    np.testing.assert_array_equal(Objective(target, threads=2)(LABELS), distances)
    np.testing.assert_allclose(Objective(target)(LABELS[::-1]), distances[::-1], rtol=1e-5)


def test_loudness_has_a_small_and_bounded_weight(target):
    spectral = Objective(target, loudness_weight=0)(LABELS)
    np.testing.assert_allclose(Objective(target * 3, loudness_weight=0)(LABELS), spectral, atol=0.01)
    sounds = render(INSTRUMENT.labels_to_settings(LABELS), threads=1).astype(np.float64)
    loudness_db = 10 * np.log10((sounds**2).mean(axis=1) + 1e-12)
    difference_db = np.abs(loudness_db - 10 * np.log10((target.astype(np.float64) ** 2).mean()))
    expected = spectral + LOUDNESS_WEIGHT * np.minimum(difference_db, LARGEST_LOUDNESS_DB)
    np.testing.assert_allclose(Objective(target)(LABELS), expected, rtol=1e-4)


def test_silent_and_constant_targets_have_finite_distances():
    for sound in (np.zeros(N_SAMPLES, np.float32), np.full(N_SAMPLES, 0.1, np.float32)):
        assert np.isfinite(Objective(sound)(LABELS[:3])).all()
