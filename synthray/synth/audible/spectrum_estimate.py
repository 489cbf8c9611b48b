"""A coarse spectrogram of a preset, estimated from its settings without rendering: 16 moments by 16 bands.

It tells which parts of each source and of the filter can be heard. ``source_estimate.py`` estimates the sources, and
``facts.py`` derives facts about single parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from synthray.synth.audible.source_estimate import A3_PITCH, BAND_HZ, Floats, setting, source_powers
from synthray.synth.dsp.filters import BANDPASS, HIGHEST_HZ, HIGHPASS, LOWEST_HZ, LOWPASS
from synthray.synth.dsp.lanes import Scalar, compiled, inlined
from synthray.synth.instrument import DURATION_S, SAMPLE_RATE_HZ

LOWEST_OCTAVE, HIGHEST_OCTAVE = np.log2(np.array([LOWEST_HZ, HIGHEST_HZ], np.float32))
"""Limits of the cutoff in octaves above 1 Hz."""
HELD_MOMENTS, RELEASED_MOMENTS = 11, 5
RANGE_DB = 60.0
"""A cell (one band at one moment) that is further below the loudest one is not heard."""
DB_PER_OCTAVE = 20.0 * math.log10(2.0)
STEEPEST_DB = 18.0
"""Limit of the filter's slope per octave. It is infinite at the centre of a notch, but a band is wider than that."""
STAGES = ("attack", "decay", "sustain", "release")


@dataclass(frozen=True)
class SpectrumEstimate:
    """Estimated power of each preset over time and bands."""

    times_s: Floats
    """Times of the moments, (sounds, moments). They are denser after a key press and after a release."""
    weights_s: Floats
    """Duration that each moment stands for, (sounds, moments)."""
    level: Floats
    """Amplitude envelope in [0, 1], (sounds, moments)."""
    cutoff_octaves: Floats
    """Cutoff in octaves above 1 Hz under the filter envelope, (sounds, moments)."""
    shares: Floats
    """Share of each source in the power of each band, (sources, sounds, bands)."""
    band_weights: Floats
    """Share of each band in the heard time, (sounds, bands). The shares of a sound add up to 1."""
    squared_slope: Floats
    """Squared change in dB per octave of cutoff, time-weighted and summed over the heard bands, (sounds, moments)."""
    squared_resonance: Floats
    """Squared change in dB when the resonance grows by a factor of e, averaged over the heard cells, (sounds,)."""


def estimate_spectrum(settings: Floats) -> SpectrumEstimate:
    """Return the estimate for presets in human units, float32 (sounds, parameters)."""
    times_s, weights_s = moments(settings)
    level = envelope(settings, "amplitude", times_s)
    octaves = cutoff_octaves(
        settings, setting(settings, "filter_envelope_amount"), envelope(settings, "filter", times_s)
    )
    sources = source_powers(settings)
    summed = sources.sum(0)
    band_weights, squared_resonance = np.zeros_like(summed), np.zeros(len(settings), np.float32)
    squared_slope = np.zeros_like(level)
    kind, q = setting(settings, "filter_type"), setting(settings, "filter_resonance")
    _hear(kind, q, octaves, level, weights_s, summed, band_weights, squared_slope, squared_resonance)
    return SpectrumEstimate(
        times_s, weights_s, level, octaves, sources / summed, band_weights, squared_slope, squared_resonance
    )


@compiled
def _hear(
    kind: Floats,
    q: Floats,
    octaves: Floats,
    level: Floats,
    weights_s: Floats,
    sources: Floats,
    band_weights: Floats,
    squared_slope: Floats,
    squared_resonance: Floats,
) -> None:
    """Write the last three fields of ``SpectrumEstimate`` into the last three arguments, which are zero."""
    warped = np.tan(BAND_HZ * np.float32(np.pi / SAMPLE_RATE_HZ)) ** 2
    cells = np.empty((octaves.shape[1], len(BAND_HZ)), np.float32)
    steepest_db = np.float32(STEEPEST_DB)
    for sound in range(len(octaves)):
        per_q = np.float32(1.0) / q[sound]
        per_cutoff = np.float32(1.0) / np.tan(np.exp2(octaves[sound]) * np.float32(np.pi / SAMPLE_RATE_HZ)) ** 2
        for moment in range(len(per_cutoff)):
            for band in range(len(warped)):
                gain, _, _ = filter_gain(warped[band] * per_cutoff[moment], kind[sound], per_q)
                cells[moment, band] = gain * sources[sound, band] * level[sound, moment] * level[sound, moment]
        floor = cells.max() * np.float32(10.0 ** (-RANGE_DB / 10.0))
        total_s = np.float32(0.0)
        for moment in range(len(per_cutoff)):
            for band in range(len(warped)):
                if cells[moment, band] < floor:
                    continue
                weight_s = weights_s[sound, moment]
                _, slope_db, resonance_db = filter_gain(warped[band] * per_cutoff[moment], kind[sound], per_q)
                slope_db = min(max(slope_db, -steepest_db), steepest_db)
                total_s += weight_s
                band_weights[sound, band] += weight_s
                squared_slope[sound, moment] += weight_s * slope_db * slope_db
                squared_resonance[sound] += weight_s * resonance_db * resonance_db
        band_weights[sound] /= total_s
        squared_slope[sound] /= total_s
        squared_resonance[sound] /= total_s


@inlined
def filter_gain(u: Scalar, kind: Scalar, per_q: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Return a filter's power gain and its derivatives: in dB per octave of cutoff, and in dB per factor e of Q.

    ``u`` is the squared ratio of frequency to cutoff, both warped by the bilinear transform. The power gain is
    N / ((1 - u)² + u/Q²). N is 1 for a low pass, u² for a high pass, u/Q for a band pass and (1 - u)² for a notch.
    ``per_q`` is 1/Q.
    """
    away, damped = np.float32(1.0) - u, u * per_q * per_q
    below = np.float32(1.0) / (away * away + damped)
    slope = (damped - np.float32(2.0) * u * away) * below  # of the denominator
    resonance = damped * below
    if kind == LOWPASS:
        gain = below
    elif kind == HIGHPASS:
        gain = u * u * below
        slope -= np.float32(2.0)
    elif kind == BANDPASS:
        gain = u * per_q * below
        slope -= np.float32(1.0)
        resonance -= np.float32(0.5)
    else:
        gain = away * away * below
        slope += np.float32(2.0) * u / (away if abs(away) > np.float32(1e-6) else np.float32(1e-6))
    return gain, slope * np.float32(DB_PER_OCTAVE), resonance * np.float32(20.0 / math.log(10.0))


def moments(settings: Floats) -> tuple[Floats, Floats]:
    """Return the moments' times and the duration that each stands for, both float32 (sounds, moments) in s."""
    hold_s = setting(settings, "note_hold")[:, None] / 1000.0
    rest_s = np.float32(DURATION_S) - hold_s
    held = (np.arange(HELD_MOMENTS, dtype=np.float32) + 0.5) / HELD_MOMENTS
    released = (np.arange(RELEASED_MOMENTS, dtype=np.float32) + 0.5) / RELEASED_MOMENTS
    times_s = np.concatenate([hold_s * held**2, hold_s + rest_s * released**2], axis=1)
    weights = [hold_s * held * (2.0 / HELD_MOMENTS), rest_s * released * (2.0 / RELEASED_MOMENTS)]
    return times_s, np.concatenate(weights, axis=1)


def envelope(settings: Floats, which: str, times_s: Floats, **moved: Floats) -> Floats:
    """Return an envelope of ``dsp/modulation.py`` in [0, 1], float32 (sounds, moments).

    Args:
        settings: (sounds, parameters), in human units.
        which: "amplitude" or "filter".
        times_s: (sounds, moments).
        moved: settings (sounds,) by stage. They replace the ones in ``settings``.
    """
    stages = {stage: setting(settings, f"{which}_envelope_{stage}") for stage in STAGES} | moved
    return _envelope(times_s, setting(settings, "note_hold"), *(stages[stage] for stage in STAGES))


@compiled
def _envelope(
    times_s: Floats, hold_ms: Floats, attack_ms: Floats, decay_ms: Floats, sustain_percent: Floats, release_ms: Floats
) -> Floats:
    one, shape = np.float32(1.0), np.empty_like(times_s)
    for sound in range(len(times_s)):
        hold, attack, decay, release = hold_ms[sound], attack_ms[sound], decay_ms[sound], release_ms[sound]
        sustain = sustain_percent[sound] / np.float32(100.0)
        for moment in range(times_s.shape[1]):
            time = times_s[sound, moment] * np.float32(1000.0)
            held = min(time, hold)
            left = one - min(max((held - attack) / decay, np.float32(0.0)), one)
            fade = one - min((time - held) / release, one)
            rise = min(held / attack, one)
            shape[sound, moment] = rise * (sustain + (one - sustain) * left * left * left) * fade * fade * fade
    return shape


@compiled
def squared_level_change_db(now: Floats, then: Floats, weights_s: Floats) -> Floats:
    """Return the mean squared difference of two levels in dB, over the moments in which either is heard.

    Args:
        now: amplitudes in [0, 1], (sounds, moments).
        then: the amplitudes to compare with, of the same shape.
        weights_s: the duration that each moment stands for, (sounds, moments).

    Returns:
        float32 (sounds,).
    """
    means = np.empty(len(now), np.float32)
    for sound in range(len(now)):
        loudest = max(now[sound].max(), then[sound].max())
        floor = max(loudest * np.float32(10.0 ** (-RANGE_DB / 20.0)), np.float32(1e-12))
        total, total_s = np.float32(0.0), np.float32(1e-12)
        for moment in range(now.shape[1]):
            first, second = max(now[sound, moment], floor), max(then[sound, moment], floor)
            if first > floor or second > floor:
                total_s += weights_s[sound, moment]
            if first != second:
                change_db = np.float32(20.0 / math.log(10.0)) * np.log(first / second)
                total += weights_s[sound, moment] * change_db * change_db
        means[sound] = total / total_s
    return means


def cutoff_octaves(settings: Floats, amount: Floats, shape: Floats) -> Floats:
    """Return the cutoff in octaves above 1 Hz, (sounds, moments).

    Args:
        settings: (sounds, parameters), in human units.
        amount: (sounds,), in octaves.
        shape: the filter envelope in [0, 1], (sounds, moments).
    """
    above_a3 = (setting(settings, "note_pitch") - A3_PITCH) / 12.0
    start = np.log2(setting(settings, "filter_cutoff")) + setting(settings, "filter_key_tracking") / 100.0 * above_a3
    octaves = np.maximum(start[:, None] + amount[:, None] * shape, LOWEST_OCTAVE)
    clipped: Floats = np.minimum(octaves, HIGHEST_OCTAVE)  # np.clip takes twice the time
    return clipped
