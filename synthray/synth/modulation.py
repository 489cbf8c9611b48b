"""Envelopes and LFOs: functions of time alone, read once a control period."""

from __future__ import annotations

import numpy as np

from synthray.synth.lanes import LANES, clip, f32, inlined
from synthray.synth.oscillators import CYCLE, WAVE_ROWS, set_waveform, wave

# Rows of an envelope, from its base row.
ATTACK_S, PER_ATTACK, PER_DECAY, SUSTAIN, PER_RELEASE = (row * LANES for row in range(5))
ENVELOPE_ROWS = 5

# Rows of an LFO, from its base row: a waveform's first.
FREQUENCY_HZ, START = WAVE_ROWS * LANES, (WAVE_ROWS + 1) * LANES
LFO_ROWS = WAVE_ROWS + 2


@inlined
def set_envelope(work, base, lane, attack_ms, decay_ms, sustain_percent, release_ms):
    work[base + ATTACK_S + lane] = attack_ms / 1000.0
    work[base + PER_ATTACK + lane] = 1000.0 / attack_ms
    work[base + PER_DECAY + lane] = 1000.0 / decay_ms
    work[base + SUSTAIN + lane] = sustain_percent / 100.0
    work[base + PER_RELEASE + lane] = 1000.0 / release_ms


@inlined
def envelope(work, base, lane, held_s, released_s):
    """Envelope in [0, 1], ``held_s`` after the key went down and ``released_s`` after it was let go (0 before).

    The attack is a straight line; decay and release fall with the third power, which is close to a decay in
    decibels and yet ends at the time that was set.
    """
    rise = held_s * work[base + PER_ATTACK + lane]
    rise = rise if rise < f32(1.0) else f32(1.0)
    left = f32(1.0) - clip((held_s - work[base + ATTACK_S + lane]) * work[base + PER_DECAY + lane], f32(0.0), f32(1.0))
    sustain = work[base + SUSTAIN + lane]
    fade = f32(1.0) - clip(released_s * work[base + PER_RELEASE + lane], f32(0.0), f32(1.0))
    return rise * (sustain + (f32(1.0) - sustain) * left * left * left) * fade * fade * fade


@inlined
def set_lfo(work, base, lane, waveform, frequency_hz, start_degrees):
    """An LFO that starts, at phase 0, as a sine does: rising through zero."""
    set_waveform(work, base, lane, waveform, 0.5)
    work[base + FREQUENCY_HZ + lane] = frequency_hz
    work[base + START + lane] = start_degrees / 360.0 + 0.25


@inlined
def lfo(work, base, lane, time_s):
    """LFO in [-1, 1]: the oscillators' waveforms with sharp edges, which the gliding that follows takes off."""
    cycle = time_s * work[base + FREQUENCY_HZ + lane] + work[base + START + lane]
    cycle -= np.floor(cycle + f32(0.5))
    return wave(work, base, lane, cycle * f32(CYCLE), f32(1.0))
