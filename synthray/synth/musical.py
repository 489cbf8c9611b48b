"""Random presets as people use a synthesizer: loud oscillators in intervals, most modulation off, little noise.

The shares were chosen by hand. Mixing these presets with uniform ones, and putting both into canonical order, is in
``priors.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice

Positions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """Distribution of a range's position in [0, 1]."""

    low: float = 0.0
    high: float = 1.0
    squared: bool = False
    """True prefers ``low``: the positions are squared before they are spread from ``low`` to ``high``."""
    off_share: float = 0.0
    """Share of the presets with ``off``; the others are spread."""
    off: float = 0.0
    """Position of a parameter that is not used."""

    def position(self, uniform: Positions) -> Positions:
        """Return positions for uniform random numbers in [0, 1)."""
        rest = np.clip((uniform - self.off_share) / (1.0 - self.off_share), 0.0, 1.0)
        spread = self.low + (self.high - self.low) * (rest * rest if self.squared else rest)
        return np.where(uniform < self.off_share, self.off, spread)


@dataclass(frozen=True)
class AroundCentre:
    """Distribution of a range's position that prefers the centre, 0.5."""

    off_share: float = 0.0
    """Share of the presets at the centre; the others are spread, most of them close to it."""

    def position(self, uniform: Positions) -> Positions:
        """Return positions for uniform random numbers in [0, 1)."""
        way = 2.0 * np.clip((uniform - self.off_share) / (1.0 - self.off_share), 0.0, 1.0) - 1.0
        return np.where(uniform < self.off_share, 0.5, 0.5 + 0.5 * way * np.abs(way))


PULSE_WIDTH = Shape(off_share=0.4, off=1.0)  # most squares are 50 % wide
UNUSED_LFO = 0.7

RANGES: dict[str, Shape | AroundCentre] = {
    "oscillator_1_level": Shape(low=0.5),
    "oscillator_1_pulse_width": PULSE_WIDTH,
    "oscillator_2_level": Shape(low=0.3, off_share=0.3),
    "oscillator_2_pulse_width": PULSE_WIDTH,
    "oscillator_2_detune": AroundCentre(off_share=0.2),
    "oscillator_2_modulation": Shape(squared=True),
    "noise_level": Shape(off_share=0.6, squared=True),
    "filter_cutoff": Shape(low=0.25),
    "filter_resonance": Shape(squared=True),
    "filter_drive": Shape(off_share=0.4, squared=True),
    "filter_envelope_amount": Shape(low=0.35, off_share=0.25, off=0.5),  # most open the filter
    "filter_envelope_attack": Shape(squared=True),
    "filter_envelope_decay": Shape(low=0.3),
    "filter_lfo_frequency": Shape(low=0.2, high=0.9),
    "filter_lfo_amount": Shape(off_share=UNUSED_LFO, squared=True),
    "pitch_envelope_amount": AroundCentre(off_share=0.8),
    "pitch_lfo_frequency": Shape(low=0.4, high=0.8),  # 1.6 to 8.6 Hz
    "pitch_lfo_amount": Shape(off_share=UNUSED_LFO, squared=True),
    "amplitude_envelope_attack": Shape(squared=True),
    "amplitude_envelope_decay": Shape(low=0.3),
    "amplitude_envelope_sustain": Shape(low=0.4, off_share=0.2),  # a plucked or a held sound
    "amplitude_lfo_frequency": Shape(low=0.2, high=0.9),
    "amplitude_lfo_amount": Shape(off_share=UNUSED_LFO),
}
"""Distributions of ranges; the others are uniform."""

LFO_WAVEFORM = {"sine": 0.4, "triangle": 0.4, "saw": 0.1, "square": 0.1}
CHOICES: dict[str, dict[str, float]] = {
    "oscillator_1_waveform": {"sine": 0.15, "triangle": 0.15, "saw": 0.4, "square": 0.3},
    "oscillator_2_waveform": {"sine": 0.15, "triangle": 0.15, "saw": 0.4, "square": 0.3},
    "oscillator_2_routing": {"mix": 0.7, "frequency": 0.15, "ring": 0.15},
    "filter_type": {"lowpass": 0.7, "highpass": 0.1, "bandpass": 0.15, "notch": 0.05},
    "filter_lfo_waveform": LFO_WAVEFORM,
    "pitch_lfo_waveform": LFO_WAVEFORM,
    "amplitude_lfo_waveform": LFO_WAVEFORM,
}
"""Shares of the classes."""

PITCH_STEPS = next(p.num_steps for p in INSTRUMENT.ranges if p.name == "oscillator_1_pitch")  # semitones
INTERVALS = {0: 0.35, 12: 0.2, -12: 0.2, 7: 0.1, -5: 0.05, 19: 0.05, 24: 0.05}
"""Shares of the intervals in semitones from oscillator 1 to oscillator 2."""


def musical_labels(uniform: Positions) -> npt.NDArray[np.float32]:
    """Return the labels of musical presets, float32 (sounds, learned).

    Args:
        uniform: float64 (sounds, learned), random numbers in [0, 1).
    """
    labels = np.empty(uniform.shape, np.float32)
    for column, parameter in enumerate(INSTRUMENT.learned):
        numbers = uniform[:, column]
        if isinstance(parameter, Choice):
            shares = CHOICES[parameter.name]
            labels[:, column] = drawn([shares[value] for value in parameter.values], numbers)
        else:
            labels[:, column] = RANGES.get(parameter.name, Shape()).position(numbers)
    first, second = (INSTRUMENT.label_index[f"oscillator_{number}_pitch"] for number in (1, 2))
    steps = np.floor(uniform[:, first] * (PITCH_STEPS + 1))
    interval = np.array(list(INTERVALS))[drawn(list(INTERVALS.values()), uniform[:, second])]
    other = steps + interval
    other = np.where((other < 0) | (other > PITCH_STEPS), steps - interval, other)  # the other way has room
    labels[:, first], labels[:, second] = steps / PITCH_STEPS, other / PITCH_STEPS
    return labels


def drawn(shares: list[float], uniform: Positions) -> npt.NDArray[np.intp]:
    """Return the index of a share for each uniform random number in [0, 1)."""
    ends = np.cumsum(shares)[:-1] / sum(shares)
    return np.searchsorted(ends, uniform, side="right")
