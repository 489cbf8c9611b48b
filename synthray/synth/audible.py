"""Which parameters can be heard in a preset, by rules that follow from how the instrument works.

A parameter is *inaudible* in a preset if moving it hardly changes the sound, for example the pulse width of a sine.
Nothing can learn such a parameter from the sound, so training and scores leave it out. ``RULES`` lists the reasons.
``benchmarks/audible.py`` compares the rules with measured differences between sounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.errors import SoundError
from synthray.synth.audible_facts import Facts, facts_of
from synthray.synth.instrument import INSTRUMENT, ROUTINGS, WAVEFORMS

Bools = npt.NDArray[np.bool_]

SQUARE = WAVEFORMS.index("square")
MIX = ROUTINGS.index("mix")

FAINT_DB = -45.0
"""A source this far below the sum of all is not heard."""
LEAST_MODULATION_PERCENT = 2.0
"""Ring and frequency modulation leave side bands of -40 dB at this depth."""
LEAST_SHIFT_OCTAVES = 0.15
"""A smaller shift of the filter changes no band by more than about 1 dB, except next to a sharp resonance."""
LEAST_SWEEP_SEMITONES = 0.2
"""A shorter sweep of the pitch moves no partial out of its band."""
LEAST_VIBRATO_CENTS = 4.0
"""Listeners just hear a vibrato of about 4 cents."""
LEAST_TREMOLO_PERCENT = 6.0
"""A level that changes by less than about 0.5 dB is heard as constant."""
LEAST_FALL_DB = 1.0
"""A level that falls by less is heard as constant."""
FADED_DB = -50.0
"""A level this far below full level is not heard."""


@dataclass(frozen=True)
class Rule:
    """A reason why parameters cannot be heard."""

    names: tuple[str, ...]
    reason: str
    """A clause that continues "… cannot be heard because"."""
    applies: Callable[[Facts], Bools]
    """The presets, bool (sounds,), in which the parameters cannot be heard."""


def _amounts_off(shift: npt.NDArray[np.float32], least: float) -> Bools:
    off: Bools = np.abs(shift) < least
    return off


RULES = (
    Rule(
        ("oscillator_1_pulse_width",),
        "oscillator 1 is not a square",
        lambda f: f.of("oscillator_1_waveform") != SQUARE,
    ),
    Rule(
        ("oscillator_2_pulse_width",),
        "oscillator 2 is not a square",
        lambda f: f.of("oscillator_2_waveform") != SQUARE,
    ),
    Rule(
        ("oscillator_2_modulation",),
        "oscillator 2 is only mixed in",
        lambda f: f.of("oscillator_2_routing") == MIX,
    ),
    Rule(
        ("oscillator_1_waveform", "oscillator_1_pitch", "oscillator_1_pulse_width"),
        "oscillator 1 is too quiet",
        lambda f: f.oscillator_1_db < FAINT_DB,
    ),
    Rule(
        ("oscillator_2_modulation", "oscillator_2_routing"),
        "oscillator 1, which oscillator 2 modulates, is too quiet",
        lambda f: f.oscillator_1_db < FAINT_DB,
    ),
    Rule(
        ("oscillator_2_routing",),
        "the modulation is too weak",
        lambda f: f.of("oscillator_2_modulation") < LEAST_MODULATION_PERCENT,
    ),
    Rule(
        ("oscillator_2_waveform", "oscillator_2_pitch", "oscillator_2_detune", "oscillator_2_pulse_width"),
        "oscillator 2 is too quiet and hardly modulates oscillator 1",
        lambda f: (f.oscillator_2_db < FAINT_DB) & ~f.modulated,
    ),
    Rule(
        ("noise_color",),
        "the noise is too quiet",
        lambda f: f.noise_db < FAINT_DB,
    ),
    Rule(
        ("filter_envelope_attack", "filter_envelope_decay", "filter_envelope_sustain", "filter_envelope_release"),
        "the filter envelope hardly moves the filter",
        lambda f: _amounts_off(f.of("filter_envelope_amount"), LEAST_SHIFT_OCTAVES),
    ),
    Rule(
        ("filter_envelope_release",),
        "the filter envelope is near zero when the key is let go",
        lambda f: _amounts_off(f.filter_at_release * f.of("filter_envelope_amount"), LEAST_SHIFT_OCTAVES),
    ),
    Rule(
        ("filter_lfo_waveform", "filter_lfo_frequency"),
        "the filter LFO hardly moves the filter",
        lambda f: _amounts_off(f.of("filter_lfo_amount"), LEAST_SHIFT_OCTAVES),
    ),
    Rule(
        ("pitch_envelope_attack", "pitch_envelope_decay"),
        "the pitch envelope hardly moves the pitch",
        lambda f: _amounts_off(f.of("pitch_envelope_amount"), LEAST_SWEEP_SEMITONES),
    ),
    Rule(
        ("pitch_lfo_waveform", "pitch_lfo_frequency"),
        "the pitch LFO hardly moves the pitch",
        lambda f: _amounts_off(f.of("pitch_lfo_amount"), LEAST_VIBRATO_CENTS),
    ),
    Rule(
        tuple(p.name for p in INSTRUMENT.learned if p.name.startswith("pitch_")),
        "neither oscillator can be heard",
        lambda f: (f.oscillator_1_db < FAINT_DB) & (f.oscillator_2_db < FAINT_DB),
    ),
    Rule(
        ("amplitude_envelope_decay",),
        "the level does not fall from its peak to the sustain",
        lambda f: f.sustain_db > -LEAST_FALL_DB,
    ),
    Rule(
        ("amplitude_envelope_release", "filter_envelope_release"),
        "the sound has ended when the key is let go",
        lambda f: f.level_at_release_db < FADED_DB,
    ),
    Rule(
        ("amplitude_lfo_waveform", "amplitude_lfo_frequency"),
        "the level's LFO hardly moves the level",
        lambda f: f.of("amplitude_lfo_amount") < LEAST_TREMOLO_PERCENT,
    ),
)
"""Every reason; the first one that applies is given to people."""

DEFAULTS = {
    "oscillator_1_waveform": 0.0,
    "oscillator_1_pitch": 0.0,
    "oscillator_1_level": -30.0,
    "oscillator_1_pulse_width": 50.0,
    "oscillator_2_waveform": 0.0,
    "oscillator_2_pitch": 0.0,
    "oscillator_2_detune": 0.0,
    "oscillator_2_routing": 0.0,
    "oscillator_2_level": -30.0,
    "oscillator_2_pulse_width": 50.0,
    "oscillator_2_modulation": 0.0,
    "noise_level": -60.0,
    "noise_color": 1000.0,
    "filter_type": 0.0,
    "filter_cutoff": 5000.0,
    "filter_resonance": 0.7,
    "filter_drive": 0.0,
    "filter_envelope_amount": 0.0,
    "filter_envelope_attack": 5.0,
    "filter_envelope_decay": 300.0,
    "filter_envelope_sustain": 50.0,
    "filter_envelope_release": 100.0,
    "filter_lfo_waveform": 0.0,
    "filter_lfo_frequency": 3.0,
    "filter_lfo_amount": 0.0,
    "pitch_envelope_amount": 0.0,
    "pitch_envelope_attack": 5.0,
    "pitch_envelope_decay": 300.0,
    "pitch_lfo_waveform": 0.0,
    "pitch_lfo_frequency": 3.0,
    "pitch_lfo_amount": 0.0,
    "amplitude_envelope_attack": 5.0,
    "amplitude_envelope_decay": 300.0,
    "amplitude_envelope_sustain": 100.0,
    "amplitude_envelope_release": 100.0,
    "amplitude_lfo_waveform": 0.0,
    "amplitude_lfo_frequency": 3.0,
    "amplitude_lfo_amount": 0.0,
}
"""Neutral settings, in units: the first class, no modulation, an open filter, a plain envelope."""


def audible(settings: npt.ArrayLike) -> Bools:
    """Return which learned parameters can be heard in each preset.

    Args:
        settings: float32 (sounds, 46), in units, within their ranges.

    Returns:
        bool (sounds, learned), columns as in *labels*.

    Raises:
        SoundError: the settings have another shape.
    """
    facts = facts_of(_checked(settings))
    heard = np.ones((len(facts.settings), len(INSTRUMENT.learned)), np.bool_)
    for rule in RULES:
        columns = [INSTRUMENT.label_index[name] for name in rule.names]
        heard[:, columns] &= ~rule.applies(facts)[:, None]
    return heard


def why_inaudible(settings_row: npt.ArrayLike) -> dict[str, str]:
    """Return the reason for each parameter that cannot be heard, in the table's order.

    Args:
        settings_row: float32 (46,), one preset in units.

    Returns:
        A clause by name, for example ``{"oscillator_1_pulse_width": "oscillator 1 is not a square"}``.

    Raises:
        SoundError: the settings have another shape.
    """
    facts = facts_of(_checked(np.asarray(settings_row)[None]))
    reasons: dict[str, str] = {}
    for rule in RULES:
        if rule.applies(facts)[0]:
            reasons = dict.fromkeys(rule.names, rule.reason) | reasons
    return {name: reasons[name] for name in INSTRUMENT.label_index if name in reasons}


def with_inaudible_defaults(settings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return presets in which each parameter that cannot be heard has its neutral setting of ``DEFAULTS``.

    Presets that sound the same then look the same.

    Args:
        settings: float32 (sounds, 46), in units, within their ranges.

    Returns:
        float32 (sounds, 46), a copy.

    Raises:
        SoundError: the settings have another shape.
    """
    settings = _checked(settings)
    neutral = settings.copy()
    columns = [INSTRUMENT.index[parameter.name] for parameter in INSTRUMENT.learned]
    defaults = np.array([DEFAULTS[parameter.name] for parameter in INSTRUMENT.learned], np.float32)
    neutral[:, columns] = np.where(audible(settings), settings[:, columns], defaults)
    return neutral


def _checked(settings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    settings = np.asarray(settings, np.float32)
    if settings.ndim != 2 or settings.shape[1] != len(INSTRUMENT):
        raise SoundError(f"settings have the shape {settings.shape}, not (sounds, {len(INSTRUMENT)})")
    return settings
