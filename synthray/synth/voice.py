"""The voice: from settings to sound.

    oscillators, noise ──▶ drive ──▶ half-band filter ──▶ resonant filter ──▶ amplitude ──▶ soft limit
    └──────── at 22050 Hz ────────┘                       └─────────────── at 11025 Hz ──────────────┘

Envelopes, LFOs, pitch and filter coefficients are computed every ``CONTROL_PERIOD`` samples and glide in between.
A preset's sound is bit-identical at any batch size, position in the batch and number of threads. It is always computed
in a full block of lanes, by the same instructions, from its own settings and noise seed.

This module checks settings, compiles the kernel and starts threads. The signal processing is in ``dsp/kernel.py``.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthray.errors import SoundError
from synthray.synth.dsp.kernel import render_block, render_interleaved
from synthray.synth.dsp.lanes import LANES, Floats, Seeds, compiled, use_widest_registers
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.parameters import Choice, Constant, Range

CONSTANT_LIMITS = {
    "note_pitch": (21.0, 81.0),
    "note_hold": (0.0, 2000.0),
    "oscillator_1_detune": (-100.0, 100.0),
    "filter_key_tracking": (0.0, 100.0),
    "filter_lfo_phase": (0.0, 360.0),
    "pitch_envelope_sustain": (0.0, 100.0),
    "pitch_envelope_release": (1.0, 2000.0),
    "output_level": (-60.0, 0.0),
}
"""Limits of settings that are constants in data sets, but that a person may change in a preset."""
KERNEL_SOURCES = (
    "dsp/filters.py", "dsp/kernel.py", "dsp/lanes.py", "dsp/modulation.py", "dsp/oscillators.py",
    "instrument.py", "parameters.py",
)  # fmt: skip
"""Files of the compiled kernel; a change in one of them makes the cached machine code invalid."""
ROUNDING = 1e-4  # share of a range's width, for the errors of float32 and of a conversion to [0, 1] and back


def render(settings: npt.ArrayLike, noise_seeds: npt.ArrayLike | None = None, threads: int | None = None) -> Floats:
    """Return the sounds of presets.

    Args:
        settings: float32 (sounds, 46), in human units, as returned by ``ParameterTable.labels_to_settings``.
        noise_seeds: uint64 (sounds,), the seed of each sound's noise; None means 0.
        threads: number of threads; None uses every core that the process may use.

    Returns:
        float32 (sounds, 22050) in [-1, 1], 2 s at 11025 Hz.

    Raises:
        SoundError: the shape is wrong, or a setting is outside of its parameter's range.
    """
    settings = check_settings(settings)
    seeds = check_seeds(noise_seeds, len(settings))
    audio = np.empty((len(settings), N_SAMPLES), np.float32)
    kernel = compiled_kernel()
    in_threads(lambda first: kernel(settings, seeds, audio, first), range(0, len(settings), LANES), threads)
    return audio


def render_into(audio: Floats, settings: Floats, seeds: Seeds) -> Floats:
    """Render valid settings into ``audio``, float32 (sounds, 22050), in this thread; return it."""
    for first in range(0, len(settings), LANES):
        compiled_kernel()(settings, seeds, audio, first)
    return audio


def render_interleaved_into(samples: Floats, settings: Floats, seeds: Seeds) -> Floats:
    """Render 32 valid settings into ``samples``, float32 (22050, 32), contiguous, in this thread; return it.

    Neighbouring numbers belong to different sounds. That saves the time of a transposition.
    """
    _compiled_interleaving_kernel()(settings, seeds, samples.reshape(-1))
    return samples


def in_threads(work: Callable[[int], object], items: range, threads: int | None) -> None:
    """Call ``work``, which releases the GIL, on each of ``items`` in at most ``threads`` threads.

    Numba's ``prange`` is not used because two Python threads cannot enter its thread pool at once. A thread pool of
    Python is not used because ending it takes about a tenth of the time of rendering 128 sounds.
    """
    pending = iter(items)  # shared by the threads
    failures: list[BaseException] = []

    def drain() -> None:
        try:
            for item in pending:
                work(item)
        except BaseException as failure:
            failures.append(failure)

    count = min(len(items), usable_cores() if threads is None else threads)
    helpers = [threading.Thread(target=drain) for _ in range(count - 1)]
    for helper in helpers:
        helper.start()
    drain()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]


def usable_cores() -> int:
    """Return the number of cores that this process may run on; containers often limit it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def compiled_kernel() -> Callable[[Floats, Seeds, Floats, int], None]:
    """Return ``render_block``, compiled."""
    digest = _digest_of_kernel()

    def kernel(settings: Floats, seeds: Seeds, audio: Floats, first: int) -> None:
        _ = digest
        use_widest_registers()
        render_block(settings, seeds, audio, first)

    return compiled(kernel)


@cache
def _compiled_interleaving_kernel() -> Callable[[Floats, Seeds, Floats], None]:
    """Return ``render_interleaved``, compiled."""
    digest = _digest_of_kernel()

    def interleaving_kernel(settings: Floats, seeds: Seeds, samples: Floats) -> None:
        _ = digest
        use_widest_registers()
        render_interleaved(settings, seeds, samples)

    return compiled(interleaving_kernel)


def _digest_of_kernel() -> str:
    """Return a digest of the kernel's sources, for closures that are cached.

    Numba checks only the file of the cached function, not the files of the functions that it calls. The variables of a
    closure are part of the cache's key, so the kernel is compiled again when the digest changes.
    """
    sources = sorted(Path(__file__).parent.joinpath(name) for name in KERNEL_SOURCES)
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def check_seeds(noise_seeds: npt.ArrayLike | None, count: int) -> Seeds:
    """Return noise seeds as a contiguous uint64 (count,); raises SoundError."""
    if noise_seeds is None:
        return np.zeros(count, np.uint64)
    seeds = np.asarray(noise_seeds)
    if seeds.shape != (count,) or seeds.dtype.kind not in "ui":
        raise SoundError(f"noise seeds are {seeds.dtype} {seeds.shape}, not integers ({count},), one per sound")
    return np.ascontiguousarray(seeds, np.uint64)


def check_settings(settings: npt.ArrayLike) -> Floats:
    """Return settings as a contiguous float32 (sounds, 46), with rounding errors clipped.

    Raises:
        SoundError: the shape is wrong, or a setting is outside of its range.
    """
    settings = np.array(settings, np.float32, order="C")
    if settings.ndim != 2 or settings.shape[1] != len(INSTRUMENT):
        raise SoundError(f"settings have the shape {settings.shape}, not (sounds, {len(INSTRUMENT)})")
    low, high, slack, step = _limits()
    stepped = step > 0
    nearest = settings.copy()
    nearest[:, stepped] = np.rint((settings - low)[:, stepped] / step[stepped]) * step[stepped] + low[stepped]
    good = (settings >= low - slack) & (settings <= high + slack) & (abs(settings - nearest) <= slack)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        parameter = INSTRUMENT.parameters[column]
        value = settings[row, column]
        raise SoundError(f"preset {row}: {parameter.name} is {value:g}. It must be {_allowed(parameter)}.")
    return np.clip(nearest, low, high, out=nearest)


@cache
def _limits() -> tuple[Floats, Floats, Floats, Floats]:
    """Return each parameter's minimum, maximum, allowance for rounding, and step (0 if every value is allowed)."""
    limits = np.array([_limits_of(parameter) for parameter in INSTRUMENT.parameters], np.float32)
    low, high = limits.T.copy()
    is_choice = np.array([isinstance(parameter, Choice) for parameter in INSTRUMENT.parameters])
    slack = np.where(is_choice, 0.0, ROUNDING * (high - low)).astype(np.float32)
    step = [1.0 if isinstance(p, Choice) else getattr(p, "step", 0.0) for p in INSTRUMENT.parameters]
    return low, high, slack, np.array(step, np.float32)


def _limits_of(parameter: Range | Choice | Constant) -> tuple[float, float]:
    if isinstance(parameter, Range):
        return parameter.minimum, parameter.maximum
    return (0, len(parameter.values) - 1) if isinstance(parameter, Choice) else CONSTANT_LIMITS[parameter.name]


def _allowed(parameter: Range | Choice | Constant) -> str:
    low, high = _limits_of(parameter)
    if isinstance(parameter, Choice):
        return f"the index of one of {', '.join(parameter.values)} (0 to {high})"
    steps = f" in steps of {parameter.step:g}" if isinstance(parameter, Range) and parameter.step else ""
    return f"from {low:g} to {high:g} {parameter.unit}".rstrip() + steps
