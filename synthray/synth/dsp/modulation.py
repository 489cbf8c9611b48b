"""Envelopes and LFOs: functions of time alone, evaluated once per control period.

``kernel.py`` connects them to pitch, filter and amplitude.
"""

from __future__ import annotations

import numpy as np

from synthray.synth.dsp.lanes import LANES, Floats, Scalar, clip, f32, inlined
from synthray.synth.dsp.oscillators import CYCLE, WAVE_ROWS, set_waveform, wave

# Rows of an envelope, from its base row.
ATTACK_S, PER_ATTACK, PER_DECAY, SUSTAIN, PER_RELEASE = (row * LANES for row in range(5))
ENVELOPE_ROWS = 5

# Rows of an LFO, from its base row. The first ones are those of a waveform.
FREQUENCY_HZ, START = WAVE_ROWS * LANES, (WAVE_ROWS + 1) * LANES
LFO_ROWS = WAVE_ROWS + 2


@inlined
def set_envelope(
    work: Floats, base: int, lane: int, attack_ms: Scalar, decay_ms: Scalar, sustain_percent: Scalar, release_ms: Scalar
) -> None:
    """Set an envelope from times in ms and a sustain in percent."""
    work[base + ATTACK_S + lane] = attack_ms / 1000.0
    work[base + PER_ATTACK + lane] = 1000.0 / attack_ms
    work[base + PER_DECAY + lane] = 1000.0 / decay_ms
    work[base + SUSTAIN + lane] = sustain_percent / 100.0
    work[base + PER_RELEASE + lane] = 1000.0 / release_ms


@inlined
def envelope(work: Floats, base: int, lane: int, held_s: Scalar, released_s: Scalar) -> Scalar:
    """Return an envelope in [0, 1], ``held_s`` after the key press and ``released_s`` after its release.

    The attack is linear. Decay and release are cubic, which is close to a decay in decibels but ends in finite time.
    """
    rise = held_s * work[base + PER_ATTACK + lane]
    rise = rise if rise < f32(1.0) else f32(1.0)
    left = f32(1.0) - clip((held_s - work[base + ATTACK_S + lane]) * work[base + PER_DECAY + lane], f32(0.0), f32(1.0))
    sustain = work[base + SUSTAIN + lane]
    fade = f32(1.0) - clip(released_s * work[base + PER_RELEASE + lane], f32(0.0), f32(1.0))
    return rise * (sustain + (f32(1.0) - sustain) * left * left * left) * fade * fade * fade


@inlined
def set_lfo(work: Floats, base: int, lane: int, waveform: Scalar, frequency_hz: Scalar, start_degrees: Scalar) -> None:
    """Set an LFO that rises through zero at phase 0, as a sine does."""
    set_waveform(work, base, lane, waveform, 0.5)
    work[base + FREQUENCY_HZ + lane] = frequency_hz
    work[base + START + lane] = start_degrees / 360.0 + 0.25


@inlined
def lfo(work: Floats, base: int, lane: int, time_s: Scalar) -> Scalar:
    """Return an LFO in [-1, 1], with the oscillators' waveforms; gliding smooths their sharp edges afterwards."""
    cycle = time_s * work[base + FREQUENCY_HZ + lane] + work[base + START + lane]
    cycle -= np.floor(cycle + f32(0.5))
    return wave(work, base, lane, cycle * f32(CYCLE), f32(1.0))
