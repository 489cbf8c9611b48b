"""Two oscillators, the modulation of the first by the second, and noise; at twice the sample rate.

Waveforms are branch-free. From the position in the cycle comes a triangle; a sine is a polynomial of it, and a pulse is
high where it exceeds a threshold. A saw and a pulse jump; both are a straight line plus one smoothed ``jump``, which
for the saw looks at the cycle's position and for the pulse at the triangle, so that it serves both of its edges. What
makes the difference are coefficients in the lane's rows.

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

# Rows of a waveform, from its base row. With the position x in counts and the triangle t, it is
# (a + b t² + c t⁴) t + slope · x + offset + jump · J(edge_position · x + edge_triangle · t + edge).
CUBE, FIFTH, SLOPE, OFFSET, JUMP, EDGE_POSITION, EDGE_TRIANGLE, EDGE = (row * LANES for row in range(1, 9))
WAVE_ROWS = 9

(WAVE_1, WAVE_2, STEP_1, STEP_2, INVERSE_2, FM_STEP, SPEED_1, SPEED_2, LEVEL_1, LEVEL_2, FM_RATIO, RING_LEVEL,
 NOISE_GAIN, NOISE_POLE, NOISE_NOW, OSCILLATORS_END) = consecutive_rows(
    0, WAVE_ROWS, WAVE_ROWS, *(GLIDE_ROWS,) * 4, *(1,) * 9
)  # fmt: skip
PHASE_1, PHASE_2, NOISE, COUNTERS_END = consecutive_rows(0, 1, 1, 1)


@inlined
def set_waveform(work, base, lane, waveform, width):
    """Coefficients of waveform number ``waveform``; ``width`` is the part of a cycle in which a square is high.

    The sine's are of sin(pi/2 x) on [-1, 1], to 7e-5 (-83 dB).
    """
    sine, saw, square = f32(waveform == SINE), f32(waveform == SAW), f32(waveform == SQUARE)
    work[base + lane] = f32(1.57032) * sine + f32(waveform == TRIANGLE)
    work[base + CUBE + lane] = f32(-0.6421131) * sine
    work[base + FIFTH + lane] = f32(0.07186079) * sine
    work[base + SLOPE + lane] = saw * f32(2 / CYCLE)
    work[base + OFFSET + lane] = square * (1.0 - 2.0 * width)  # takes the constant part out of a pulse
    work[base + JUMP + lane] = square - saw
    # Distance to the next edge: the triangle rises by 4 a cycle and is above 1 - 2 width for ``width`` of it.
    work[base + EDGE_POSITION + lane] = saw
    work[base + EDGE_TRIANGLE + lane] = square * f32(CYCLE / 4)
    work[base + EDGE + lane] = square * (2.0 * width - 1.0) * (CYCLE / 4)


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
def steer_pitch(work, lane, ratio):
    """Glide to ``ratio`` times the oscillators' own pitches."""
    step_2 = work[SPEED_2 + lane] * ratio
    glide_to(work, STEP_1, lane, work[SPEED_1 + lane] * ratio)
    glide_to(work, STEP_2, lane, step_2)
    glide_to(work, INVERSE_2, lane, f32(1.0) / step_2)
    glide_to(work, FM_STEP, lane, work[FM_RATIO + lane] * step_2)


@inlined
def jump(steps):
    """Smoothed sign of a distance to an edge, in steps of the phase: -1 before, 1 after, parabolas between."""
    near = clip(steps, f32(-1.0), f32(1.0))
    return near * (f32(2.0) - abs(near))


@inlined
def triangle(position):
    """-1 at ``position`` 0, in counts, rising to 1 half a cycle away to both sides."""
    return multiply_add(abs(position), f32(4 / CYCLE), f32(-1.0))


@inlined
def rounded(work, base, lane, t):
    """The waveform's sine or triangle, from triangle ``t``; 0 for the others."""
    q = t * t
    y = multiply_add(work[base + FIFTH + lane], q, work[base + CUBE + lane])
    return multiply_add(y, q, work[base + lane]) * t


@inlined
def wave(work, base, lane, phase, steps_per_count):
    """Value of an oscillator at ``phase``, in counts, of which a step takes ``1 / steps_per_count``."""
    position = f32(phase)
    t = triangle(position)
    edge = multiply_add(work[base + EDGE_TRIANGLE + lane], t, work[base + EDGE + lane])
    edge = multiply_add(work[base + EDGE_POSITION + lane], position, edge)
    y = multiply_add(work[base + SLOPE + lane], position, work[base + OFFSET + lane])
    y = multiply_add(work[base + JUMP + lane], jump(edge * steps_per_count), y)
    return y + rounded(work, base, lane, t)


@inlined
def play_oscillators(work, counters, mix):
    """Both oscillators over one control period, into ``mix`` (doubled samples, lanes), flat."""
    use_widest_registers()
    for sample in range(OVERSAMPLING * CONTROL_PERIOD):
        at = f32(sample) * f32(1 / (OVERSAMPLING * CONTROL_PERIOD))
        for lane in range(LANES):
            phase_1, phase_2 = counters[PHASE_1 + lane], counters[PHASE_2 + lane]
            second = wave(work, WAVE_2, lane, phase_2, glided(work, INVERSE_2, lane, at))
            # The step may be negative: phase runs backwards then, and a smoothed jump looks the same from both sides.
            step_1 = multiply_add(glided(work, FM_STEP, lane, at), second, glided(work, STEP_1, lane, at))
            first = wave(work, WAVE_1, lane, phase_1, f32(1.0) / (abs(step_1) + f32(1e-6 * CYCLE)))
            gain_1 = multiply_add(work[RING_LEVEL + lane], second, work[LEVEL_1 + lane])
            mix[sample * LANES + lane] = multiply_add(first, gain_1, second * work[LEVEL_2 + lane])
            counters[PHASE_1 + lane] = np.int32(phase_1 + np.int32(step_1))
            counters[PHASE_2 + lane] = np.int32(phase_2 + np.int32(glided(work, STEP_2, lane, at)))


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
    work[NOISE_GAIN + lane] = decibels_to_gain(level_db) * math.sqrt((2.0 - pole) / pole) / 2.0**15
    counters[NOISE + lane] = seed_noise(seed)


@inlined
def add_noise(work, counters, mix):
    """Coloured noise onto ``mix``: one 32-bit number (xorshift; Marsaglia 2003) makes two samples of 16 bits."""
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
            now = multiply_add(pole, multiply_add(f32(np.int32(bits >> np.int32(16))), gain, -now), now)
            mix[2 * sample * LANES + lane] += now
            now = multiply_add(pole, multiply_add(f32(np.int16(bits)), gain, -now), now)
            mix[(2 * sample + 1) * LANES + lane] += now
            work[NOISE_NOW + lane] = now
