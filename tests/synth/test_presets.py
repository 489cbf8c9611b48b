"""Random presets are pure functions of seed and index, and presets as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.errors import ConfigError, SoundError
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, ParameterTable, Range
from synthray.synth.presets import noise_seeds, preset_from_json, preset_to_json, random_labels
from tests.synth.sounds import plain_settings, random_settings

PINNED_LABELS = [
    0.0, 20 / 48, 0.5828924179077148, 0.6106773614883423,
    0.0, 20 / 48, 0.6983135938644409, 0.0,
]  # fmt: skip
PINNED_NOISE_SEEDS = [5240926466440120469, 18297630395281965070]


@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**40), skip=st.integers(0, 30), count=st.integers(0, 30))
def test_random_labels_slice_equals_slice_of_the_whole(seed: int, first: int, skip: int, count: int) -> None:
    whole = random_labels(INSTRUMENT, seed, first, skip + count)
    np.testing.assert_array_equal(random_labels(INSTRUMENT, seed, first + skip, count), whole[skip:])
    whole_seeds = noise_seeds(seed, first, skip + count)
    np.testing.assert_array_equal(noise_seeds(seed, first + skip, count), whole_seeds[skip:])


def test_random_labels_are_pinned() -> None:
    """A data set may be stored as a seed, so these numbers must never change."""
    labels = random_labels(INSTRUMENT, 7, 1000, 2)
    assert labels.dtype == np.float32
    assert labels.shape == (2, 38)
    np.testing.assert_array_equal(labels[0, :8], np.float32(PINNED_LABELS))
    assert noise_seeds(7, 1000, 2).tolist() == PINNED_NOISE_SEEDS


def test_random_labels_are_uniform_and_uncorrelated() -> None:
    labels = random_labels(INSTRUMENT, 0, 0, 20_000)
    for column, parameter in enumerate(INSTRUMENT.learned):
        values = labels[:, column]
        if isinstance(parameter, Choice):
            counts = np.bincount(values.astype(int), minlength=parameter.num_outputs)
            assert len(counts) == parameter.num_outputs
            np.testing.assert_allclose(counts / len(values), 1 / parameter.num_outputs, atol=0.02)
        elif parameter.step:
            counts = np.bincount(np.rint(values * parameter.num_steps).astype(int), minlength=parameter.num_steps + 1)
            assert len(counts) == parameter.num_steps + 1
            np.testing.assert_allclose(counts / len(values), 1 / (parameter.num_steps + 1), atol=0.005)
        else:
            assert 0 <= values.min() < 0.001
            assert 0.999 < values.max() < 1
            np.testing.assert_allclose(np.histogram(values, 10, (0, 1))[0] / len(values), 0.1, atol=0.01)
    correlations = np.corrcoef(labels.T) - np.eye(38)
    assert np.abs(correlations).max() < 0.04


def test_random_labels_and_noise_seeds_differ_by_seed() -> None:
    assert not np.array_equal(random_labels(INSTRUMENT, 0, 0, 1), random_labels(INSTRUMENT, 1, 0, 1))
    assert len(set(noise_seeds(0, 0, 10_000).tolist())) == 10_000
    assert noise_seeds(0, 0, 1).dtype == np.uint64


@pytest.mark.parametrize(("seed", "first", "count"), [(-1, 0, 1), (2**64, 0, 1), (0, -1, 1), (0, 0, -1)])
def test_random_labels_invalid_numbers_are_refused(seed: int, first: int, count: int) -> None:
    with pytest.raises(ConfigError, match=str(min(seed, first, count) if min(seed, first, count) < 0 else seed)):
        random_labels(INSTRUMENT, seed, first, count)


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_preset_json_round_trip(index: int) -> None:
    row = INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, 0, index, 1))[0]
    preset = json.loads(json.dumps(preset_to_json(INSTRUMENT, row, model="m")))
    assert preset["format"] == "synthray-preset/1"
    assert preset["model"] == "m"
    back = preset_from_json(INSTRUMENT, preset)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, row, rtol=1e-5)
    for parameter in INSTRUMENT.ranges:
        assert parameter.minimum <= back[INSTRUMENT.index[parameter.name]] <= np.float32(parameter.maximum)


def test_preset_to_json_has_values_and_units() -> None:
    parameters = preset_to_json(INSTRUMENT, plain_settings(filter_cutoff=812.4))["parameters"]
    assert parameters["filter_cutoff"] == {"value": 812.4, "unit": "Hz"}
    assert parameters["filter_type"] == {"value": "lowpass"}
    assert parameters["note_pitch"] == {"value": 57.0, "unit": "semitones"}
    assert list(parameters) == [p.name for p in INSTRUMENT.parameters]


def test_preset_from_json_answer_of_match_is_accepted() -> None:
    settings = INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, 3, 0, 1))[0]
    preset = preset_to_json(INSTRUMENT, settings)
    answer = {"preset": preset, "sound": {"seconds": 2.0}}
    np.testing.assert_array_equal(preset_from_json(INSTRUMENT, answer), preset_from_json(INSTRUMENT, preset))


def test_preset_from_json_plain_values_are_accepted() -> None:
    preset = preset_to_json(INSTRUMENT, plain_settings())
    preset["parameters"] = {name: entry["value"] for name, entry in preset["parameters"].items()}
    np.testing.assert_array_equal(preset_from_json(INSTRUMENT, preset), plain_settings())


def test_preset_from_json_rounded_end_of_a_range_is_accepted() -> None:
    table = ParameterTable((Range("x", 1 / 3, 2 / 3),))
    for value in (1 / 3, 2 / 3):
        row = np.array([value], np.float32)
        np.testing.assert_allclose(preset_from_json(table, preset_to_json(table, row)), row, rtol=1e-5)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("filter_cutoff", 6000, "filter_cutoff is 6000. It must be from 60 to 5000 Hz"),
        ("filter_cutoff", {"value": "loud"}, "filter_cutoff is 'loud', not a number"),
        ("filter_cutoff", {}, "filter_cutoff is null, not a number"),
        ("filter_cutoff", True, "filter_cutoff is true, not a number"),
        ("filter_cutoff", float("nan"), "filter_cutoff is nan, not a number"),
        ("filter_cutoff", 10**400, "filter_cutoff is an integer of 1329 bits, not a number"),
        ("filter_cutoff", {"value": 1, "unit": "kHz"}, "filter_cutoff has the unit 'kHz', not 'Hz'"),
        ("filter_type", "comb", "filter_type is 'comb'. It must be one of: lowpass, highpass, bandpass, notch"),
        ("filter_type", {"value": ["lowpass"]}, "filter_type is"),
        ("note_pitch", "A3", "note_pitch is 'A3', not a number"),
        ("filter_cut", 1, r"unknown: \['filter_cut'\]"),
        ("x" * 9000, 1, r"unknown: \['x{10,}\.\.\.x{10,}'\]; missing: none"),
        ("filter_type", nested(2000), r"filter_type is \[\[\[\.\.\.\]\]\]. It must be one of"),
        ("filter_cutoff", {"value": 1, "unit": nested(2000)}, r"the unit \[\[\[\.\.\.\]\]\], not 'Hz'"),
    ],
)
def test_preset_from_json_invalid_entry_is_named(name: str, entry: Any, message: str) -> None:
    preset = preset_to_json(INSTRUMENT, plain_settings())
    preset["parameters"][name] = entry
    with pytest.raises(SoundError, match=message):
        preset_from_json(INSTRUMENT, preset)


def test_preset_from_json_missing_parameter_is_named() -> None:
    preset = preset_to_json(INSTRUMENT, plain_settings())
    del preset["parameters"]["noise_color"]
    with pytest.raises(SoundError, match="missing: noise_color"):
        preset_from_json(INSTRUMENT, preset)


@pytest.mark.parametrize("preset", [[], None, {}, {"parameters": 3}, "x"])
def test_preset_from_json_other_values_are_refused(preset: Any) -> None:
    with pytest.raises(SoundError, match="a preset is an object"):
        preset_from_json(INSTRUMENT, preset)


def test_preset_from_json_other_format_is_refused() -> None:
    with pytest.raises(SoundError, match="format is 'synthray-preset/9'"):
        preset_from_json(INSTRUMENT, {**preset_to_json(INSTRUMENT, plain_settings()), "format": "synthray-preset/9"})


def test_preset_to_json_invalid_settings_are_refused() -> None:
    with pytest.raises(SoundError, match="46 settings"):
        preset_to_json(INSTRUMENT, random_settings(1))
    for name, value in [("filter_cutoff", np.nan), ("filter_type", 7.0), ("filter_type", 0.5)]:
        row = plain_settings()
        row[INSTRUMENT.index[name]] = value
        with pytest.raises(SoundError, match=name):
            preset_to_json(INSTRUMENT, row)


def test_random_labels_of_a_step_have_all_its_values() -> None:
    labels = random_labels(INSTRUMENT, 0, 0, 5000)
    pitches = INSTRUMENT.labels_to_settings(labels)[:, INSTRUMENT.index["oscillator_2_pitch"]]
    values, counts = np.unique(pitches, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-24, 25))
    assert counts.min() > 60  # of 102 on average


@pytest.mark.parametrize("value", [0.5, -23.01, 7.002])
def test_preset_from_json_value_between_steps_is_refused(value: float) -> None:
    preset = preset_to_json(INSTRUMENT, INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, 3, 0, 1))[0])
    preset["parameters"]["oscillator_1_pitch"] = value
    with pytest.raises(SoundError, match=rf"oscillator_1_pitch is {value}, which is not in steps of 1 semitones"):
        preset_from_json(INSTRUMENT, preset)
