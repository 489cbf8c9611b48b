"""Coarse spectra of a preset's sources, estimated from its settings without rendering.

The filter and the level over time are added in ``spectrum_estimate.py``. Sweeps of the pitch are left out. A band may
be wrong by 6 dB. That is accurate enough to tell which sources can be heard.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from synthray.synth.instrument import INSTRUMENT, ROUTINGS, SAMPLE_RATE_HZ
from synthray.synth.spectra import hz_to_mel, mel_to_hz

Floats: TypeAlias = npt.NDArray[Any]  # float32; NumPy's types cannot follow the arithmetic

FREQUENCY, RING = ROUTINGS.index("frequency"), ROUTINGS.index("ring")
A3_PITCH, A3_HZ = 57.0, 220.0
INTO_DRIVE_DB = -6.0  # as in dsp/kernel.py
LEAST_DB = -120.0  # keeps logarithms finite

FUNDAMENTAL_DB = np.array([0.0, -1.8, -3.9, 2.1], np.float32)
"""First Fourier coefficient of a sine, a triangle, a saw and a square with a peak of 1."""
FALL_DB = np.array([24.0, 12.0, 6.0, 6.0], np.float32)
"""Fall of overtones per octave: 1/n² for a triangle, 1/n for a saw and a square. A sine only has leakage."""
LEAK_DB = 40.0
"""Fall of bands below a fundamental, per octave."""
SOFT_CLIPPING_DB = -29.0
"""Third harmonic of the cubic soft clipping for a tone of 0 dB. It grows by 2 dB for each dB of the tone."""
HARDEST_CLIPPING_DB = -9.5
"""Third harmonic of a square."""
NOISE_RMS_DB = -4.8

OSCILLATOR_1, OSCILLATOR_2, MODULATION, NOISE, DISTORTION = range(5)


def _bands() -> tuple[Floats, Floats]:
    """Return the centres and widths in Hz of 16 bands of equal width in mel."""
    edges_mel = np.linspace(hz_to_mel(40.0), hz_to_mel(5400.0), 17)
    centres_hz = mel_to_hz((edges_mel[1:] + edges_mel[:-1]) / 2.0)
    return centres_hz.astype(np.float32), np.diff(mel_to_hz(edges_mel)).astype(np.float32)


BAND_HZ, BANDWIDTH_HZ = _bands()
BAND_OCTAVES, NEXT_BAND_OCTAVES = np.log2(BAND_HZ), np.log2(BAND_HZ + BANDWIDTH_HZ)


def setting(settings: Floats, name: str) -> Floats:
    """Return a parameter's column (sounds,) of settings."""
    return settings[:, INSTRUMENT.index[name]]


def power(decibels: Floats) -> Floats:
    """Return decibels as a ratio of powers."""
    ratio: Floats = np.exp(decibels * np.float32(np.log(10.0) / 10.0))
    return ratio


def in_db(ratio: Floats) -> Floats:
    """Return a ratio of powers in decibels, at least ``LEAST_DB``."""
    decibels: Floats = np.float32(10.0 / np.log(10.0)) * np.log(ratio + np.float32(10.0 ** (LEAST_DB / 10.0)))
    return decibels


def source_powers(settings: Floats) -> Floats:
    """Return the power of each source in each band after the drive, up to one common factor for each sound.

    Args:
        settings: (sounds, parameters), in human units.

    Returns:
        float32 (5 sources, sounds, 16 bands): oscillators, the side bands of their modulation, noise, and the
        distortion of the drive.
    """

    def of(name: str) -> Floats:
        return setting(settings, name)

    pitch_hz, peak_db, fall_db = [], [], []
    for number in (1, 2):
        semitones = of(f"oscillator_{number}_pitch") + of(f"oscillator_{number}_detune") / 100.0
        pitch_hz.append(A3_HZ * np.exp2((of("note_pitch") - A3_PITCH + semitones) / 12.0))
        waveform = of(f"oscillator_{number}_waveform").astype(np.intp)
        peak_db.append(of(f"oscillator_{number}_level") + FUNDAMENTAL_DB[waveform])
        fall_db.append(FALL_DB[waveform])
    depth = of("oscillator_2_modulation") / 100.0
    ring = np.where(of("oscillator_2_routing") == RING, depth, np.float32(0.0))
    frequency = np.where(of("oscillator_2_routing") == FREQUENCY, depth, np.float32(0.0))
    powers = [
        partials(pitch_hz[0], pitch_hz[0], peak_db[0] + 2.0 * in_db(1.0 - ring), fall_db[0]),
        partials(pitch_hz[1], pitch_hz[1], peak_db[1], fall_db[1]),
        side_bands(pitch_hz, peak_db[0], np.minimum(*fall_db), ring, frequency),
        noise_powers(of("noise_level") + 3.0, of("noise_color")),  # the other levels are peaks, 3 dB above their RMS
        distortion(pitch_hz, peak_db, of("noise_level"), of("filter_drive") + INTO_DRIVE_DB),
    ]
    return np.stack(powers)


def partials(lowest_hz: Floats, highest_hz: Floats, level_db: Floats, fall_db: Floats) -> Floats:
    """Return powers (sounds, bands) that are constant from ``lowest_hz`` to ``highest_hz`` and fall on both sides."""
    above_octaves = np.maximum(BAND_OCTAVES - np.log2(highest_hz)[:, None], 0.0)
    below_octaves = np.maximum(np.log2(lowest_hz)[:, None] - NEXT_BAND_OCTAVES, 0.0)
    return power(level_db[:, None] - fall_db[:, None] * above_octaves - LEAK_DB * below_octaves)


def side_bands(pitch_hz: list[Floats], peak_db: Floats, fall_db: Floats, ring: Floats, frequency: Floats) -> Floats:
    """Return the powers (sounds, bands) that ring or frequency modulation adds, from depths in [0, 1].

    They begin at the difference of both pitches. They end at the sum or, for frequency modulation, at the largest
    deviation.
    """
    by_frequency = frequency > 0.0
    difference_hz = np.abs(pitch_hz[0] - pitch_hz[1]) + 20.0  # a beat of less than 20 Hz is no side band
    lowest_hz = np.where(by_frequency, np.minimum(difference_hz, pitch_hz[0]), difference_hz)
    highest_hz = pitch_hz[0] + np.where(by_frequency, 4.0 * frequency, np.float32(1.0)) * pitch_hz[1]
    depth = np.maximum(ring, np.minimum(2.0 * frequency, 1.0))
    return partials(lowest_hz, highest_hz, peak_db - 3.0 + 2.0 * in_db(depth), np.minimum(fall_db, 12.0))


def noise_powers(level_db: Floats, corner_hz: Floats) -> Floats:
    """Return the powers (sounds, bands) of noise through a one-pole low pass that keeps its power."""
    corner = corner_hz[:, None]
    width_hz = np.minimum(corner * (np.pi / 2.0), SAMPLE_RATE_HZ)
    level = power(level_db[:, None] + NOISE_RMS_DB)
    powers: Floats = level * BANDWIDTH_HZ / width_hz / (1.0 + (BAND_HZ / corner) ** 2)
    return powers


def distortion(pitch_hz: list[Floats], peak_db: list[Floats], noise_db: Floats, drive_db: Floats) -> Floats:
    """Return the powers (sounds, bands) of the odd harmonics that soft clipping adds to the louder oscillator."""
    sum_db = in_db(power(peak_db[0]) + power(peak_db[1]) + power(noise_db))
    driven_db = sum_db + drive_db
    third_db = np.clip(SOFT_CLIPPING_DB + 2.0 * driven_db, -90.0, HARDEST_CLIPPING_DB)
    louder_hz = np.where(peak_db[0] > peak_db[1], *pitch_hz)
    level_db = third_db + np.minimum(driven_db, 0.0) - drive_db + 3.0
    return partials(louder_hz, louder_hz, level_db, np.full_like(level_db, 6.0))
