"""Drive, decimation to the sample rate, and the resonant filter.

The sources before the drive are in ``oscillators.py``, the envelopes that move the filter in ``modulation.py``.
"""

from __future__ import annotations

import math

from synthray.synth.dsp.lanes import (
    CONTROL_PERIOD,
    GLIDE_ROWS,
    LANES,
    Floats,
    Scalar,
    clip,
    consecutive_rows,
    exp2,
    f32,
    glide_to,
    glided,
    inlined,
    multiply_add,
    soft_clip,
    tan,
    use_widest_registers,
)
from synthray.synth.dsp.oscillators import OSCILLATORS_END
from synthray.synth.instrument import SAMPLE_RATE_HZ

LOWPASS, HIGHPASS, BANDPASS, NOTCH = range(4)
LOWEST_HZ, HIGHEST_HZ = 20.0, 0.47 * SAMPLE_RATE_HZ

# All-pass coefficients of an elliptic half-band filter in two branches (Valenzuela and Constantinides 1983, "Digital
# signal processing schemes for efficient interpolation and decimation"). It attenuates by 51 dB from 0.255 of the
# doubled rate on, and by less than 0.0001 dB below 0.24.
EARLY_BRANCH = (0.400567898, 0.820416389, 0.976311452)
LATE_BRANCH = (0.127141414, 0.652824589, 0.917694283)

(EARLY, LATE, CUTOFF_HZ, DAMPING, TAKE_INPUT, TAKE_BAND, TAKE_LOW, BAND_STATE, LOW_STATE,
 A1, A2, A3, FILTERS_END) = consecutive_rows(
    OSCILLATORS_END, 4, 4, *(1,) * 7, *(GLIDE_ROWS,) * 3
)  # fmt: skip


@inlined
def all_pass(work: Floats, state: int, lane: int, x: Scalar, coefficient: Scalar) -> Scalar:
    """Apply one section of a branch; row ``state`` is its last input, the next row its last output."""
    y = multiply_add(coefficient, x - work[state + LANES + lane], work[state + lane])
    work[state + lane] = x
    return y


@inlined
def branch(work: Floats, state: int, lane: int, x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """Apply three all-pass sections in series; a section's last output is stored once, as the next one's last input."""
    y = all_pass(work, state, lane, x, f32(coefficients[0]))
    y = all_pass(work, state + LANES, lane, y, f32(coefficients[1]))
    y = all_pass(work, state + 2 * LANES, lane, y, f32(coefficients[2]))
    work[state + 3 * LANES + lane] = y
    return y


@inlined
def drive_and_decimate(work: Floats, mix: Floats, sound: Floats) -> None:
    """Clip ``mix`` (doubled samples, lanes) softly and decimate it by two into ``sound``; both are flat."""
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        for lane in range(LANES):
            early = soft_clip(mix[2 * sample * LANES + lane])
            late = soft_clip(mix[(2 * sample + 1) * LANES + lane])
            early = branch(work, EARLY, lane, early, EARLY_BRANCH)
            late = branch(work, LATE, lane, late, LATE_BRANCH)
            sound[sample * LANES + lane] = (early + late) * f32(0.5)


@inlined
def set_filter(work: Floats, lane: int, filter_type: Scalar, cutoff_hz: Scalar, resonance: Scalar) -> None:
    """Set the filter, whose output is a weighted sum of its input, band pass and low pass.

    The band pass has a gain of sqrt(Q) at its centre, so that its loudness hardly depends on its width.
    """
    work[CUTOFF_HZ + lane] = cutoff_hz
    damping = 1.0 / resonance
    work[DAMPING + lane] = damping
    bypass = filter_type in (HIGHPASS, NOTCH)
    work[TAKE_INPUT + lane] = f32(bypass)
    work[TAKE_BAND + lane] = math.sqrt(damping) if filter_type == BANDPASS else (-damping if bypass else 0.0)
    work[TAKE_LOW + lane] = f32(filter_type == LOWPASS) - f32(filter_type == HIGHPASS)


@inlined
def steer_filter(work: Floats, lane: int, octaves: Scalar) -> None:
    """Glide to the coefficients of a cutoff that is shifted by ``octaves``."""
    cutoff_hz = clip(work[CUTOFF_HZ + lane] * exp2(octaves), f32(LOWEST_HZ), f32(HIGHEST_HZ))
    g = tan(cutoff_hz * f32(math.pi / SAMPLE_RATE_HZ))
    a1 = f32(1.0) / (f32(1.0) + g * (g + work[DAMPING + lane]))
    glide_to(work, A1, lane, a1)
    glide_to(work, A2, lane, g * a1)
    glide_to(work, A3, lane, g * g * a1)


@inlined
def filter_sound(work: Floats, sound: Floats) -> None:
    """Apply a state-variable filter with trapezoidal integrators to ``sound``, in place.

    Source: Zavalishin 2012, "The art of VA filter design"; the coefficients a1, a2, a3 are Simper's. Each step maps the
    state by a contracting matrix that is linear in the coefficients, and a mean of contracting matrices is contracting.
    So the filter is stable at any speed of gliding, without a division per sample.
    """
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        position = f32(sample) * f32(1 / CONTROL_PERIOD)
        for lane in range(LANES):
            x, band_state, low_state = sound[sample * LANES + lane], work[BAND_STATE + lane], work[LOW_STATE + lane]
            a1, a2 = glided(work, A1, lane, position), glided(work, A2, lane, position)
            a3 = glided(work, A3, lane, position)
            rest = x - low_state
            band = multiply_add(a1, band_state, a2 * rest)
            low = multiply_add(a2, band_state, multiply_add(a3, rest, low_state))
            work[BAND_STATE + lane] = multiply_add(f32(2.0), band, -band_state)
            work[LOW_STATE + lane] = multiply_add(f32(2.0), low, -low_state)
            y = multiply_add(work[TAKE_INPUT + lane], x, work[TAKE_BAND + lane] * band)
            sound[sample * LANES + lane] = multiply_add(work[TAKE_LOW + lane], low, y)
