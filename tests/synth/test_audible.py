"""Audible parameters: exact cases, agreement with measured differences, and the estimated spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from benchmarks.audible import LEAST_DB, changes_by_defaults_db, measure
from synthray.errors import SoundError
from synthray.synth.audible.audible import DEFAULTS, audible, why_inaudible, with_inaudible_defaults
from synthray.synth.audible.rules import RULES
from synthray.synth.audible.spectrum_estimate import DB_PER_OCTAVE, envelope, filter_gain
from synthray.synth.instrument import FILTER_TYPES, INSTRUMENT, SAMPLE_RATE_HZ
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import random_presets
from synthray.synth.voice import render
from tests.synth.sounds import plain_settings, random_settings

LEVEL = {"amplitude_envelope_sustain": 100.0, "amplitude_envelope_attack": 5.0}
SQUARES = {"oscillator_1_waveform": "square", "oscillator_2_waveform": "square", "oscillator_2_level": 0.0}
MOVING = {"filter_cutoff": 500.0, "filter_envelope_amount": 3.0, "filter_lfo_amount": 1.0}
SWEPT = {"pitch_envelope_amount": 5.0, "pitch_lfo_amount": 100.0, "amplitude_lfo_amount": 80.0}
TWO_SAWS = {"oscillator_2_waveform": "saw", "oscillator_2_pitch": 5.0, "oscillator_2_level": 0.0}
DEEP_SINE: dict[str, float | str] = {"oscillator_1_waveform": "sine", "oscillator_1_pitch": -24.0}
HIDDEN = {"oscillator_1_level": -30.0, "oscillator_2_level": 0.0, "oscillator_2_waveform": "saw", "noise_level": -6.0}
ENDED = {"amplitude_envelope_sustain": 0.0}
NOISY = {"oscillator_1_level": -30.0, "noise_level": -6.0}
EXACT = [
    # a preset, what cannot be heard in it, and what could be heard if the first setting were another one
    ({}, ["oscillator_1_pulse_width"], {"oscillator_1_waveform": "square"}),
    (TWO_SAWS, ["oscillator_2_pulse_width"], {"oscillator_2_waveform": "square"}),
    (TWO_SAWS | {"oscillator_2_modulation": 50.0}, ["oscillator_2_modulation"], {"oscillator_2_routing": "ring"}),
    (TWO_SAWS, ["oscillator_2_routing"], {"oscillator_2_modulation": 80.0}),
    (
        {"filter_cutoff": 500.0},
        [f"filter_envelope_{stage}" for stage in ("attack", "decay", "sustain", "release")],
        {"filter_envelope_amount": 3.0},
    ),
    ({"filter_cutoff": 500.0}, ["filter_lfo_waveform", "filter_lfo_frequency"], {"filter_lfo_amount": 1.0}),
    ({}, ["pitch_envelope_attack", "pitch_envelope_decay"], {"pitch_envelope_amount": 5.0}),
    ({}, ["pitch_lfo_waveform", "pitch_lfo_frequency"], {"pitch_lfo_amount": 100.0}),
    ({}, ["amplitude_lfo_waveform", "amplitude_lfo_frequency"], {"amplitude_lfo_amount": 80.0}),
    ({"amplitude_envelope_sustain": 100.0}, ["amplitude_envelope_decay"], {"amplitude_envelope_sustain": 20.0}),
    (
        {"amplitude_envelope_sustain": 0.0, "amplitude_envelope_decay": 300.0},
        ["amplitude_envelope_release"],
        {"amplitude_envelope_sustain": 50.0},
    ),
]


@pytest.mark.parametrize(("settings", "names", "change"), EXACT)
def test_audible_exact_rule_holds_for_every_move_and_only_there(
    settings: dict[str, float | str], names: list[str], change: dict[str, float | str]
) -> None:
    row = plain_settings(**settings)
    reasons = why_inaudible(row)
    for name in names:
        assert name in reasons
        parameter, column = INSTRUMENT[name], INSTRUMENT.index[name]
        is_choice = isinstance(parameter, Choice)
        values = np.arange(parameter.num_outputs) if is_choice else parameter.from_unit_interval([0, 0.5, 1])
        moved = np.repeat(row[None], len(values), axis=0)
        moved[:, column] = values
        np.testing.assert_array_equal(render(moved), render(np.repeat(row[None], len(values), axis=0)))
        assert not audible(moved)[:, INSTRUMENT.label_index[name]].any()
    heard = why_inaudible(plain_settings(**settings | change))
    assert not set(names) & set(heard), "this change lets them be heard"


@pytest.mark.parametrize(
    ("settings", "inaudible", "heard"),
    [
        (NOISY, ["pitch_lfo_amount", "pitch_envelope_amount", "oscillator_2_detune"], ["noise_color", "noise_level"]),
        ({"oscillator_1_level": 0.0}, ["noise_color"], ["oscillator_1_level", "filter_drive"]),
        # the estimate knows where the sound is: a low pass far above it does nothing
        (DEEP_SINE, ["filter_lfo_amount", "noise_color"], ["filter_cutoff"]),
        (DEEP_SINE | {"filter_cutoff": 200.0}, [], ["filter_lfo_amount", "filter_resonance"]),
        (MOVING | {"amplitude_envelope_sustain": 0.0}, ["filter_envelope_release", "amplitude_envelope_release"], []),
        (MOVING | {"filter_envelope_sustain": 100.0}, ["filter_envelope_decay"], ["filter_envelope_release"]),
        # all sources of a sound that is there can be heard
        (SQUARES, [], ["oscillator_1_pulse_width", "oscillator_2_pulse_width", "oscillator_2_detune"]),
        (SWEPT | MOVING, [], ["pitch_lfo_amount", "filter_lfo_amount", "filter_resonance", "amplitude_lfo_frequency"]),
    ],
)
def test_audible_estimated_rules(settings: dict[str, float | str], inaudible: list[str], heard: list[str]) -> None:
    reasons = why_inaudible(plain_settings(**settings))
    assert set(inaudible) <= set(reasons)
    assert not set(heard) & set(reasons)


@pytest.fixture(scope="module")
def presets() -> tuple[np.ndarray, np.ndarray]:
    """Labels and noise seeds of some random presets."""
    return random_presets(11, 0, 80), noise_seeds(11, 0, 80)


@pytest.mark.slow
def test_audible_agrees_with_measured_differences(presets: tuple[np.ndarray, np.ndarray]) -> None:
    labels, seeds = presets
    agree = audible(INSTRUMENT.labels_to_settings(labels)) == measure(labels, seeds).heard
    assert agree.mean() > 0.89
    assert agree.mean(axis=0).min() > 0.65


def test_with_inaudible_defaults_hardly_changes_the_sound(presets: tuple[np.ndarray, np.ndarray]) -> None:
    changes_db = changes_by_defaults_db(*presets)
    assert np.median(changes_db) < LEAST_DB
    assert (changes_db > 0).mean() > 0.5


def test_audible_has_a_column_for_each_learned_parameter() -> None:
    heard = audible(random_settings(10))
    assert heard.shape == (10, len(INSTRUMENT.learned))
    assert heard.dtype == np.bool_
    assert audible(random_settings(0)).shape == (0, len(INSTRUMENT.learned))


def test_audible_of_a_sound_does_not_depend_on_the_others() -> None:
    settings = random_settings(300)
    np.testing.assert_array_equal(audible(settings)[254:258], audible(settings[254:258]))


def test_audible_of_silence_and_of_changed_constants_is_defined() -> None:
    settings = random_settings(40)
    for name, value in (("note_hold", 0.0), ("note_hold", 2000.0), ("note_pitch", 21.0), ("output_level", -60.0)):
        changed = settings.copy()
        changed[:, INSTRUMENT.index[name]] = value
        with np.errstate(all="raise", under="ignore"):
            assert 0.4 < audible(changed).mean() < 0.95


def test_rules_apply_somewhere_and_leave_some_parameters_always_audible() -> None:
    hidden = np.stack([plain_settings(**HIDDEN), plain_settings(**ENDED)])
    inaudible = {name for row in np.concatenate([random_settings(100), hidden]) for name in why_inaudible(row)}
    assert {name for rule in RULES for name in rule.names} == inaudible
    always = set(INSTRUMENT.label_index) - inaudible
    assert always == {"filter_type", "filter_cutoff", "filter_drive", "amplitude_lfo_amount"}


def test_why_inaudible_names_what_is_not_audible() -> None:
    settings = random_settings(50)
    for row, heard in zip(settings, audible(settings), strict=True):
        names = [p.name for p, h in zip(INSTRUMENT.learned, heard, strict=True) if not h]
        assert list(why_inaudible(row)) == names


def test_why_inaudible_gives_the_first_reason() -> None:
    reasons = why_inaudible(plain_settings(oscillator_1_level=-30.0, noise_level=-6.0))
    assert reasons["oscillator_1_pulse_width"] == "oscillator 1 is not a square"


def test_with_inaudible_defaults_replaces_what_is_inaudible_everywhere() -> None:
    settings = np.stack([plain_settings(oscillator_1_pulse_width=width) for width in (10.0, 30.0)])
    neutral = with_inaudible_defaults(settings)
    np.testing.assert_array_equal(neutral[0], neutral[1])
    assert neutral[0, INSTRUMENT.index["oscillator_1_pulse_width"]] == DEFAULTS["oscillator_1_pulse_width"]
    assert settings[0, INSTRUMENT.index["oscillator_1_pulse_width"]] == 10.0
    random = random_settings(300)
    changed = with_inaudible_defaults(random) != random
    assert 0.08 < changed.mean() < 0.3
    constants = [i for i, p in enumerate(INSTRUMENT.parameters) if p not in INSTRUMENT.learned]
    assert not changed[:, constants].any()


def test_defaults_are_valid_settings() -> None:
    row = plain_settings()
    row[[INSTRUMENT.index[name] for name in DEFAULTS]] = list(DEFAULTS.values())
    assert set(DEFAULTS) == set(INSTRUMENT.label_index)
    render(row[None])  # refuses a setting outside of its range


def test_audible_another_shape_is_refused() -> None:
    with pytest.raises(SoundError, match=r"\(38,\)"):
        audible(np.zeros(38))


@pytest.mark.parametrize("kind", range(4))
def test_filter_gain_and_its_slopes_equal_the_analogue_filter(kind: int) -> None:
    """The warped filter has the response of the analogue one; the slopes are compared with differences."""
    q, ratio = 3.0, np.array([0.2, 0.7, 1.3, 4.0])  # frequency against cutoff
    numerators = {"lowpass": [1], "highpass": [1, 0, 0], "bandpass": [1 / np.sqrt(q), 0], "notch": [1, 0, 1]}

    def gain_db(q: float, ratio: np.ndarray) -> np.ndarray:
        scaled = numerators[FILTER_TYPES[kind]] if FILTER_TYPES[kind] != "bandpass" else [1 / np.sqrt(q), 0]
        _, response = signal.freqs(scaled, [1, 1 / q, 1], ratio)
        return 20 * np.log10(abs(response))

    gain, slope, resonance = np.array([filter_gain(np.float32(r * r), kind, np.float32(1 / q)) for r in ratio]).T
    np.testing.assert_allclose(10 * np.log10(gain), gain_db(q, ratio), atol=1e-3)
    step = 1e-4
    cutoff_up, cutoff_down = (gain_db(q, ratio / 2**shift) for shift in (step, -step))
    np.testing.assert_allclose(slope, (cutoff_up - cutoff_down) / (2 * step), atol=0.02 * DB_PER_OCTAVE)
    q_up, q_down = (gain_db(q * np.exp(shift), ratio) for shift in (step, -step))
    np.testing.assert_allclose(resonance, (q_up - q_down) / (2 * step), atol=0.01)


def test_envelope_equals_the_level_of_a_rendered_sound() -> None:
    stages = {"attack": 200.0, "decay": 700.0, "sustain": 40.0, "release": 500.0}
    changes = {f"amplitude_envelope_{stage}": value for stage, value in stages.items()}
    pulses = {"oscillator_1_waveform": "square", "oscillator_1_level": -20.0, "oscillator_2_level": -30.0}
    settings = plain_settings(**pulses, **changes)[None]
    times_s = np.array([[0.1, 0.3, 0.6, 1.1, 1.4, 1.6]], np.float32)
    reference = plain_settings(**pulses, **LEVEL)[None]
    sounds = render(np.concatenate([settings, reference]))
    at = (times_s[0] * SAMPLE_RATE_HZ).astype(int)[:, None] + np.arange(-100, 100)
    measured = np.sqrt((sounds[:, at] ** 2).mean(axis=-1))
    held = envelope(reference, "amplitude", times_s)[0]
    expected = envelope(settings, "amplitude", times_s)[0]
    np.testing.assert_allclose(measured[0, :4] / measured[1, :4], expected[:4] / held[:4], atol=0.02)
    np.testing.assert_allclose(measured[0, 4:] / measured[1, 3], expected[4:], atol=0.02)
