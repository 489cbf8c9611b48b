"""All distances against their literal definitions, on sounds and on edge cases, and their properties."""

import numpy as np
import pytest
from dtw import dtw

from synthray.errors import SoundError
from synthray.match.distances.table import DISTANCES, compare, describe
from synthray.match.distances.warping import warped_distance
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.priors import random_presets
from synthray.synth.voice import render
from tests.match.distances.literal import LITERAL

COLUMN = {distance.name: number for number, distance in enumerate(DISTANCES)}
PRESETS = 6


def edge_cases():
    silence = np.zeros(N_SAMPLES, np.float32)
    click, constant = silence.copy(), silence + np.float32(0.5)
    click[9000] = 1
    square = np.sign(np.sin(np.arange(N_SAMPLES) * 0.25)).astype(np.float32)
    return {"silence": silence, "click": click, "constant": constant, "full-scale": square}


@pytest.fixture(scope="module")
def sounds():
    """Sounds by name: random presets ``0`` to ``5``, one of them very quiet, and the edge cases."""
    audio = render(INSTRUMENT.labels_to_settings(random_presets(0, 0, PRESETS)), threads=1)
    return {str(i): sound for i, sound in enumerate(audio)} | {"quiet": audio[0] * np.float32(1e-6)} | edge_cases()


PAIRS = [(str(i), str((i + 1) % PRESETS)) for i in range(PRESETS)]
PAIRS += [("0", edge) for edge in ("quiet", "silence", "click", "constant", "full-scale")]
PAIRS += [("silence", "0"), ("silence", "silence"), ("click", "full-scale"), ("constant", "silence")]


@pytest.fixture(scope="module")
def measured(sounds):
    """All distances of ``PAIRS``, from one call."""
    return compare(*(describe(np.stack([sounds[pair[side]] for pair in PAIRS])) for side in (0, 1)))


@pytest.mark.parametrize("name", LITERAL)
def test_compare_equals_the_literal_definition(name, sounds, measured):
    expected = [LITERAL[name](*(sounds[side].astype(np.float64) for side in pair)) for pair in PAIRS]
    np.testing.assert_allclose(measured[:, COLUMN[name]], expected, rtol=2e-6, atol=2e-5)


def test_every_distance_of_the_table_has_a_literal_definition():
    assert list(COLUMN) == list(LITERAL)


def test_equal_sounds_have_no_distance(sounds):
    audio = np.stack(list(sounds.values()))
    found = compare(describe(audio), describe(audio))
    for distance in DISTANCES:
        expected = 1.0 if distance.higher_is_better else 0.0
        np.testing.assert_allclose(found[:, COLUMN[distance.name]], expected, atol=1e-6)


def test_distances_to_silence_are_as_documented(sounds):
    one, silence = sounds["0"][None], sounds["silence"][None]
    found = dict(zip(COLUMN, compare(describe(one), describe(silence))[0], strict=True))
    mss, sot, rms, lsd = (DISTANCES[COLUMN[name]].describe(one) for name in ("mss", "sot", "rms", "lsd"))
    assert found["mss"] == pytest.approx(np.mean([-levels.mean() for levels in mss]), rel=1e-5)  # to 0 dB everywhere
    assert found["sot"] == pytest.approx(sot.mean(), rel=1e-5)
    assert rms.any()
    assert found["rms"] == 0.0
    assert found["lsd"] == pytest.approx(np.sqrt(((lsd + 80 - 20 * np.log10(551)) ** 2).mean(axis=2)).mean(), rel=1e-5)


def test_level_changes_only_the_distances_that_depend_on_it(sounds):
    one = sounds["full-scale"][None]
    found = dict(zip(COLUMN, compare(describe(one), describe(one / 2))[0], strict=True))
    assert found["mss"] < 1e-4
    assert found["sot"] < 1e-6
    assert found["rms"] == pytest.approx(1)
    assert found["wmfcc"] > 1
    assert 0 < found["lsd"] < 6.03


@pytest.mark.parametrize("stretch", [1, 2])
def test_warped_distance_equals_dtw_python_on_random_cepstra(stretch):
    random = np.random.default_rng(stretch)
    one = random.normal(size=(3, 17, 5)).astype(np.float32)
    other = np.repeat(one, stretch, axis=1) + random.normal(size=(3, 17 * stretch, 5)).astype(np.float32)
    costs = np.abs(one[:, :, None].astype(float) - other[:, None]).mean(axis=3)
    expected = [dtw(cost, step_pattern="symmetric2").normalizedDistance for cost in costs]
    np.testing.assert_allclose(warped_distance(one, other), expected, rtol=1e-6)


def test_describe_of_other_shapes_raises_sound_error(sounds):
    with pytest.raises(SoundError, match=r"audio has the shape \(22050,\), not \(sounds, 22050\)"):
        describe(sounds["0"])
