"""Rules for inaudible parameters, each with its reason and its threshold.

``facts.py`` has the facts that they use, and ``audible.py`` applies them to presets. Thresholds were chosen so that the
rules agree with measured differences, which ``benchmarks/audible.py`` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from synthray.synth.audible.facts import Bools, Facts
from synthray.synth.audible.spectrum_estimate import STAGES
from synthray.synth.instrument import INSTRUMENT

LEAST_SHARE = 0.002
"""Below this share of the heard sound, the waveform and pitch of a source are inaudible."""
LEAST_FINE_SHARE = 0.06
"""Below this share, pulse width, detune and modulation are inaudible. They change a source less."""
LEAST_TONAL_SHARE = 0.12
"""If all sources except the noise have less than this share, the noise covers sweeps of the pitch."""
LEAST_FINE_TONAL_SHARE = 0.35
"""If they have less than this share, the noise covers vibrato, detune and modulation."""
LEAST_CHANGE_DB = 1.0
"""A smaller change of all levels is not heard. A difference of 1 dB in loudness is just noticeable."""
LEAST_ATTACK_CHANGE_DB = 1.3
"""As above for the attack: the frames of the measurement blur its edge."""
LEAST_COLOR_CHANGE_DB = 0.8
"""As above for the noise colour: the spectrum of noise is known better than the spectrum of partials."""
LEAST_RESONANCE_CHANGE_DB = 0.3
"""As above for the resonance: its peak is narrower than the bands of the estimate."""
LEAST_AMOUNT_CHANGE_DB = 0.4
"""As above for the amounts of the filter's envelope and LFO, for the same reason."""
LEAST_SOURCE_CHANGE_DB = 0.04
"""As above for a source that becomes louder: it fills gaps between partials, which are narrower than the bands."""
LEAST_MODULATION_PERCENT = 1.5
"""At this depth, the side bands of ring and frequency modulation are below -40 dB."""
LEAST_SHIFT_OCTAVES = 0.05
"""The steepest slope of the filter, 18 dB per octave in the estimate, turns this shift into about 1 dB."""
LEAST_SWEEP_SEMITONES = 0.3
"""A shorter sweep of the pitch is not heard within a partial's band."""
LEAST_VIBRATO_CENTS = 4.0
"""A vibrato of about 4 cents is just audible."""
LEAST_TREMOLO_PERCENT = 23.0
"""The level then varies by less than 1 dB RMS."""
FADED_DB = -60.0
"""A sound that has fallen this far is not heard."""


@dataclass(frozen=True)
class Rule:
    """A reason why parameters cannot be heard."""

    names: tuple[str, ...]
    reason: str
    """A clause that continues "it cannot be heard because"."""
    applies: Callable[[Facts], Bools]
    """The presets, bool (sounds,), in which the parameters cannot be heard."""
    everywhere: bool = True
    """True if the parameters are then inaudible at all settings, False if only near the present one."""


def _stages(which: str, *stages: str) -> tuple[str, ...]:
    return tuple(f"{which}_envelope_{stage}" for stage in stages)


def _level_keeps(stage: str, least_db: float, facts: Facts) -> Bools:
    keeps: Bools = facts.amplitude_envelope_change_db(stage) < least_db
    return keeps


def _filter_keeps(stage: str, facts: Facts) -> Bools:
    keeps: Bools = facts.filter_envelope_change_db(stage) < LEAST_CHANGE_DB
    return keeps


def _envelope_rules() -> list[Rule]:
    """Return the rules that compare an envelope with the one in which a stage is moved."""
    rules = []
    for stage in STAGES:
        least_db = LEAST_ATTACK_CHANGE_DB if stage == "attack" else LEAST_CHANGE_DB
        rules += [
            Rule(
                _stages("amplitude", stage),
                f"another {stage} near this one would hardly change the level",
                partial(_level_keeps, stage, least_db),
            ),
            Rule(
                _stages("filter", stage),
                f"another {stage} of the filter envelope, near this one, would hardly change the sound",
                partial(_filter_keeps, stage),
            ),
        ]
    return rules


RULES = (
    Rule(
        ("oscillator_1_pulse_width",),
        "oscillator 1 is not a square",
        lambda f: ~f.is_class("oscillator_1_waveform", "square"),
    ),
    Rule(
        ("oscillator_2_pulse_width",),
        "oscillator 2 is not a square",
        lambda f: ~f.is_class("oscillator_2_waveform", "square"),
    ),
    Rule(
        ("oscillator_2_modulation",),
        "oscillator 2 is only mixed in",
        lambda f: f.is_class("oscillator_2_routing", "mix"),
    ),
    Rule(
        ("oscillator_2_routing",),
        "the modulation is too weak",
        lambda f: f.of("oscillator_2_modulation") < LEAST_MODULATION_PERCENT,
    ),
    Rule(
        ("oscillator_1_waveform", "oscillator_1_pitch"),
        "oscillator 1 is too quiet",
        lambda f: f.oscillator_1_share < LEAST_SHARE,
    ),
    Rule(
        ("oscillator_1_pulse_width", "oscillator_2_modulation"),
        "oscillator 1 is too quiet",
        lambda f: f.oscillator_1_share < LEAST_FINE_SHARE,
        everywhere=False,
    ),
    Rule(
        ("oscillator_2_routing",),
        "oscillator 1, which oscillator 2 modulates, is too quiet",
        lambda f: f.oscillator_1_share < LEAST_SHARE,
    ),
    Rule(
        ("oscillator_2_waveform", "oscillator_2_pitch"),
        "oscillator 2 is too quiet and hardly modulates oscillator 1",
        lambda f: f.oscillator_2_share < LEAST_SHARE,
    ),
    Rule(
        ("oscillator_2_detune", "oscillator_2_pulse_width"),
        "oscillator 2 is too quiet and hardly modulates oscillator 1",
        lambda f: f.oscillator_2_share < LEAST_FINE_SHARE,
        everywhere=False,
    ),
    Rule(
        ("oscillator_2_detune", "oscillator_2_modulation", "pitch_lfo_amount"),
        "the noise covers it",
        lambda f: f.tonal_share < LEAST_FINE_TONAL_SHARE,
        everywhere=False,
    ),
    Rule(
        ("oscillator_1_level",),
        "oscillator 1 is too quiet at any level near this one",
        lambda f: f.level_change_db("oscillator_1") < LEAST_SOURCE_CHANGE_DB,
    ),
    Rule(
        ("oscillator_2_level",),
        "oscillator 2 is too quiet at any level near this one",
        lambda f: f.level_change_db("oscillator_2") < LEAST_SOURCE_CHANGE_DB,
    ),
    Rule(
        ("noise_level",),
        "the noise is too quiet at any level near this one",
        lambda f: f.level_change_db("noise") < LEAST_SOURCE_CHANGE_DB,
    ),
    Rule(
        ("noise_color",),
        "the noise is too quiet, or filtered",
        lambda f: f.noise_color_change_db < LEAST_COLOR_CHANGE_DB,
    ),
    Rule(
        tuple(p.name for p in INSTRUMENT.learned if p.name.startswith("pitch_")),
        "the noise covers both oscillators",
        lambda f: f.tonal_share < LEAST_TONAL_SHARE,
        everywhere=False,
    ),
    Rule(
        ("pitch_envelope_attack", "pitch_envelope_decay"),
        "the pitch envelope hardly moves the pitch",
        lambda f: np.abs(f.of("pitch_envelope_amount")) < LEAST_SWEEP_SEMITONES,
    ),
    Rule(
        ("pitch_lfo_waveform", "pitch_lfo_frequency"),
        "the pitch LFO hardly moves the pitch",
        lambda f: f.of("pitch_lfo_amount") < LEAST_VIBRATO_CENTS,
    ),
    Rule(
        _stages("filter", *STAGES),
        "the filter envelope hardly moves the filter",
        lambda f: np.abs(f.of("filter_envelope_amount")) < LEAST_SHIFT_OCTAVES,
    ),
    Rule(
        ("filter_lfo_waveform", "filter_lfo_frequency"),
        "the filter LFO hardly changes the sound",
        lambda f: f.of("filter_lfo_amount") * f.filter_change_db < LEAST_CHANGE_DB,
    ),
    Rule(
        ("filter_envelope_amount",),
        "another amount near this one would hardly change the sound",
        lambda f: f.filter_envelope_amount_change_db < LEAST_AMOUNT_CHANGE_DB,
    ),
    Rule(
        ("filter_lfo_amount",),
        "another amount near this one would hardly change the sound",
        lambda f: f.filter_lfo_amount_change_db < LEAST_AMOUNT_CHANGE_DB,
    ),
    Rule(
        ("filter_resonance",),
        "nothing that sounds is near the cutoff",
        lambda f: f.resonance_change_db < LEAST_RESONANCE_CHANGE_DB,
        everywhere=False,  # its change is extrapolated from the present resonance
    ),
    Rule(
        (*_stages("amplitude", "release"), *_stages("filter", "release")),
        "the sound has ended when the key is let go",
        lambda f: f.level_at_release_db < FADED_DB,
    ),
    *_envelope_rules(),
    Rule(
        ("amplitude_lfo_waveform", "amplitude_lfo_frequency"),
        "the level's LFO hardly moves the level",
        lambda f: f.of("amplitude_lfo_amount") < LEAST_TREMOLO_PERCENT,
    ),
)
"""All rules. If several apply to a parameter, people see the reason of the first one."""
