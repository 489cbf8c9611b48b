"""Facts about presets that decide what can be heard: levels of the sources, and envelopes when the key is let go.

The rules that use them are in ``audible.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.synth.instrument import INSTRUMENT, ROUTINGS, WAVEFORMS

Floats = npt.NDArray[np.float32]

MIX, FREQUENCY, RING = (ROUTINGS.index(name) for name in ("mix", "frequency", "ring"))
RMS_DB = tuple({"sine": -3.0, "triangle": -4.8, "saw": -4.8, "square": 0.0}[name] for name in WAVEFORMS)
"""RMS of each waveform, which has a peak of 1."""
NOISE_RMS_DB = -4.8
LEAST_MODULATION_PERCENT = 2.0
"""Ring and frequency modulation leave side bands of -40 dB at this depth."""
SILENT = 1e-6  # keeps logarithms finite


@dataclass(frozen=True)
class Facts:
    """What the rules need to know of presets; arrays are (sounds,)."""

    settings: Floats
    """The presets in units, (sounds, parameters)."""
    oscillator_1_db: Floats
    """RMS before the drive, against the sum of all sources."""
    oscillator_2_db: Floats
    noise_db: Floats
    modulated: npt.NDArray[np.bool_]
    """Whether oscillator 2 is heard through oscillator 1."""
    filter_at_release: Floats
    """The filter envelope, in [0, 1], when the key is let go."""
    level_at_release_db: Floats
    """The amplitude envelope, against its full level, when the key is let go."""
    sustain_db: Floats
    """The amplitude envelope's sustain, against its full level."""

    def of(self, name: str) -> Floats:
        """Return a parameter's settings (sounds,)."""
        return self.settings[:, INSTRUMENT.index[name]]


def facts_of(settings: Floats) -> Facts:
    """Return the facts of presets, float32 (sounds, parameters), in units."""

    def of(name: str) -> Floats:
        return settings[:, INSTRUMENT.index[name]]

    rms_db = np.array(RMS_DB, np.float32)
    sources = np.stack(
        [
            of("oscillator_1_level") + rms_db[of("oscillator_1_waveform").astype(np.intp)],
            of("oscillator_2_level") + rms_db[of("oscillator_2_waveform").astype(np.intp)],
            of("noise_level") + NOISE_RMS_DB,
        ]
    )
    relative = sources - 10.0 * np.log10((10.0 ** (sources / 10.0)).sum(0))
    modulated = (of("oscillator_2_routing") != MIX) & (of("oscillator_2_modulation") >= LEAST_MODULATION_PERCENT)
    return Facts(
        settings,
        relative[0],
        relative[1],
        relative[2],
        modulated,
        envelope_at_release(settings, "filter"),
        20.0 * np.log10(envelope_at_release(settings, "amplitude") + SILENT),
        20.0 * np.log10(of("amplitude_envelope_sustain") / 100.0 + SILENT),
    )


def envelope_at_release(settings: Floats, which: str) -> Floats:
    """Return the envelope of ``modulation.py``, in [0, 1], when the key is let go."""

    def of(name: str) -> Floats:
        return settings[:, INSTRUMENT.index[name]]

    held_ms = of("note_hold")
    attack_ms, decay_ms = of(f"{which}_envelope_attack"), of(f"{which}_envelope_decay")
    sustain = of(f"{which}_envelope_sustain") / 100.0
    left = 1.0 - np.clip((held_ms - attack_ms) / decay_ms, 0.0, 1.0)
    level: Floats = np.minimum(held_ms / attack_ms, 1.0) * (sustain + (1.0 - sustain) * left**3)
    return level
