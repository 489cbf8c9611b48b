"""A slow reference for the compiled voice: sample by sample, in float64 and plain Python.

It is written from the descriptions in the parameter table. It shares these decisions with the kernel:

- control values every 35 samples, with straight lines in between;
- twice the sample rate up to the drive, where pitch moves every second sample;
- polyBLEP, the all-pass coefficients of the half-band filter, and the noise generator.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from synthray.synth.instrument import INSTRUMENT

RATE_HZ = 11025
PERIOD = 35
HALF_BAND = (0.127141414, 0.400567898, 0.652824589, 0.820416389, 0.917694283, 0.976311452)


def reference_sound(row: np.ndarray, noise_seed: int = 0, n_samples: int = 22050) -> np.ndarray:
    """Return the first ``n_samples`` (a multiple of 35) of a preset, float64 (n_samples,), for settings (46,)."""
    p = {name: float(row[column]) for name, column in INSTRUMENT.index.items()}
    mix = [soft_clip(x) for x in doubled_sources(p, noise_seed, 2 * n_samples)]
    sound = resonate(p, decimate(np.array(mix)))
    levels = glide([amplitude(p, tick) for tick in range(n_samples // PERIOD + 1)], PERIOD)
    return np.array([soft_clip(x * level) for x, level in zip(sound, levels, strict=True)])


def decibels(value: float) -> float:
    return 10 ** (value / 20)


def soft_clip(x: float) -> float:
    x = max(-1.5, min(1.5, x))
    return x - 4 / 27 * x**3


def glide(values: list[float], steps: int) -> list[float]:
    """Return straight lines between neighbouring values, ``steps`` samples each."""
    return [a + (b - a) * i / steps for a, b in pairwise(values) for i in range(steps)]


# Modulation


def adsr(p: dict[str, float], name: str, time_s: float) -> float:
    """Return an envelope at ``time_s``: linear attack, cubic decay to the sustain, cubic release."""
    attack, decay = p[f"{name}_envelope_attack"] / 1000, p[f"{name}_envelope_decay"] / 1000
    sustain, release = p[f"{name}_envelope_sustain"] / 100, p[f"{name}_envelope_release"] / 1000
    hold = p["note_hold"] / 1000
    held = min(time_s, hold)
    if held < attack:
        level = held / attack
    elif held < attack + decay:
        level = sustain + (1 - sustain) * (1 - (held - attack) / decay) ** 3
    else:
        level = sustain
    if time_s > hold:
        level *= max(0.0, 1 - (time_s - hold) / release) ** 3
    return level


def lfo(p: dict[str, float], name: str, time_s: float, phase_degrees: float = 0.0) -> float:
    cycle = (p[f"{name}_lfo_frequency"] * time_s + phase_degrees / 360) % 1.0
    shape = int(p[f"{name}_lfo_waveform"])
    if shape == 0:
        return math.sin(2 * math.pi * cycle)
    if shape == 1:
        return 4 * cycle if cycle < 0.25 else (2 - 4 * cycle if cycle < 0.75 else 4 * cycle - 4)
    if shape == 2:
        return 2 * cycle - 0.5 if cycle < 0.75 else 2 * cycle - 2.5
    if cycle in (0.0, 0.5):  # on the edge itself
        return 0.0
    return 1.0 if cycle < 0.5 else -1.0


def pitch_ratio(p: dict[str, float], tick: int) -> float:
    time_s = tick * PERIOD / RATE_HZ
    semitones = p["pitch_envelope_amount"] * adsr(p, "pitch", time_s)
    semitones += p["pitch_lfo_amount"] / 100 * lfo(p, "pitch", time_s)
    return 2 ** (semitones / 12)


def amplitude(p: dict[str, float], tick: int) -> float:
    time_s = tick * PERIOD / RATE_HZ
    if time_s >= 2.0:
        return 0.0
    tremolo = 1 - p["amplitude_lfo_amount"] / 100 * (1 - lfo(p, "amplitude", time_s)) / 2
    return decibels(p["output_level"] - p["filter_drive"] / 4) * adsr(p, "amplitude", time_s) * tremolo


# Sources, at twice the rate


def blep(cycle: float, step: float) -> float:
    """Return the textbook polyBLEP correction for a falling jump of height 2 at cycle 0."""
    if cycle < step:
        x = cycle / step
        return -(2 * x - x * x - 1)
    if cycle > 1 - step:
        x = (cycle - 1) / step
        return -(x * x + 2 * x + 1)
    return 0.0


def oscillator(shape: int, cycle: float, step: float, width: float) -> float:
    """Return waveform ``shape`` at ``cycle`` in [0, 1); a pulse is high around half a cycle, with a mean of 0."""
    if shape == 0:
        return -math.cos(2 * math.pi * cycle)
    if shape == 1:
        return 4 * cycle - 1 if cycle < 0.5 else 3 - 4 * cycle
    if shape == 2:
        return 2 * cycle - 1 + blep(cycle, step)
    rise, fall = (cycle - (0.5 - width / 2)) % 1.0, (cycle - (0.5 + width / 2)) % 1.0
    naive = 1.0 if rise < width else -1.0
    if 2 * step <= width:
        return naive - blep(rise, step) + blep(fall, step) + 1 - 2 * width
    # A pulse that is too short for two smoothed edges shrinks: only the nearer edge counts.
    distance = width / 2 - abs(cycle - 0.5)
    near = max(-1.0, min(1.0, distance / step))
    return near * (2 - abs(near)) + 1 - 2 * width


def frequency_hz(p: dict[str, float], number: int) -> float:
    semitones = p[f"oscillator_{number}_pitch"] + p[f"oscillator_{number}_detune"] / 100
    return 440 * 2 ** ((p["note_pitch"] - 69 + semitones) / 12)


def fm_index(p: dict[str, float]) -> float:
    """Return the modulation index, limited so that the first oscillator stays below 0.45 of the rate."""
    if p["oscillator_2_routing"] != 1:
        return 0.0
    highest = 2 ** (abs(p["pitch_envelope_amount"]) / 12 + p["pitch_lfo_amount"] / 1200)
    room_hz = 0.45 * 2 * RATE_HZ / highest - frequency_hz(p, 1)
    return min(2 * p["oscillator_2_modulation"] / 100, max(0.0, room_hz / (1.8 * frequency_hz(p, 2))))


def doubled_sources(p: dict[str, float], noise_seed: int, n_samples: int) -> list[float]:
    """Return oscillators and noise before the drive's clipping."""
    ratios = glide([pitch_ratio(p, tick) for tick in range(n_samples // (2 * PERIOD) + 1)], PERIOD)
    ratios = [ratio for ratio in ratios for _ in range(2)]
    noise = coloured_noise(p, noise_seed, n_samples)
    ring = p["oscillator_2_modulation"] / 100 if p["oscillator_2_routing"] == 2 else 0.0
    gain = decibels(p["filter_drive"] - 6)
    step_1, step_2 = (frequency_hz(p, number) / (2 * RATE_HZ) for number in (1, 2))
    phase_1 = phase_2 = 0.25
    sources = []
    for ratio, hiss in zip(ratios, noise, strict=True):
        second = oscillator(
            int(p["oscillator_2_waveform"]), phase_2, step_2 * ratio, p["oscillator_2_pulse_width"] / 100
        )
        step = (step_1 + fm_index(p) * step_2 * second) * ratio
        first = oscillator(int(p["oscillator_1_waveform"]), phase_1, abs(step), p["oscillator_1_pulse_width"] / 100)
        first *= 1 - ring + ring * second
        dry = decibels(p["oscillator_1_level"]) * first + decibels(p["oscillator_2_level"]) * second
        sources.append(gain * (dry + hiss))
        phase_1, phase_2 = (phase_1 + step) % 1.0, (phase_2 + step_2 * ratio) % 1.0
    return sources


def coloured_noise(p: dict[str, float], noise_seed: int, n_samples: int) -> list[float]:
    mask = 2**64 - 1
    z = (noise_seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    x = (z >> 32) | 1
    pole = 1 - math.exp(-2 * math.pi * p["noise_color"] / (2 * RATE_HZ))
    gain = decibels(p["noise_level"]) * math.sqrt((2 - pole) / pole) / 2**31
    noise, now = [], 0.0
    while len(noise) < n_samples:
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        for bits in (x, (x & 0xFFFF) << 16):
            now += pole * (gain * (bits - 2**32 if bits >= 2**31 else bits) - now)
            noise.append(now)
    return noise


# Filters


def decimate(mix: np.ndarray) -> np.ndarray:
    """Return every second sample of (A0(z²) + A1(z²) / z) / 2."""
    branches = [mix, np.concatenate([[0.0], mix[:-1]])]
    for number, coefficient in enumerate(HALF_BAND):
        branch = number % 2
        branches[branch] = lfilter([coefficient, 0, 1], [1, 0, coefficient], branches[branch])
    return ((branches[0] + branches[1]) / 2)[1::2]


def filter_coefficients(p: dict[str, float], tick: int) -> tuple[float, float, float]:
    time_s = tick * PERIOD / RATE_HZ
    octaves = p["filter_envelope_amount"] * adsr(p, "filter", time_s)
    octaves += p["filter_lfo_amount"] * lfo(p, "filter", time_s, p["filter_lfo_phase"])
    octaves += p["filter_key_tracking"] / 100 * (p["note_pitch"] - 57) / 12
    cutoff_hz = max(20.0, min(0.47 * RATE_HZ, p["filter_cutoff"] * 2**octaves))
    g = math.tan(math.pi * cutoff_hz / RATE_HZ)
    a1 = 1 / (1 + g * (g + 1 / p["filter_resonance"]))
    return a1, g * a1, g * g * a1


def resonate(p: dict[str, float], sound: np.ndarray) -> list[float]:
    """Apply Simper's trapezoidal state-variable filter."""
    ticks = range(len(sound) // PERIOD + 1)
    coefficients = [
        glide(list(values), PERIOD) for values in zip(*(filter_coefficients(p, t) for t in ticks), strict=True)
    ]
    k, kind = 1 / p["filter_resonance"], int(p["filter_type"])
    band_state = low_state = 0.0
    filtered = []
    for x, a1, a2, a3 in zip(sound, *coefficients, strict=True):
        band = a1 * band_state + a2 * (x - low_state)
        low = low_state + a2 * band_state + a3 * (x - low_state)
        band_state, low_state = 2 * band - band_state, 2 * low - low_state
        filtered.append((low, x - k * band - low, math.sqrt(k) * band, x - k * band)[kind])
    return filtered
