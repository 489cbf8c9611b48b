"""The compiled part of the voice: one block of lanes from settings to sound.

It combines oscillators, filters and modulation. Checking settings and starting threads is in ``synth/voice.py``.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.synth.dsp.filters import FILTERS_END, drive_and_decimate, filter_sound, set_filter, steer_filter
from synthray.synth.dsp.lanes import (
    CONTROL_PERIOD,
    GLIDE_ROWS,
    LANES,
    OVERSAMPLING,
    Counters,
    Floats,
    Scalar,
    Seeds,
    consecutive_rows,
    exp2,
    f32,
    glide_to,
    glided,
    inlined,
    soft_clip,
    use_widest_registers,
)
from synthray.synth.dsp.modulation import ENVELOPE_ROWS, LFO_ROWS, envelope, lfo, set_envelope, set_lfo
from synthray.synth.dsp.oscillators import (
    COUNTERS_END,
    add_noise,
    decibels_to_gain,
    play_oscillators,
    set_noise,
    set_oscillator,
    set_routing,
    steer_pitch,
)
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ

A3_PITCH, A3_HZ = 57.0, 220.0
INTO_DRIVE_DB = -6.0  # two oscillators at full level reach the soft clipping, one alone hardly does
N_TICKS = N_SAMPLES // CONTROL_PERIOD

_names = [parameter.name for parameter in INSTRUMENT.parameters]
column: Any = namedtuple("Column", _names)(*range(len(_names)))

(PITCH_ENVELOPE, FILTER_ENVELOPE, LEVEL_ENVELOPE, PITCH_LFO, FILTER_LFO, LEVEL_LFO, PITCH_SPAN, VIBRATO,
 FILTER_SPAN, FILTER_WOBBLE, TREMOLO, OUTPUT, HOLD_S, LEVEL, WORK_END) = consecutive_rows(
    FILTERS_END, *(ENVELOPE_ROWS,) * 3, *(LFO_ROWS,) * 3, *(1,) * 7, GLIDE_ROWS
)  # fmt: skip


@inlined
def frequency_hz(s: Floats, semitones: Scalar) -> Scalar:
    """Return the frequency of a pitch, ``semitones`` above the note."""
    return A3_HZ * 2.0 ** ((s[column.note_pitch] - A3_PITCH + semitones) / 12.0)


@inlined
def set_sources(work: Floats, counters: Counters, lane: int, s: Floats, seed: Scalar) -> None:
    """Set oscillators and noise of one lane from its settings ``s`` (parameters,)."""
    drive_db = s[column.filter_drive] + INTO_DRIVE_DB
    pitch_1 = s[column.oscillator_1_pitch] + s[column.oscillator_1_detune] / 100.0
    set_oscillator(
        work, counters, lane, 0, s[column.oscillator_1_waveform], frequency_hz(s, pitch_1),
        s[column.oscillator_1_level] + drive_db, s[column.oscillator_1_pulse_width],
    )  # fmt: skip
    pitch_2 = s[column.oscillator_2_pitch] + s[column.oscillator_2_detune] / 100.0
    set_oscillator(
        work, counters, lane, 1, s[column.oscillator_2_waveform], frequency_hz(s, pitch_2),
        s[column.oscillator_2_level] + drive_db, s[column.oscillator_2_pulse_width],
    )  # fmt: skip
    most_octaves = abs(s[column.pitch_envelope_amount]) / 12.0 + s[column.pitch_lfo_amount] / 1200.0
    set_routing(work, lane, s[column.oscillator_2_routing], s[column.oscillator_2_modulation], most_octaves)
    set_noise(work, counters, lane, s[column.noise_level] + drive_db, s[column.noise_color], seed)


@inlined
def set_shapers(work: Floats, lane: int, s: Floats) -> None:
    """Set drive, filter and levels of one lane."""
    tracking = s[column.filter_key_tracking] / 100.0 * (s[column.note_pitch] - A3_PITCH) / 12.0
    set_filter(work, lane, s[column.filter_type], s[column.filter_cutoff] * 2.0**tracking, s[column.filter_resonance])
    # Take back a quarter of the drive's decibels, so that drive changes the timbre more than the loudness.
    work[OUTPUT + lane] = decibels_to_gain(s[column.output_level] - s[column.filter_drive] / 4.0)
    work[HOLD_S + lane] = s[column.note_hold] / 1000.0
    work[PITCH_SPAN + lane] = s[column.pitch_envelope_amount] / 12.0
    work[VIBRATO + lane] = s[column.pitch_lfo_amount] / 1200.0
    work[FILTER_SPAN + lane] = s[column.filter_envelope_amount]
    work[FILTER_WOBBLE + lane] = s[column.filter_lfo_amount]
    work[TREMOLO + lane] = s[column.amplitude_lfo_amount] / 200.0


@inlined
def set_modulation(work: Floats, lane: int, s: Floats) -> None:
    """Set envelopes and LFOs of one lane."""
    set_envelope(
        work, PITCH_ENVELOPE, lane, s[column.pitch_envelope_attack], s[column.pitch_envelope_decay],
        s[column.pitch_envelope_sustain], s[column.pitch_envelope_release],
    )  # fmt: skip
    set_envelope(
        work, FILTER_ENVELOPE, lane, s[column.filter_envelope_attack], s[column.filter_envelope_decay],
        s[column.filter_envelope_sustain], s[column.filter_envelope_release],
    )  # fmt: skip
    set_envelope(
        work, LEVEL_ENVELOPE, lane, s[column.amplitude_envelope_attack], s[column.amplitude_envelope_decay],
        s[column.amplitude_envelope_sustain], s[column.amplitude_envelope_release],
    )  # fmt: skip
    set_lfo(work, PITCH_LFO, lane, s[column.pitch_lfo_waveform], s[column.pitch_lfo_frequency], 0.0)
    start = s[column.filter_lfo_phase]
    set_lfo(work, FILTER_LFO, lane, s[column.filter_lfo_waveform], s[column.filter_lfo_frequency], start)
    set_lfo(work, LEVEL_LFO, lane, s[column.amplitude_lfo_waveform], s[column.amplitude_lfo_frequency], 0.0)


@inlined
def steer(work: Floats, tick: int) -> None:
    """Start gliding to the values that modulation has at control period ``tick``."""
    time_s = f32(tick) * f32(CONTROL_PERIOD / SAMPLE_RATE_HZ)
    # The last value is silence, so that a sound that lasts longer than 2 s ends without a click.
    sounding = f32(1.0) if tick < N_TICKS else f32(0.0)
    use_widest_registers()
    for lane in range(LANES):
        hold_s = work[HOLD_S + lane]
        held_s = time_s if time_s < hold_s else hold_s
        released_s = time_s - held_s
        octaves = work[PITCH_SPAN + lane] * envelope(work, PITCH_ENVELOPE, lane, held_s, released_s)
        octaves += work[VIBRATO + lane] * lfo(work, PITCH_LFO, lane, time_s)
        steer_pitch(work, lane, exp2(octaves))
        octaves = work[FILTER_SPAN + lane] * envelope(work, FILTER_ENVELOPE, lane, held_s, released_s)
        octaves += work[FILTER_WOBBLE + lane] * lfo(work, FILTER_LFO, lane, time_s)
        steer_filter(work, lane, octaves)
        level = work[OUTPUT + lane] * envelope(work, LEVEL_ENVELOPE, lane, held_s, released_s)
        level *= f32(1.0) - work[TREMOLO + lane] * (f32(1.0) - lfo(work, LEVEL_LFO, lane, time_s))
        glide_to(work, LEVEL, lane, level * sounding)


@inlined
def set_level(work: Floats, sound: Floats) -> None:
    """Apply the amplitude and a soft limit at ±1 to ``sound``, in place."""
    use_widest_registers()
    for sample in range(CONTROL_PERIOD):
        position = f32(sample) * f32(1 / CONTROL_PERIOD)
        for lane in range(LANES):
            at = sample * LANES + lane
            sound[at] = soft_clip(sound[at] * glided(work, LEVEL, lane, position))


@inlined
def copy_to_audio(sound: Floats, audio: Floats, first: int, start: int) -> None:
    """Copy ``sound`` (samples, lanes), flat, to ``audio`` (sounds, samples) from sound ``first``, sample ``start``."""
    for lane in range(min(LANES, audio.shape[0] - first)):
        samples = audio[first + lane]
        for sample in range(CONTROL_PERIOD):
            samples[start + sample] = sound[sample * LANES + lane]


@inlined
def cache_aligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``array`` from its first cache line on, so that a wide load touches one line; it needs 64 spare bytes."""
    return array[(-array.ctypes.data // array.itemsize) % (64 // array.itemsize) :]


@inlined
def start_block(settings: Floats, seeds: Seeds, first: int) -> tuple[Floats, Counters]:
    """Return the initial state of the voice for the block of lanes that begins with sound ``first``.

    Lanes beyond the last sound repeat it.
    """
    work = cache_aligned(np.zeros(WORK_END + 16, np.float32))
    counters = cache_aligned(np.zeros(COUNTERS_END + 16, np.int32))
    for lane in range(LANES):
        row = min(first + lane, len(settings) - 1)
        set_sources(work, counters, lane, settings[row], seeds[row])
        set_shapers(work, lane, settings[row])
        set_modulation(work, lane, settings[row])
    steer(work, 0)
    return work, counters


@inlined
def play_period(work: Floats, counters: Counters, tick: int, mix: Floats, sound: Floats) -> None:
    """Write control period ``tick`` into ``sound`` (samples, lanes), flat; ``mix`` is scratch memory."""
    steer(work, tick + 1)
    play_oscillators(work, counters, mix)
    add_noise(work, counters, mix)
    drive_and_decimate(work, mix, sound)
    filter_sound(work, sound)
    set_level(work, sound)


@inlined
def render_block(settings: Floats, seeds: Seeds, audio: Floats, first: int) -> None:
    """Render at most ``LANES`` sounds, from ``first`` on, into ``audio``.

    Args:
        settings: float32 (sounds, parameters), valid.
        seeds: uint64 (sounds,), noise seeds.
        audio: float32 (sounds, N_SAMPLES), the output.
        first: number of the block's first sound. Lanes beyond the last sound are dropped.
    """
    mix = cache_aligned(np.empty(OVERSAMPLING * CONTROL_PERIOD * LANES + 16, np.float32))
    sound = cache_aligned(np.empty(CONTROL_PERIOD * LANES + 16, np.float32))
    work, counters = start_block(settings, seeds, first)
    for tick in range(N_TICKS):
        play_period(work, counters, tick, mix, sound)
        copy_to_audio(sound, audio, first, tick * CONTROL_PERIOD)


@inlined
def render_interleaved(settings: Floats, seeds: Seeds, samples: Floats) -> None:
    """Render ``LANES`` sounds into ``samples`` (N_SAMPLES, LANES), flat.

    Other arguments are those of ``render_block``.
    """
    mix = cache_aligned(np.empty(OVERSAMPLING * CONTROL_PERIOD * LANES + 16, np.float32))
    work, counters = start_block(settings, seeds, 0)
    length = CONTROL_PERIOD * LANES
    for tick in range(N_TICKS):
        play_period(work, counters, tick, mix, samples[tick * length : (tick + 1) * length])
