"""The parameter table of synthray's instrument: 46 parameters, of which 38 are learned and 8 constant.

The project's original notebook requires some positions. Number 0 is a constant, number 9 a range and number 10 a choice
of three. ``amplitude_envelope_release``, ``amplitude_lfo_waveform`` (of four) and ``amplitude_lfo_frequency`` follow
each other. Data sets store this table: a change of any text in it makes it another instrument.
"""

from __future__ import annotations

from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

SAMPLE_RATE_HZ = 11025
DURATION_S = 2.0
N_SAMPLES = int(SAMPLE_RATE_HZ * DURATION_S)

INSTRUMENT_VERSION = 3
"""Increased with every change of how a preset sounds, because data sets may store presets instead of features."""

WAVEFORMS = ("sine", "triangle", "saw", "square")
FILTER_TYPES = ("lowpass", "highpass", "bandpass", "notch")
ROUTINGS = ("mix", "frequency", "ring")


def _time_ms(name: str, longest_ms: float, description: str) -> Range:
    return Range(name, 5.0, longest_ms, "log", "ms", description)


INSTRUMENT = ParameterTable(
    (
        Constant("note_pitch", 57.0, "semitones", "MIDI note that is played; 57 is A3, 220 Hz"),
        Constant("note_hold", 1200.0, "ms", "time until the key is let go and the releases begin"),
        Choice("oscillator_1_waveform", WAVEFORMS, "shape of the first oscillator"),
        Range("oscillator_1_pitch", -24.0, 24.0, "linear", "semitones", "first oscillator against the note", step=1.0),
        Range("oscillator_1_level", -30.0, 0.0, "linear", "dB", "first oscillator in the mix"),
        Range("oscillator_1_pulse_width", 10.0, 50.0, "linear", "%", "high part of the first oscillator's square"),
        Constant("oscillator_1_detune", 0.0, "cents", "fine tuning of the first oscillator"),
        Choice("oscillator_2_waveform", WAVEFORMS, "shape of the second oscillator"),
        Range("oscillator_2_pitch", -24.0, 24.0, "linear", "semitones", "second oscillator against the note", step=1.0),
        Range("oscillator_2_detune", -50.0, 50.0, "linear", "cents", "fine tuning of the second oscillator"),
        Choice("oscillator_2_routing", ROUTINGS, "mixed in only, modulating the first one's frequency, or ringing it"),
        Range("oscillator_2_level", -30.0, 0.0, "linear", "dB", "second oscillator in the mix"),
        Range("oscillator_2_pulse_width", 10.0, 50.0, "linear", "%", "high part of the second oscillator's square"),
        Range("oscillator_2_modulation", 0.0, 100.0, "linear", "%", "depth of the frequency or ring modulation"),
        Range("noise_level", -60.0, -6.0, "linear", "dB", "noise in the mix"),
        Range("noise_color", 200.0, 5000.0, "log", "Hz", "corner above which the noise falls by 6 dB an octave"),
        Choice("filter_type", FILTER_TYPES, "what the filter lets through"),
        Range("filter_cutoff", 60.0, 5000.0, "log", "Hz", "corner or centre of the filter"),
        Range("filter_resonance", 0.5, 12.0, "log", "Q", "height of the filter's peak"),
        Range("filter_drive", 0.0, 24.0, "linear", "dB", "gain into the soft clipping before the filter"),
        Constant("filter_key_tracking", 0.0, "%", "how far the cutoff follows the note, against A3"),
        Range("filter_envelope_amount", -4.0, 4.0, "linear", "octaves", "cutoff shift at the filter envelope's peak"),
        _time_ms("filter_envelope_attack", 1000.0, "time to the filter envelope's peak"),
        _time_ms("filter_envelope_decay", 1500.0, "time from the peak to the sustain"),
        Range("filter_envelope_sustain", 0.0, 100.0, "linear", "%", "filter envelope while the key is held"),
        _time_ms("filter_envelope_release", 1000.0, "time to zero after the key is let go"),
        Choice("filter_lfo_waveform", WAVEFORMS, "shape of the filter's LFO"),
        Range("filter_lfo_frequency", 0.3, 20.0, "log", "Hz", "speed of the filter's LFO"),
        Range("filter_lfo_amount", 0.0, 2.0, "linear", "octaves", "cutoff shift at the LFO's peak"),
        Constant("filter_lfo_phase", 0.0, "degrees", "where the filter's LFO starts"),
        Range("pitch_envelope_amount", -12.0, 12.0, "linear", "semitones", "pitch shift at the pitch envelope's peak"),
        _time_ms("pitch_envelope_attack", 500.0, "time to the pitch envelope's peak"),
        _time_ms("pitch_envelope_decay", 1500.0, "time from the peak to the sustain"),
        Constant("pitch_envelope_sustain", 0.0, "%", "pitch envelope while the key is held"),
        Constant("pitch_envelope_release", 100.0, "ms", "time to zero after the key is let go"),
        Choice("pitch_lfo_waveform", WAVEFORMS, "shape of the pitch LFO (vibrato)"),
        Range("pitch_lfo_frequency", 0.3, 20.0, "log", "Hz", "speed of the pitch LFO"),
        Range("pitch_lfo_amount", 0.0, 200.0, "linear", "cents", "pitch shift at the LFO's peak"),
        _time_ms("amplitude_envelope_attack", 1000.0, "time to full level"),
        _time_ms("amplitude_envelope_decay", 1500.0, "time from full level to the sustain"),
        Range("amplitude_envelope_sustain", 0.0, 100.0, "linear", "%", "level while the key is held"),
        _time_ms("amplitude_envelope_release", 800.0, "time to silence after the key is let go"),
        Choice("amplitude_lfo_waveform", WAVEFORMS, "shape of the level's LFO (tremolo)"),
        Range("amplitude_lfo_frequency", 0.3, 20.0, "log", "Hz", "speed of the level's LFO"),
        Range("amplitude_lfo_amount", 0.0, 100.0, "linear", "%", "how far the LFO pulls the level down"),
        Constant("output_level", -9.0, "dB", "level of the whole"),
    )
)
