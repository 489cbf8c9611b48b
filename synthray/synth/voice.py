"""The voice: settings to sound.

    oscillators, noise ──▶ drive ──▶ half-band filter ──▶ resonant filter ──▶ amplitude ──▶ soft limit
    └──────── at 22050 Hz ────────┘                       └─────────────── at 11025 Hz ──────────────┘

Envelopes, LFOs, pitch and filter coefficients are computed once every ``CONTROL_PERIOD`` samples and glide between.
The sound of a preset is the same bit for bit at any batch size, place in the batch and number of threads: it is
always computed in a full block of lanes, by the same instructions, from its own settings and its own noise seed.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numba import njit

from synthray.errors import SoundError
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.kernel import render_block
from synthray.synth.lanes import LANES, use_widest_registers
from synthray.synth.parameters import Choice, Constant, Range

# The instrument honours its constants, so a person may play a preset at another note; within these limits.
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
ROUNDING = 1e-4  # of a range's width: what float32 and a conversion there and back may lose


def render(settings: np.ndarray, noise_seeds: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
    """SoundGenerator of presets.

    Args:
        settings: float32 (sounds, 46), in units, as ``ParameterTable.labels_to_settings`` gives them.
        noise_seeds: uint64 (sounds,), each chooses a realisation of its sound's noise; all 0 without them.
        threads: how many to use; without it, every core that the process may use.

    Returns:
        float32 (sounds, 22050) in [-1, 1], 2 s at 11025 Hz.

    Raises:
        SoundError: the shape is wrong, or a setting is not what its parameter allows.
    """
    settings = check_settings(settings)
    seeds = check_seeds(noise_seeds, len(settings))
    audio = np.empty((len(settings), N_SAMPLES), np.float32)
    kernel = compiled_kernel()
    in_threads(lambda first: kernel(settings, seeds, audio, first), range(0, len(settings), LANES), threads)
    return audio


def render_into(audio: np.ndarray, settings: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """``render``, in this thread, of checked settings and seeds, into ``audio``, float32 (sounds, 22050)."""
    for first in range(0, len(settings), LANES):
        compiled_kernel()(settings, seeds, audio, first)
    return audio


def in_threads(work: Callable[[int], object], items: range, threads: int | None) -> None:
    """Call ``work``, which releases the GIL, on each of ``items``, in this thread and up to ``threads`` - 1 more.

    Not Numba's ``prange``: its own thread pool cannot be entered from two Python threads at once. And plain threads,
    because ending a pool takes about a tenth of the time that 128 sounds do.
    """
    pending = iter(items)  # shared: each thread takes the next item when it is done with one
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
    """Cores that this process may run on, which in a container are often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def compiled_kernel() -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], None]:
    """``render_block``, compiled; cached on disk beside this file, or in the user's cache where that is read-only.

    Numba renews its cache when the file of the cached function changes, not when a file does that it calls into. What
    a closure holds is part of the cache's key, so a digest of the sources stands in one.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()

    def kernel(settings, seeds, audio, first):
        _ = digest
        use_widest_registers()
        render_block(settings, seeds, audio, first)

    try:
        return njit(nogil=True, cache=True, error_model="numpy")(kernel)
    except RuntimeError:  # no directory can be written: compile for this process alone
        return njit(nogil=True, error_model="numpy")(kernel)


def check_seeds(noise_seeds: np.ndarray | None, count: int) -> np.ndarray:
    """Noise seeds as a contiguous uint64 (count,)."""
    if noise_seeds is None:
        return np.zeros(count, np.uint64)
    seeds = np.asarray(noise_seeds)
    if seeds.shape != (count,) or seeds.dtype.kind not in "ui":
        raise SoundError(f"noise seeds are {seeds.dtype} {seeds.shape}, not integers ({count},), one a sound")
    return np.ascontiguousarray(seeds, np.uint64)


def check_settings(settings: np.ndarray) -> np.ndarray:
    """Settings as a contiguous float32 (sounds, 46), clipped where they stand out by no more than rounding.

    Raises:
        SoundError: naming the row, the parameter and the value.
    """
    settings = np.array(settings, np.float32, order="C")
    if settings.ndim != 2 or settings.shape[1] != len(INSTRUMENT):
        raise SoundError(f"settings have the shape {settings.shape}, not (sounds, {len(INSTRUMENT)})")
    low, high, slack, whole = _limits()
    good = (settings >= low - slack) & (settings <= high + slack) & (~whole | (settings == np.rint(settings)))
    if not good.all():
        row, place = np.argwhere(~good)[0]
        parameter = INSTRUMENT.parameters[place]
        raise SoundError(
            f"preset {row}: {parameter.name} is {settings[row, place]:g}, which is not {_allowed(parameter)}"
        )
    return np.clip(settings, low, high, out=settings)


@cache
def _limits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lowest and highest value, allowance for rounding, and whether it is an index, of each parameter."""
    limits = np.array([_limits_of(parameter) for parameter in INSTRUMENT.parameters], np.float32)
    whole = np.array([isinstance(parameter, Choice) for parameter in INSTRUMENT.parameters])
    low, high = limits.T.copy()
    return low, high, np.where(whole, np.float32(0), ROUNDING * (high - low)).astype(np.float32), whole


def _limits_of(parameter: Range | Choice | Constant) -> tuple[float, float]:
    if isinstance(parameter, Range):
        return parameter.minimum, parameter.maximum
    return (0, len(parameter.values) - 1) if isinstance(parameter, Choice) else CONSTANT_LIMITS[parameter.name]


def _allowed(parameter: Range | Choice | Constant) -> str:
    low, high = _limits_of(parameter)
    if isinstance(parameter, Choice):
        return f"the index of one of {', '.join(parameter.values)} (0 to {high})"
    return f"from {low:g} to {high:g} {parameter.unit}".rstrip()
