"""Compare the rules for audible parameters with measured differences between sounds.

    python benchmarks/audible.py                            # 500 random presets, in half a minute
    python benchmarks/audible.py --presets 10000 --seed 5   # as in docs/benchmarks.md, in 8 minutes
    python benchmarks/audible.py --prior musical

Each parameter of each preset is moved: a choice to its other classes, a range by a quarter of its width up and down.
Both presets are rendered with the same noise and compared in two mel spectrograms, one with short and one with long
frames. The difference is the RMS of the level differences in dB, over the cells in which one of the two sounds is less
than 60 dB below the loudest cell.

A parameter is audible if one of its moves makes a difference above two limits. The first is 1 dB. The second is half of
the difference that an inaudible change makes: another noise seed, and a detune of oscillator 2 by one cent. Half is
enough, because a systematic difference is the same in thousands of cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from synthray.synth.audible.audible import audible, with_inaudible_defaults
from synthray.synth.dsp.lanes import Seeds
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.parameters import Choice
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import Prior, random_presets
from synthray.synth.spectra import hz_to_mel
from synthray.synth.voice import check_settings, render_into

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

MOVE = 0.25
RANGE_DB = 60.0
LEAST_DB = 1.0
LEAST_SHARE_OF_UNHEARD = 0.5
UNHEARD_CENTS = 1.0
MOST_SOUNDS = 128  # of one preset: the original, the inaudible change, and about 66 moves


@dataclass(frozen=True)
class Resolution:
    """Frames and bands of a spectrogram."""

    window: int
    """Samples of a frame."""
    hop: int
    """Samples from frame to frame."""
    bands: int


RESOLUTIONS = (Resolution(256, 128, 24), Resolution(1024, 512, 96))


@dataclass(frozen=True)
class Sensitivity:
    """Changes of sounds when a parameter moves, in dB."""

    change_db: Floats
    """Largest change of a parameter's moves, (sounds, learned, resolutions)."""
    unheard_db: Floats
    """Change by other noise and one cent of detune, (sounds, resolutions)."""

    @property
    def heard(self) -> Bools:
        """Return True for each audible parameter, (sounds, learned)."""
        least_db = np.maximum(LEAST_DB, LEAST_SHARE_OF_UNHEARD * self.unheard_db)
        heard: Bools = (self.change_db > least_db[:, None]).any(axis=-1)
        return heard


@cache
def band_matrix(resolution: Resolution) -> Floats:
    """Return triangular weights (bins, bands), with a sum of 1 in each band, evenly spaced in mel."""
    bins_mel = hz_to_mel(np.arange(resolution.window // 2 + 1) * SAMPLE_RATE_HZ / resolution.window)[:, None]
    edges = np.linspace(0.0, hz_to_mel(SAMPLE_RATE_HZ / 2), resolution.bands + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.clip(np.minimum((bins_mel - low) / (middle - low), (high - bins_mel) / (high - middle)), 0.0, None)
    nearest = np.argmin(abs(bins_mel - middle), axis=0)
    weights[nearest, np.arange(resolution.bands)] += 1e-3  # a band may be narrower than a bin
    return (weights / weights.sum(0)).astype(np.float32)


def band_powers(audio: Floats, resolution: Resolution) -> Floats:
    """Return powers (sounds, frames, bands) of audio (sounds, samples)."""
    window = np.hanning(resolution.window).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, resolution.window, axis=1)[:, :: resolution.hop]
    spectrum = fft.rfft(frames * window, axis=-1)
    powers: Floats = (spectrum.real**2 + spectrum.imag**2) @ band_matrix(resolution)
    return powers


def difference_db(first: Floats, second: Floats) -> Floats:
    """Return the RMS of level differences over the cells in which one of both sounds is heard.

    Args:
        first: powers (sounds, frames, bands).
        second: the same of other sounds.

    Returns:
        (sounds,), in dB; 0 for two silent sounds.
    """
    louder = np.maximum(first, second)
    floor = np.maximum(louder.max(axis=(1, 2), keepdims=True), 1e-10) * 10.0 ** (-RANGE_DB / 10.0)
    levels_db = 10.0 * np.log10(np.maximum(first, floor) / np.maximum(second, floor))
    cells = np.maximum((louder > floor).sum(axis=(1, 2)), 1)
    root: Floats = np.sqrt((levels_db**2).sum(axis=(1, 2)) / cells)
    return root


def sound_differences_db(settings: Floats, seeds: Seeds, audio: Floats) -> Floats:
    """Return the differences (sounds - 1, resolutions) of sounds to the first one; ``audio`` is a buffer."""
    render_into(audio[: len(settings)], settings, seeds)
    powers = [band_powers(audio[: len(settings)], resolution) for resolution in RESOLUTIONS]
    return np.stack([difference_db(p[:1], p[1:]) for p in powers], axis=1)


def moves(labels_row: Floats) -> Iterator[tuple[int, float]]:
    """Yield a column and another label for each move of a preset (learned,)."""
    for column, parameter in enumerate(INSTRUMENT.learned):
        now = labels_row[column]
        if isinstance(parameter, Choice):
            yield from ((column, value) for value in range(parameter.num_outputs) if value != now)
        else:
            yield from ((column, now + move) for move in (-MOVE, MOVE) if 0.0 <= now + move <= 1.0)


def measure(labels: Floats, seeds: Seeds) -> Sensitivity:
    """Return how much the sounds of presets, labels (sounds, learned), change when a parameter moves."""
    audio = np.empty((MOST_SOUNDS, N_SAMPLES), np.float32)
    change_db = np.zeros((*labels.shape, len(RESOLUTIONS)), np.float32)
    unheard_db = np.zeros((len(labels), len(RESOLUTIONS)), np.float32)
    detune = INSTRUMENT.index["oscillator_2_detune"]
    for sound, row in enumerate(labels):
        columns, values = zip(*moves(row), strict=True)
        rows = np.repeat(row[None], 2 + len(columns), axis=0)
        rows[np.arange(2, len(rows)), columns] = values
        settings = check_settings(INSTRUMENT.labels_to_settings(rows))
        settings[1, detune] += UNHEARD_CENTS if settings[1, detune] < 0 else -UNHEARD_CENTS
        same_seeds = np.full(len(rows), seeds[sound])
        same_seeds[1] ^= np.uint64(1)
        unheard_db[sound], *others = sound_differences_db(settings, same_seeds, audio)
        np.maximum.at(change_db[sound], np.array(columns), np.stack(others))
    return Sensitivity(change_db, unheard_db)


def changes_by_defaults_db(labels: Floats, seeds: Seeds) -> Floats:
    """Return how much sounds change, (sounds,), when inaudible parameters are set to their defaults."""
    settings = check_settings(INSTRUMENT.labels_to_settings(labels))
    pairs = np.stack([settings, with_inaudible_defaults(settings)], axis=1)
    audio = np.empty((2, N_SAMPLES), np.float32)
    changes = [
        sound_differences_db(pair, np.full(2, seed), audio).max() for pair, seed in zip(pairs, seeds, strict=True)
    ]
    return np.array(changes, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", type=int, default=500, help="number of random presets (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the presets (default: %(default)s)")
    parser.add_argument(
        "--prior", type=Prior.parse, default="uniform", help="prior of the presets (default: %(default)s)"
    )
    arguments = parser.parse_args()
    labels = random_presets(arguments.seed, 0, arguments.presets, prior=arguments.prior)
    seeds = noise_seeds(arguments.seed, 0, arguments.presets)
    rule = audible(INSTRUMENT.labels_to_settings(labels))
    sensitivity = measure(labels, seeds)
    measured = sensitivity.heard
    print(f"{arguments.presets:,} presets, shares in %")
    print(f"{'':28}{'measured':>10}{'rule':>10}{'agree':>10}{'only rule':>11}{'only measured':>15}")
    for column, parameter in enumerate(INSTRUMENT.learned):
        by_rule, by_measure = rule[:, column], measured[:, column]
        shares = [by_measure, by_rule, by_rule == by_measure, by_rule & ~by_measure, ~by_rule & by_measure]
        percent = [100.0 * share.mean() for share in shares]
        print(
            f"{parameter.name:28}{percent[0]:10.1f}{percent[1]:10.1f}{percent[2]:10.1f}{percent[3]:11.1f}{percent[4]:15.1f}"
        )
    print(f"{'mean':28}{100 * measured.mean():10.1f}{100 * rule.mean():10.1f}{100 * (rule == measured).mean():10.1f}")
    change_db = changes_by_defaults_db(labels, seeds)
    least_db = np.maximum(LEAST_DB, LEAST_SHARE_OF_UNHEARD * sensitivity.unheard_db.max(axis=1))
    median, ninetieth = np.quantile(change_db, [0.5, 0.9])
    print(f"\nDefaults for inaudible parameters change sounds by {median:.2f} dB (median), {ninetieth:.2f} dB (90 %).")
    print(f"{100 * (change_db < least_db).mean():.1f} % of the sounds do not change audibly.")


if __name__ == "__main__":
    main()
