"""Write the example sounds of the web page: three by synthray's instrument, three by other kinds of synthesis.

    .venv/bin/python infra/page_examples.py

The files are the same on every run. The other kinds show how well the instrument matches sounds that it cannot make.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.priors import Prior, random_presets
from synthray.synth.voice import render

PRESETS = {"bass": 58, "pluck": 44, "pad": 150}
"""Numbers of musical presets of seed 0, chosen by ear."""
RMS = 10 ** (-16 / 20)
LARGEST_PEAK = 0.9
TIME_S = np.arange(N_SAMPLES) / SAMPLE_RATE_HZ


def main() -> None:
    """Write all sounds as FLAC files."""
    parser = argparse.ArgumentParser("page_examples.py", description=(__doc__ or "").partition("\n\n")[0])
    default = Path(__file__).parents[1] / "synthray" / "serve" / "page" / "examples"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to (default: %(default)s)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, audio in examples().items():
        file = folder / f"{name}.flac"
        soundfile.write(file, levelled(audio), SAMPLE_RATE_HZ, subtype="PCM_16")
        print(f"wrote {file}, {file.stat().st_size / 1e3:.0f} kB")


def examples() -> dict[str, np.ndarray]:
    """Return the sounds by name, each float ``(22050,)``."""
    own = {name: instrument_sound(number) for name, number in PRESETS.items()}
    return own | {"string": plucked_string(196.0), "bell": fm_bell(311.1), "vowel": sung_vowel(130.8)}


def levelled(audio: np.ndarray) -> np.ndarray:
    """Return the sound at an RMS of -16 dB, or quieter where its peak would be too high."""
    return audio * min(RMS / np.sqrt(np.mean(audio**2)), LARGEST_PEAK / np.abs(audio).max())


def instrument_sound(number: int) -> np.ndarray:
    """Render a musical preset of the instrument."""
    labels = random_presets(0, number, 1, prior=Prior(1.0))
    return np.asarray(render(INSTRUMENT.labels_to_settings(labels))[0], np.float64)


def plucked_string(frequency_hz: float) -> np.ndarray:
    """Return a string of Karplus and Strong (1983): noise in a delay line whose output is averaged."""
    delay = round(SAMPLE_RATE_HZ / frequency_hz - 0.5)
    audio = np.zeros(N_SAMPLES + delay + 1)
    audio[1 : delay + 1] = np.random.default_rng(1).uniform(-1.0, 1.0, delay)
    for i in range(delay + 1, len(audio)):
        audio[i] = 0.498 * (audio[i - delay] + audio[i - delay - 1])
    return faded(audio[1 : N_SAMPLES + 1])


def fm_bell(frequency_hz: float) -> np.ndarray:
    """Return a bell of Chowning (1973): frequency modulation at 1.4 times the pitch, both fading."""
    depth = 6.0 * np.exp(-TIME_S / 0.5)
    modulator = depth * np.sin(2 * np.pi * 1.4 * frequency_hz * TIME_S)
    return faded(np.exp(-TIME_S / 0.7) * np.sin(2 * np.pi * frequency_hz * TIME_S + modulator))


def sung_vowel(frequency_hz: float) -> np.ndarray:
    """Return a vowel, "ah": harmonics with vibrato under four formants."""
    centres_hz, widths_hz = np.array([650.0, 1080.0, 2650.0, 3500.0]), np.array([80.0, 90.0, 120.0, 130.0])
    gains = 10 ** (np.array([0.0, -6.0, -14.0, -18.0]) / 20)
    vibrato = 0.1 * np.sin(2 * np.pi * 5.5 * TIME_S) * np.clip(TIME_S - 0.3, 0.0, 1.0)  # radians at the first harmonic
    audio = np.zeros(N_SAMPLES)
    for harmonic in range(1, int(5000 / frequency_hz)):
        distance = (harmonic * frequency_hz - centres_hz) / widths_hz
        level = np.sum(gains / np.sqrt(1 + distance**2)) / np.sqrt(harmonic)
        audio += level * np.sin(harmonic * (2 * np.pi * frequency_hz * TIME_S + 4 * vibrato) + harmonic**2)
    rise, fall = np.clip(TIME_S / 0.08, 0.0, 1.0), np.clip((1.7 - TIME_S) / 0.25, 0.0, 1.0)
    return audio * rise * fall


def faded(audio: np.ndarray) -> np.ndarray:
    """Return the sound with a fade at its end."""
    return audio * np.clip((2.0 - TIME_S) / 0.05, 0.0, 1.0)


if __name__ == "__main__":
    main()
