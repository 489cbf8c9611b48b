"""Two oscillators, the modulation of the first by the second, and noise, at twice the sample rate.

Waveforms have no branches: they differ only in coefficients. The position in the cycle gives a number u in [-1, 1].
For a sine and a triangle, u is a triangle wave. For a saw and a pulse, it is the distance to the next edge in steps,
clipped. A polynomial turns u into a sine, a straight line or a smoothed jump. Then a saw's slope, or an offset that
removes the mean of a pulse, is added.

A jump is spread over one step on each side by a pair of parabolas (polyBLEP; Välimäki, Pekonen and Nam 2012,
"Perceptually informed synthesis of bandlimited classical waveforms using integrated polynomial interpolation").
At 11025 Hz this alone leaves the aliases of an 880 Hz saw at -27 dB. At twice the rate, followed by the half-band
filter of ``filters.py``, they are below -45 dB. Frequency modulation, ring modulation and drive need the higher rate
too. Longer smoothing at the single rate would dull the top octave, or need table look-ups, which are slow in lanes.

Phases are 32-bit integers with 2**32 counts per cycle, so that they wrap without drift.
"""

from __future__ import annotations

import math

import numpy as np

from synthray.synth.dsp.lanes import (
    CONTROL_PERIOD,
    GLIDE_ROWS,
    LANES,
    OVERSAMPLING,
    Counters,
    Floats,
    Scalar,
    clip,
    consecutive_rows,
    f32,
    glide_to,
    glided,
    inlined,
    multiply_add,
    use_widest_registers,
)
from synthray.synth.instrument import SAMPLE_RATE_HZ

DOUBLED_RATE_HZ = OVERSAMPLING * SAMPLE_RATE_HZ
MIX, FREQUENCY, RING = range(3)
SINE, TRIANGLE, SAW, SQUARE = range(4)
CYCLE = 2.0**32
MAX_STEP = 0.45 * CYCLE  # just below the doubled Nyquist frequency
HIGHEST_PEAK = 1.8  # of any waveform: a pulse of 10 %
FM_INDEX = 2.0  # radians of phase deviation for a sine that modulates at 100 %

# Rows of a waveform, from its base row. For the position x in counts and scale = 1 / (per_step |step| + floor), it is
# (bend_1 + bend_2 |u| + bend_3 |u|² + bend_4 |u|³) u + slope x + offset, u = clip((near |x| + along x + edge) scale).
BEND_1, BEND_2, BEND_3, BEND_4, SLOPE, OFFSET, NEAR, ALONG, EDGE, PER_STEP, FLOOR = (row * LANES for row in range(11))
WAVE_ROWS = 11

(WAVE_1, WAVE_2, STEP_1, STEP_2, SCALE_2, FM_STEP, SPEED_1, SPEED_2, LEVEL_1, LEVEL_2, FM_RATIO, RING_LEVEL,
 NOISE_GAIN, NOISE_POLE, NOISE_NOW, OSCILLATORS_END) = consecutive_rows(
    0, WAVE_ROWS, WAVE_ROWS, *(GLIDE_ROWS,) * 4, *(1,) * 9
)  # fmt: skip
PHASE_1, PHASE_2, NOISE, COUNTERS_END = consecutive_rows(0, 1, 1, 1)


@inlined
def set_waveform(work: Floats, base: int, lane: int, waveform: Scalar, width: Scalar) -> None:
    """Set the coefficients of a waveform; ``width`` is the part of a cycle in which a square is high.

    The sine approximates sin(pi/2 u) on [-1, 1] with an error of 1.3e-4; its strongest overtone is at -83 dB.
    """
    sine, saw, square = f32(waveform == SINE), f32(waveform == SAW), f32(waveform == SQUARE)
    jumps = saw + square
    smooth = f32(1.0) - jumps
    work[base + BEND_1 + lane] = f32(1.56673486) * sine + f32(waveform == TRIANGLE) + f32(2.0) * jumps
    work[base + BEND_2 + lane] = f32(0.04124253) * sine - jumps
    work[base + BEND_3 + lane] = f32(-0.77752139) * sine
    work[base + BEND_4 + lane] = f32(0.1694206) * sine
    work[base + SLOPE + lane] = saw * f32(2 / CYCLE)
    work[base + OFFSET + lane] = square * (1.0 - 2.0 * width)  # removes the mean of a pulse
    # The triangle is -1 at position 0 and 1 half a cycle away. A pulse is high around the triangle's top.
    work[base + NEAR + lane] = smooth * f32(4 / CYCLE) + square
    work[base + ALONG + lane] = -saw
    work[base + EDGE + lane] = square * (width - 1.0) * (CYCLE / 2) - smooth
    work[base + PER_STEP + lane] = jumps
    work[base + FLOOR + lane] = smooth + jumps * f32(1e-6 * CYCLE)  # a step of 0 must not divide by zero


@inlined
def decibels_to_gain(decibels: Scalar) -> Scalar:
    """Return an amplitude factor."""
    return 10.0 ** (decibels / 20.0)


@inlined
def set_oscillator(
    work: Floats,
    counters: Counters,
    lane: int,
    second: int,
    waveform: Scalar,
    frequency_hz: Scalar,
    level_db: Scalar,
    width_percent: Scalar,
) -> None:
    """Set the first oscillator (``second`` is 0) or the second one (1), whose rows follow."""
    set_waveform(work, WAVE_1 + second * WAVE_ROWS * LANES, lane, waveform, width_percent / 100.0)
    work[SPEED_1 + second * LANES + lane] = frequency_hz * (CYCLE / DOUBLED_RATE_HZ)
    work[LEVEL_1 + second * LANES + lane] = decibels_to_gain(level_db)
    counters[PHASE_1 + second * LANES + lane] = np.int32(CYCLE / 4)  # a sine rises through zero there


@inlined
def set_routing(work: Floats, lane: int, routing: Scalar, depth_percent: Scalar, most_octaves: Scalar) -> None:
    """Set how the second oscillator modulates the first, in addition to being mixed with it.

    Frequency modulation goes through zero. Its depth is proportional to the second oscillator's pitch, so that the
    timbre depends only on the ratio of the two pitches. The depth is limited so that no step exceeds ``MAX_STEP``
    when pitches rise by ``most_octaves``.
    """
    depth = depth_percent / 100.0
    room = (MAX_STEP / 2.0**most_octaves - work[SPEED_1 + lane]) / (HIGHEST_PEAK * work[SPEED_2 + lane])
    work[FM_RATIO + lane] = min(FM_INDEX * depth, max(room, 0.0)) if routing == FREQUENCY else 0.0
    ring = depth if routing == RING else 0.0
    work[RING_LEVEL + lane] = work[LEVEL_1 + lane] * ring
    work[LEVEL_1 + lane] *= 1.0 - ring


@inlined
def scale(work: Floats, base: int, lane: int, step: Scalar) -> Scalar:
    """Return the factor from counts to steps for the distance to an edge; 1 for waveforms without edges."""
    return f32(1.0) / multiply_add(work[base + PER_STEP + lane], abs(step), work[base + FLOOR + lane])


@inlined
def steer_pitch(work: Floats, lane: int, ratio: Scalar) -> None:
    """Glide to ``ratio`` times the unmodulated pitches of both oscillators."""
    step_2 = work[SPEED_2 + lane] * ratio
    glide_to(work, STEP_1, lane, work[SPEED_1 + lane] * ratio)
    glide_to(work, STEP_2, lane, step_2)
    glide_to(work, SCALE_2, lane, scale(work, WAVE_2, lane, step_2))
    glide_to(work, FM_STEP, lane, work[FM_RATIO + lane] * step_2)


@inlined
def wave(work: Floats, base: int, lane: int, phase: Scalar, scale: Scalar) -> Scalar:
    """Return an oscillator's value at ``phase``, in counts; ``scale`` is a result of the function ``scale``."""
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
def mixed(work: Floats, lane: int, first: Scalar, second: Scalar) -> Scalar:
    """Return the mix of both oscillators, including ring modulation."""
    gain_1 = multiply_add(work[RING_LEVEL + lane], second, work[LEVEL_1 + lane])
    return multiply_add(first, gain_1, second * work[LEVEL_2 + lane])


@inlined
def play_oscillators(work: Floats, counters: Counters, mix: Floats) -> None:
    """Write both oscillators over one control period into ``mix`` (doubled samples, lanes), flat."""
    # Two doubled samples are computed together: they are independent, and share the gliding values.
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        position = f32(sample) * f32(1 / CONTROL_PERIOD)
        for lane in range(LANES):
            step_2, scale_2 = np.int32(glided(work, STEP_2, lane, position)), glided(work, SCALE_2, lane, position)
            early_phase_2 = counters[PHASE_2 + lane]
            late_phase_2 = np.int32(early_phase_2 + step_2)
            early_2 = wave(work, WAVE_2, lane, early_phase_2, scale_2)
            late_2 = wave(work, WAVE_2, lane, late_phase_2, scale_2)
            # A negative step runs the phase backwards. A smoothed jump is the same from both sides.
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
def seed_noise(seed: Scalar) -> Scalar:
    """Return the non-zero start of a lane's noise (finaliser of splitmix64; Steele, Lea and Flood 2014)."""
    z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int32(np.uint32(z >> np.uint64(32)) | np.uint32(1))


@inlined
def set_noise(work: Floats, counters: Counters, lane: int, level_db: Scalar, corner_hz: Scalar, seed: Scalar) -> None:
    """Set noise with an RMS of ``level_db`` - 4.8 dB at any colour; white noise in [-1, 1] has -4.8 dB."""
    pole = 1.0 - math.exp(-2.0 * math.pi * corner_hz / DOUBLED_RATE_HZ)
    work[NOISE_POLE + lane] = pole
    work[NOISE_GAIN + lane] = decibels_to_gain(level_db) * math.sqrt((2.0 - pole) / pole) / 2.0**31
    counters[NOISE + lane] = seed_noise(seed)


@inlined
def add_noise(work: Floats, counters: Counters, mix: Floats) -> None:
    """Add coloured noise to ``mix``, two samples from each 32-bit number (xorshift; Marsaglia 2003).

    The first sample is the whole number, the second its lower 16 bits. The first also contains these bits, at -96 dB.
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
