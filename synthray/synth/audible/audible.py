"""Audible and inaudible parameters of presets.

A parameter is *inaudible* in a preset if moving it hardly changes the sound, for example the pulse width of a sine.
A model cannot learn such a parameter from the sound: ``--audible-only`` leaves it out of the loss, and evaluation also
has scores of the audible parameters alone. The rules are in ``rules.py``. ``benchmarks/audible.py`` compares them with
measured differences between sounds.

Most disagreements are near the threshold: the measured difference is within a factor of two of it. They are most
frequent in noisy sounds, because the rules do not model how noise and beating oscillators raise the threshold of
everything else. docs/benchmarks.md has the numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthray.errors import SoundError
from synthray.synth.audible.facts import Bools, Facts
from synthray.synth.audible.rules import RULES
from synthray.synth.instrument import INSTRUMENT

BLOCK_SOUNDS = 256
"""Presets that are looked at together, so that intermediate arrays stay in a core's cache."""

DEFAULTS = dict.fromkeys(INSTRUMENT.label_index, 0.0) | {
    "oscillator_1_level": -30.0,
    "oscillator_1_pulse_width": 50.0,
    "oscillator_2_level": -30.0,
    "oscillator_2_pulse_width": 50.0,
    "noise_level": -60.0,
    "noise_color": 1000.0,
    "filter_cutoff": 5000.0,
    "filter_resonance": 0.7,
    "filter_envelope_attack": 5.0,
    "filter_envelope_decay": 300.0,
    "filter_envelope_sustain": 50.0,
    "filter_envelope_release": 100.0,
    "filter_lfo_frequency": 3.0,
    "pitch_envelope_attack": 5.0,
    "pitch_envelope_decay": 300.0,
    "pitch_lfo_frequency": 3.0,
    "amplitude_envelope_attack": 5.0,
    "amplitude_envelope_decay": 300.0,
    "amplitude_envelope_sustain": 100.0,
    "amplitude_envelope_release": 100.0,
    "amplitude_lfo_frequency": 3.0,
}
"""Neutral settings of the learned parameters, in human units: first classes, quiet sources, no modulation."""


def audible(settings: npt.ArrayLike) -> Bools:
    """Return which learned parameters can be heard in each preset.

    Args:
        settings: float32 (sounds, 46), in human units, within their ranges.

    Returns:
        bool (sounds, learned), columns as in *labels*.

    Raises:
        SoundError: the settings have another shape.
    """
    settings = _checked(settings)
    blocks = [settings[first : first + BLOCK_SOUNDS] for first in range(0, len(settings), BLOCK_SOUNDS)]
    return np.concatenate([np.empty((0, len(INSTRUMENT.learned)), np.bool_), *(~_ruled_out(Facts(b)) for b in blocks)])


def _ruled_out(facts: Facts, everywhere: bool = False) -> Bools:
    """Return whether a rule applies, (sounds, learned); ``everywhere`` uses only rules that hold at all settings."""
    ruled_out = np.zeros((len(facts.settings), len(INSTRUMENT.learned)), np.bool_)
    for rule in RULES:
        if rule.everywhere or not everywhere:
            columns = [INSTRUMENT.label_index[name] for name in rule.names]
            ruled_out[:, columns] |= rule.applies(facts)[:, None]
    return ruled_out


def why_inaudible(settings_row: npt.ArrayLike) -> dict[str, str]:
    """Return the reason for each parameter that cannot be heard, in the table's order.

    Args:
        settings_row: float32 (46,), one preset in human units.

    Returns:
        A clause by name, for example ``{"oscillator_1_pulse_width": "oscillator 1 is not a square"}``.

    Raises:
        SoundError: the settings have another shape.
    """
    facts = Facts(_checked(np.asarray(settings_row)[None]))
    reasons: dict[str, str] = {}
    for rule in RULES:
        if rule.applies(facts)[0]:
            reasons = dict.fromkeys(rule.names, rule.reason) | reasons
    return {name: reasons[name] for name in INSTRUMENT.label_index if name in reasons}


def with_inaudible_defaults(settings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return presets with inaudible parameters set to their neutral settings in ``DEFAULTS``.

    Presets that sound the same then look the same. A parameter is set to its default only if the whole move there is
    inaudible. Small inaudible moves are not enough.

    Args:
        settings: float32 (sounds, 46), in human units, within their ranges.

    Returns:
        float32 (sounds, 46), a copy.

    Raises:
        SoundError: the settings have another shape.
    """
    neutral = _checked(settings).copy()
    columns = [INSTRUMENT.index[parameter.name] for parameter in INSTRUMENT.learned]
    defaults = np.array([DEFAULTS[parameter.name] for parameter in INSTRUMENT.learned], np.float32)
    for first in range(0, len(neutral), BLOCK_SOUNDS):
        block = neutral[first : first + BLOCK_SOUNDS]
        replaced = _ruled_out(Facts(block, targets=DEFAULTS), everywhere=True)
        block[:, columns] = np.where(replaced, defaults, block[:, columns])
    return neutral


def _checked(settings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    settings = np.asarray(settings, np.float32)
    if settings.ndim != 2 or settings.shape[1] != len(INSTRUMENT):
        raise SoundError(f"settings have the shape {settings.shape}, not (sounds, {len(INSTRUMENT)})")
    return settings
