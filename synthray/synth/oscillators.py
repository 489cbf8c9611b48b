"""Two oscillators, the modulation of the first by the second, and noise; at twice the sample rate.

Waveforms are branch-free. What makes the difference are coefficients in the lane's rows. The position in the cycle,
and how far it is from the cycle's start, make a number u in [-1, 1]: for a sine and a triangle the triangle itself, for
a saw and a pulse the distance to the next edge in steps, clipped. A polynomial bends u to a sine, to a straight line or
to a smoothed jump, and a saw's slope or the constant part of a pulse is added.

A jump is spread over one step to each side of it, on a pair of parabolas (polyBLEP; Välimäki, Pekonen and Nam 2012,
"Perceptually informed synthesis of bandlimited classical waveforms using integrated polynomial interpolation"). At
11025 Hz that alone leaves aliases of an 880 Hz saw at -27 dB. At twice the rate, with the half-band filter of
``filters.py`` behind it, they are below -45 dB, and frequency modulation, ring modulation and drive gain from the
same room. A longer smoothing at the single rate would dull the top octave or read a table, which lanes do slowly.

Phases are 32-bit integers, 2**32 counts to the cycle: they wrap by themselves and do not drift.
"""

from __future__ import annotations

import math

import numpy as np

from synthray.synth.instrument import SAMPLE_RATE_HZ
from synthray.synth.lanes import (
    CONTROL_PERIOD,
    GLIDE_ROWS,
    LANES,
    OVERSAMPLING,
    clip,
    consecutive_rows,
    f32,
    glide_to,
    glided,
    inlined,
    multiply_add,
    use_widest_registers,
)

DOUBLED_RATE_HZ = OVERSAMPLING * SAMPLE_RATE_HZ
MIX, FREQUENCY, RING = range(3)
SINE, TRIANGLE, SAW, SQUARE = range(4)
CYCLE = 2.0**32
FASTEST = 0.45 * CYCLE  # a step, short of the doubled Nyquist frequency
HIGHEST_PEAK = 1.8  # of any waveform: a pulse of 10 %
FM_INDEX = 2.0  # radians of phase deviation for a sine that modulates at 100 %

# Rows of a waveform, from its base row. With the position x in counts and scale = 1 / (per_step |step| + floor) it is
# (bend_1 + bend_2 |u| + bend_3 |u|² + bend_4 |u|³) u + slope x + offset, u = clip((near |x| + along x + edge) scale).
BEND_1, BEND_2, BEND_3, BEND_4, SLOPE, OFFSET, NEAR, ALONG, EDGE, PER_STEP, FLOOR = (row * LANES for row in range(11))
WAVE_ROWS = 11

(WAVE_1, WAVE_2, STEP_1, STEP_2, SCALE_2, FM_STEP, SPEED_1, SPEED_2, LEVEL_1, LEVEL_2, FM_RATIO, RING_LEVEL,
 NOISE_GAIN, NOISE_POLE, NOISE_NOW, OSCILLATORS_END) = consecutive_rows(
    0, WAVE_ROWS, WAVE_ROWS, *(GLIDE_ROWS,) * 4, *(1,) * 9
)  # fmt: skip
PHASE_1, PHASE_2, NOISE, COUNTERS_END = consecutive_rows(0, 1, 1, 1)


@inlined
def set_waveform(work, base, lane, waveform, width):
    """Coefficients of waveform number ``waveform``; ``width`` is the part of a cycle in which a square is high.

    The sine's are of sin(pi/2 u) on [-1, 1], to 1.3e-4: its strongest overtone is at -83 dB.
    """
    sine, saw, square = f32(waveform == SINE), f32(waveform == SAW), f32(waveform == SQUARE)
    jumps = saw + square
    smooth = f32(1.0) - jumps
    work[base + BEND_1 + lane] = f32(1.56673486) * sine + f32(waveform == TRIANGLE) + f32(2.0) * jumps
    work[base + BEND_2 + lane] = f32(0.04124253) * sine - jumps
    work[base + BEND_3 + lane] = f32(-0.77752139) * sine
    work[base + BEND_4 + lane] = f32(0.1694206) * sine
    work[base + SLOPE + lane] = saw * f32(2 / CYCLE)
    work[base + OFFSET + lane] = square * (1.0 - 2.0 * width)  # takes the constant part out of a pulse
    # The triangle is -1 at position 0 and 1 half a cycle away; a pulse is high at its top, for ``width`` of the cycle.
    work[base + NEAR + lane] = smooth * f32(4 / CYCLE) + square
    work[base + ALONG + lane] = -saw
    work[base + EDGE + lane] = square * (width - 1.0) * (CYCLE / 2) - smooth
    work[base + PER_STEP + lane] = jumps
    work[base + FLOOR + lane] = smooth + jumps * f32(1e-6 * CYCLE)  # a step of 0 must not divide by it


@inlined
def decibels_to_gain(decibels):
    return 10.0 ** (decibels / 20.0)


@inlined
def set_oscillator(work, counters, lane, second, waveform, frequency_hz, level_db, width_percent):
    """The first oscillator (``second`` is 0) or the second (1), whose rows follow the first one's."""
    set_waveform(work, WAVE_1 + second * WAVE_ROWS * LANES, lane, waveform, width_percent / 100.0)
    work[SPEED_1 + second * LANES + lane] = frequency_hz * (CYCLE / DOUBLED_RATE_HZ)
    work[LEVEL_1 + second * LANES + lane] = decibels_to_gain(level_db)
    counters[PHASE_1 + second * LANES + lane] = np.int32(CYCLE / 4)  # where a sine rises through zero


@inlined
def set_routing(work, lane, routing, depth_percent, most_octaves):
    """What the second oscillator does to the first, apart from being mixed with it.

    Frequency modulation is through zero, and its depth goes with the second oscillator's pitch, so that the timbre
    depends on the two pitches' ratio alone. It is less deep where pitches raised by ``most_octaves`` would step faster
    than ``FASTEST``.
    """
    depth = depth_percent / 100.0
    room = (FASTEST / 2.0**most_octaves - work[SPEED_1 + lane]) / (HIGHEST_PEAK * work[SPEED_2 + lane])
    work[FM_RATIO + lane] = min(FM_INDEX * depth, max(room, 0.0)) if routing == FREQUENCY else 0.0
    ring = depth if routing == RING else 0.0
    work[RING_LEVEL + lane] = work[LEVEL_1 + lane] * ring
    work[LEVEL_1 + lane] *= 1.0 - ring


@inlined
def scale(work, base, lane, step):
    """What turns distances to an edge from counts to steps; 1 for waveforms without edges."""
    return f32(1.0) / multiply_add(work[base + PER_STEP + lane], abs(step), work[base + FLOOR + lane])


@inlined
def steer_pitch(work, lane, ratio):
    """Glide to ``ratio`` times the oscillators' own pitches."""
    step_2 = work[SPEED_2 + lane] * ratio
    glide_to(work, STEP_1, lane, work[SPEED_1 + lane] * ratio)
    glide_to(work, STEP_2, lane, step_2)
    glide_to(work, SCALE_2, lane, scale(work, WAVE_2, lane, step_2))
    glide_to(work, FM_STEP, lane, work[FM_RATIO + lane] * step_2)


@inlined
def wave(work, base, lane, phase, scale):
    """Value of an oscillator at ``phase``, in counts, with the ``scale`` of its step."""
    position = f32(phase)
    u = multiply_add(work[base + NEAR + lane], abs(position), work[base + EDGE + lane])
    u = multiply_add(work[base + ALONG + lane], position, u)
    u = clip(u * scale, f32(-1.0), f32(1.0))
    size = abs(u)
    y = multiply_add(work[base + BEND_4 + lane], size, work[base + BEND_3 + lane])
    y = multiply_add(y, size, work[base + BEND_2 + lane])
    y = multiply_add(y, size, work[base + BEND_1 + lane])
    return multiply_add(y, u, multiply_add(work[base + SLOPE + lane], position, work[base + OFFSET + lane]))


@inlined
def mixed(work, lane, first, second):
    gain_1 = multiply_add(work[RING_LEVEL + lane], second, work[LEVEL_1 + lane])
    return multiply_add(first, gain_1, second * work[LEVEL_2 + lane])


@inlined
def play_oscillators(work, counters, mix):
    """Both oscillators over one control period, into ``mix`` (doubled samples, lanes), flat.

    Two doubled samples at a time, side by side: neither waits for the other, and both share what glides.
    """
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        position = f32(sample) * f32(1 / CONTROL_PERIOD)
        for lane in range(LANES):
            step_2, scale_2 = np.int32(glided(work, STEP_2, lane, position)), glided(work, SCALE_2, lane, position)
            early_phase_2 = counters[PHASE_2 + lane]
            late_phase_2 = np.int32(early_phase_2 + step_2)
            early_2 = wave(work, WAVE_2, lane, early_phase_2, scale_2)
            late_2 = wave(work, WAVE_2, lane, late_phase_2, scale_2)
            # A step may be negative: phase runs backwards then, and a smoothed jump looks the same from both sides.
            step_1, fm_step = glided(work, STEP_1, lane, position), glided(work, FM_STEP, lane, position)
            early_step, late_step = multiply_add(fm_step, early_2, step_1), multiply_add(fm_step, late_2, step_1)
            early_phase_1 = counters[PHASE_1 + lane]
            late_phase_1 = np.int32(early_phase_1 + np.int32(early_step))
            early_1 = wave(work, WAVE_1, lane, early_phase_1, scale(work, WAVE_1, lane, early_step))
            late_1 = wave(work, WAVE_1, lane, late_phase_1, scale(work, WAVE_1, lane, late_step))
            mix[2 * sample * LANES + lane] = mixed(work, lane, early_1, early_2)
            mix[(2 * sample + 1) * LANES + lane] = mixed(work, lane, late_1, late_2)
            counters[PHASE_1 + lane] = np.int32(late_phase_1 + np.int32(late_step))
            counters[PHASE_2 + lane] = np.int32(late_phase_2 + step_2)


@inlined
def seed_noise(seed):
    """Non-zero start of a lane's noise, from a 64-bit seed (finaliser of splitmix64; Steele, Lea, Flood 2014)."""
    z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int32(np.uint32(z >> np.uint64(32)) | np.uint32(1))


@inlined
def set_noise(work, counters, lane, level_db, corner_hz, seed):
    """Noise with an RMS of -4.8 dB (that of white noise in [-1, 1]) plus ``level_db``, whatever its colour."""
    pole = 1.0 - math.exp(-2.0 * math.pi * corner_hz / DOUBLED_RATE_HZ)
    work[NOISE_POLE + lane] = pole
    work[NOISE_GAIN + lane] = decibels_to_gain(level_db) * math.sqrt((2.0 - pole) / pole) / 2.0**31
    counters[NOISE + lane] = seed_noise(seed)


@inlined
def add_noise(work, counters, mix):
    """Coloured noise onto ``mix``: one 32-bit number (xorshift; Marsaglia 2003) makes two samples.

    One is the whole number, the other its lower half, which the first one has at -96 dB.
    """
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        for lane in range(LANES):
            x = np.uint32(counters[NOISE + lane])
            x = np.uint32(x ^ np.uint32(x << np.uint32(13)))
            x = np.uint32(x ^ np.uint32(x >> np.uint32(17)))
            x = np.uint32(x ^ np.uint32(x << np.uint32(5)))
            bits = np.int32(x)
            counters[NOISE + lane] = bits
            gain, pole, now = work[NOISE_GAIN + lane], work[NOISE_POLE + lane], work[NOISE_NOW + lane]
            now = multiply_add(pole, multiply_add(f32(bits), gain, -now), now)
            mix[2 * sample * LANES + lane] += now
            now = multiply_add(pole, multiply_add(f32(np.int32(bits << np.int32(16))), gain, -now), now)
            mix[(2 * sample + 1) * LANES + lane] += now
            work[NOISE_NOW + lane] = now
