"""The training of heads by the sounds of their answers, on the network that the package ships."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthray.errors import ConfigError
from synthray.match import sound_training
from synthray.match.objective import Objective
from synthray.match.sound import normalize_level
from synthray.match.sound_training import SoundTraining, Step, label_tilts, tilt_directions, train_by_sound
from synthray.model.distribution import likeliest_labels
from synthray.model.heads import HeadLayout
from synthray.model.numpy_network import NumpyNetwork, read_network
from synthray.model.saved import read_verified
from synthray.model.shipped import shipped_model
from synthray.synth.audible.audible import audible
from synthray.synth.features import analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import render

LAYOUT = HeadLayout(INSTRUMENT, 32)
SMALL = SoundTraining(sounds=128, batch_size=64)


@pytest.fixture(scope="module")
def network() -> NumpyNetwork:
    raw, card = read_verified(shipped_model())
    network = read_network(raw, HeadLayout(card.table, card.bins), card.feature_shape)
    assert network is not None
    return network


def test_each_class_and_each_range_without_steps_has_a_tilt_of_its_own_columns() -> None:
    directions = tilt_directions(LAYOUT)
    ranges = [parameter for parameter in INSTRUMENT.ranges if not parameter.step]
    assert len(directions) == sum(parameter.num_outputs for parameter in INSTRUMENT.choices) + len(ranges)
    touched = directions != 0
    for parameter in INSTRUMENT.learned:
        mine = touched[:, LAYOUT.columns[parameter.name]]
        expected = parameter.num_outputs if isinstance(parameter, Choice) else int(not parameter.step)
        assert mine.any(axis=1).sum() == expected
    first = LAYOUT.columns["filter_cutoff"]
    [row] = directions[touched[:, first].any(axis=1)]
    np.testing.assert_allclose(row[first], np.linspace(-31 / 32, 31 / 32, 32), rtol=1e-6)


def test_label_tilts_are_the_means_of_certain_histograms() -> None:
    # Labels in the middle of a bin, so that a histogram can be certain of exactly this label.
    labels = random_presets(3, 0, 50)
    outputs = np.zeros((50, LAYOUT.width), np.float32)
    for column, parameter in enumerate(INSTRUMENT.learned):
        if isinstance(parameter, Choice):
            bins = labels[:, column].astype(int)
        elif parameter.step:
            bins = np.rint(labels[:, column] * parameter.num_steps).astype(int)
        else:
            bins = np.minimum(labels[:, column] * 32, 31).astype(int)
            labels[:, column] = (bins + 0.5) / 32
        outputs[np.arange(50), LAYOUT.columns[parameter.name].start + bins] = 1
    means, owners = label_tilts(LAYOUT, labels)
    np.testing.assert_allclose(means, outputs @ tilt_directions(LAYOUT).T, atol=1e-6)
    assert len(owners) == means.shape[1]
    assert INSTRUMENT.learned[owners[-1]].name == "amplitude_lfo_amount"


def test_label_slopes_are_the_derivatives_of_the_cross_entropy(network: NumpyNetwork) -> None:
    random = np.random.default_rng(0)
    labels = random_presets(5, 0, 20)
    logits = random.standard_normal((20, LAYOUT.width)).astype(np.float32)
    directions = tilt_directions(LAYOUT)
    slopes = sound_training._label_slopes(network, logits, labels, directions)
    truth, owners = label_tilts(LAYOUT, labels)
    is_audible = audible(INSTRUMENT.labels_to_settings(labels))

    def cross_entropy(shifted: np.ndarray, sound: int, tilt: int) -> float:
        """The part of the cross-entropy that a tilt changes: log of the sum of exponentials, minus the label's."""
        columns = LAYOUT.columns[INSTRUMENT.learned[owners[tilt]].name]
        return float(np.log(np.exp(shifted[columns]).sum()))

    for sound in range(20):
        for tilt in range(0, len(directions), 7):
            base = logits[sound].astype(np.float64)
            up, down = (cross_entropy(base + h * directions[tilt], sound, tilt) for h in (1e-4, -1e-4))
            expected = ((up - down) / 2e-4 - truth[sound, tilt]) * is_audible[sound, owners[tilt]]
            assert slopes[sound, tilt] == pytest.approx(expected, abs=1e-3)


def test_distance_slopes_point_away_from_nearer_answers(network: NumpyNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a distance that is known, the slopes must have the sign of its change and be zero elsewhere, on average.
    cutoff = INSTRUMENT.label_index["filter_cutoff"]

    class Known:
        def __init__(self, target: np.ndarray) -> None:
            self.aim = target[0]

        def __call__(self, labels: np.ndarray) -> np.ndarray:
            return np.abs(labels[:, cutoff].astype(np.float64) - self.aim)

    monkeypatch.setattr(sound_training, "Objective", Known)
    directions = tilt_directions(LAYOUT)
    logits = np.zeros((400, LAYOUT.width), np.float32)  # the median of each range is 0.5
    targets = np.zeros((400, 22050), np.float32)
    targets[:200, 0] = 1
    slopes, distances = sound_training._distance_slopes(
        network, logits, targets, directions, 0.3, np.random.default_rng(0)
    )
    [mine] = np.flatnonzero(directions[:, LAYOUT.columns["filter_cutoff"]].any(axis=1))
    above, below = slopes[:200].mean(axis=0), slopes[200:].mean(axis=0)
    up, down = (_median_of_tilt(tilt) for tilt in (0.1, -0.1))
    assert below[mine] == pytest.approx((up - down) / 0.2, rel=0.2)
    assert above[mine] == pytest.approx(-(up - down) / 0.2, rel=0.2)
    others = np.delete(np.arange(len(directions)), mine)
    assert np.abs(below[others]).max() < 0.2 * below[mine]
    assert distances == pytest.approx(np.full(400, 0.5), abs=0.1)


def _median_of_tilt(tilt: float) -> float:
    """The median of the density exp(2 * tilt * x) on [0, 1], from its integral."""
    return float(np.log((1 + np.exp(2 * tilt)) / 2) / (2 * tilt))


@pytest.mark.slow
@pytest.mark.parametrize("label_weight", [0.0, 30.0], ids=["by the distance", "by the labels"])
def test_training_lowers_the_distance_of_answers_to_other_sounds(network: NumpyNetwork, label_weight: float) -> None:
    directions = tilt_directions(LAYOUT)
    of_ranges = directions[(directions < 0).any(axis=1)]
    lean = 3 * of_ranges.sum(axis=0)  # all ranges to their upper ends
    worse = replace(network, bias=network.bias + lean)
    steps: list[Step] = []
    config = SoundTraining(sounds=640, batch_size=64, learning_rate=0.01, label_weight=label_weight)
    trained = train_by_sound(worse, "spectra", config, steps.append)
    assert [step.number for step in steps] == list(range(1, 11))
    before, after, true = (_mean_distance(each) for each in (worse, trained, network))
    assert after < before - 0.3 * (before - true)
    assert trained.bias is worse.bias


def _mean_distance(network: NumpyNetwork) -> float:
    labels = random_presets(77, 0, 64)
    sounds = render(INSTRUMENT.labels_to_settings(labels), noise_seeds(77, 0, 64))
    targets = np.stack([normalize_level(sound) for sound in sounds if np.abs(sound).max() > 1e-3])
    outputs = network(analyse(targets, analysis="spectra"))
    answers = likeliest_labels(INSTRUMENT, [outputs[:, LAYOUT.columns[p.name]] for p in INSTRUMENT.learned])
    return float(np.mean([Objective(target)(answer[None])[0] for target, answer in zip(targets, answers, strict=True)]))


@pytest.mark.parametrize(("sounds", "batch_size"), [(0, 0), (5, 0), (5, 6), (-3, 1)])
def test_a_training_without_a_whole_batch_is_refused(sounds: int, batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"{sounds} sounds in batches of {batch_size}"):
        SoundTraining(sounds, batch_size=batch_size)


@pytest.mark.slow
def test_training_is_reproducible(network: NumpyNetwork) -> None:
    first, second = (train_by_sound(network, "spectra", SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.kernel, second.kernel)
    assert not np.array_equal(first.kernel, network.kernel)
    other = train_by_sound(network, "spectra", replace(SMALL, seed=8))
    assert not np.array_equal(first.kernel, other.kernel)


def test_silent_sounds_teach_nothing(network: NumpyNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_training, "render", lambda settings, seeds: np.zeros((len(settings), 22050), np.float32))
    batch = sound_training._Batch.of_sounds(SMALL, 0)
    _, slopes, distances = batch.slopes(network, "spectra", tilt_directions(LAYOUT), SMALL)
    assert not slopes.any()
    assert not distances.any()
    steps: list[Step] = []
    trained = train_by_sound(network, "spectra", SMALL, steps.append)
    assert steps == [Step(1, 0.0), Step(2, 0.0)]
    np.testing.assert_array_equal(trained.kernel, network.kernel)
