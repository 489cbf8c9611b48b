"""Settings for tests of the voice."""

from __future__ import annotations

import numpy as np

from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant
from synthray.synth.presets import random_labels

# One plain saw through an open filter without modulation: the first class or 0 where nothing else is said.
PLAIN: dict[str, float | str] = {p.name: p.values[0] if isinstance(p, Choice) else 0.0 for p in INSTRUMENT.learned}
PLAIN |= {
    "oscillator_1_waveform": "saw",
    "oscillator_1_pulse_width": 50.0,
    "oscillator_2_level": -30.0,
    "oscillator_2_pulse_width": 50.0,
    "noise_level": -60.0,
    "noise_color": 1000.0,
    "filter_cutoff": 5000.0,
    "filter_resonance": 0.7,
    "filter_envelope_attack": 100.0,
    "filter_envelope_decay": 300.0,
    "filter_envelope_sustain": 50.0,
    "filter_envelope_release": 300.0,
    "filter_lfo_frequency": 3.0,
    "pitch_envelope_attack": 100.0,
    "pitch_envelope_decay": 300.0,
    "pitch_lfo_frequency": 3.0,
    "amplitude_envelope_attack": 5.0,
    "amplitude_envelope_decay": 300.0,
    "amplitude_envelope_sustain": 100.0,
    "amplitude_envelope_release": 300.0,
    "amplitude_lfo_frequency": 3.0,
}


def plain_settings(**changes: float | str) -> np.ndarray:
    """Return ``PLAIN`` with ``changes``, float32 (46,)."""
    values = {p.name: p.value for p in INSTRUMENT.parameters if isinstance(p, Constant)} | PLAIN | changes
    row = [p.values.index(values[p.name]) if isinstance(p, Choice) else values[p.name] for p in INSTRUMENT.parameters]
    return np.array(row, np.float32)


def random_settings(count: int, seed: int = 0) -> np.ndarray:
    """Return the settings of random presets, float32 (count, 46)."""
    return INSTRUMENT.labels_to_settings(random_labels(INSTRUMENT, seed, 0, count))
