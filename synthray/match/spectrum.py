"""Mel spectra of 32 sounds at once, in decibels below each sound's own maximum.

Each lane of the Fourier transform holds one sound, as in the voice: a row is 32 numbers, one of each sound. The first
16 sounds are the real parts, and the last 16 the imaginary parts, of 16 complex signals. ``_separate`` turns each
complex spectrum into the spectra of its two sounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from synthray.match.distances.spectra import SMALLEST_POWER, mel_filters
from synthray.match.vectors import (
    WIDTH,
    add,
    exponent,
    load,
    mantissa,
    maximum,
    multiply,
    multiply_add,
    splat,
    store,
    subtract,
)
from synthray.synth.dsp.lanes import LANES, Floats, Scalar, compiled, f32, inlined, use_widest_registers
from synthray.synth.instrument import N_SAMPLES
from synthray.synth.spectra import hann

LOWEST_DB = -80.0
"""Lowest level, relative to the loudest of the sound. Lower levels count as this."""
LOG2_COEFFICIENTS = (0.04392863, -0.40947559, 1.61017755, -3.52021884, 5.06975632, -2.79415368)
"""Chebyshev approximation of the binary logarithm on [1, 2], highest power first, with an error of 1.5e-5."""


@dataclass(frozen=True)
class Resolution:
    """A mel spectrum of a sound; frames are centred, and the sound is padded with zeros."""

    window: int
    """Samples of the Hann window."""
    size: int
    """Samples of the Fourier transform, a power of two and at least the window."""
    hop: int
    """Samples between frames."""
    bands: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return 1 + N_SAMPLES // self.hop


@cache
def _tables(resolution: Resolution) -> tuple[Floats, Floats, npt.NDArray[np.int64], Floats]:
    """Return twiddle factors (size, 2), the window, and each band's range of bins (bands, 2) and weights."""
    turns = np.exp(-2j * np.pi * np.arange(resolution.size) / resolution.size)
    twiddles = np.stack([turns.real, turns.imag], axis=1).astype(np.float32)
    window: Floats = np.zeros(resolution.size, np.float32)
    window[: resolution.window] = hann(resolution.window)
    # Divided by 4, because ``_separate`` returns four times the powers.
    weights = np.asarray(mel_filters(resolution.size, resolution.bands) / f32(4), np.float32)
    spans = np.array([(row.nonzero()[0].min(), row.nonzero()[0].max() + 1) if row.any() else (0, 0) for row in weights])
    return twiddles, window, spans, weights


class Spectrograph:
    """Computes levels of blocks of 32 sounds in reused memory; not for two threads at once."""

    def __init__(self, resolutions: tuple[Resolution, ...]) -> None:
        self.resolutions = resolutions
        largest = max(resolution.size for resolution in resolutions) * LANES
        self._padded = _aligned(N_SAMPLES * LANES + 2 * largest)
        self.samples = self._padded[largest:-largest].reshape(N_SAMPLES, LANES)
        """The sounds, float32 ``(22050, 32)``, to be written before ``levels`` is called."""
        self._x, self._y, self._power = _aligned(largest), _aligned(largest), _aligned(largest)
        self._levels = _aligned(sum(r.frames * r.bands for r in resolutions) * LANES).reshape(-1, LANES)

    def levels(self) -> Floats:
        """Return the levels of the sounds, float32 ``(numbers, 32)`` in dB from -80 to 0, valid until the next call.

        The first axis has the levels of one resolution after the other, each in the order of frames and bands.
        """
        start = 0
        for resolution in self.resolutions:
            stop = start + resolution.frames * resolution.bands
            levels = self._levels[start:stop].reshape(-1)
            tables = _tables(resolution)
            _mel_powers(
                self._padded, resolution.hop, resolution.window // 2, *tables, self._x, self._y, self._power, levels
            )
            _to_decibels(levels)
            start = stop
        return self._levels


def _aligned(count: int) -> Floats:
    """Return zeros, float32 ``(count,)``, that start at a cache line."""
    memory = np.zeros(count + WIDTH, np.float32)
    return memory[(-memory.ctypes.data // memory.itemsize) % WIDTH :][:count]


@inlined
def _turn_and_store(y: Floats, at: int, real: Scalar, imaginary: Scalar, turns: Floats, index: int) -> None:
    """Store a complex vector, multiplied by a twiddle factor."""
    turn_real, turn_imaginary = splat(turns[index, 0]), splat(turns[index, 1])
    store(y, at, subtract(multiply(real, turn_real), multiply(imaginary, turn_imaginary)))
    store(y, at + WIDTH, multiply_add(real, turn_imaginary, multiply(imaginary, turn_real)))


@inlined
def _butterfly(
    a: Scalar, ai: Scalar, b: Scalar, bi: Scalar, c: Scalar, ci: Scalar, d: Scalar, di: Scalar,
    y: Floats, out: int, step: int, turns: Floats, turn: int,
) -> None:  # fmt: skip
    """Store the transform of four complex vectors, real parts ``a`` to ``d`` and imaginary parts ``ai`` to ``di``."""
    ac_sum, ac_sum_i, ac, ac_i = add(a, c), add(ai, ci), subtract(a, c), subtract(ai, ci)
    bd_sum, bd_sum_i, bd, bd_i = add(b, d), add(bi, di), subtract(b, d), subtract(bi, di)
    store(y, out, add(ac_sum, bd_sum))
    store(y, out + WIDTH, add(ac_sum_i, bd_sum_i))
    _turn_and_store(y, out + step, add(ac, bd_i), subtract(ac_i, bd), turns, turn)
    _turn_and_store(y, out + 2 * step, subtract(ac_sum, bd_sum), subtract(ac_sum_i, bd_sum_i), turns, 2 * turn)
    _turn_and_store(y, out + 3 * step, subtract(ac, bd_i), add(ac_i, bd), turns, 3 * turn)


@inlined
def _first_pass(padded: Floats, start: int, window: Floats, y: Floats, turns: Floats) -> None:
    """Write the first pass of ``_transform`` over a windowed frame of ``padded`` to ``y``."""
    quarter = len(turns) // 4
    for p in range(quarter):
        at, distance = start + p * LANES, quarter * LANES
        wa, wb, wc, wd = (
            splat(window[p]),
            splat(window[p + quarter]),
            splat(window[p + 2 * quarter]),
            splat(window[p + 3 * quarter]),
        )
        _butterfly(
            multiply(wa, load(padded, at)), multiply(wa, load(padded, at + WIDTH)),
            multiply(wb, load(padded, at + distance)), multiply(wb, load(padded, at + distance + WIDTH)),
            multiply(wc, load(padded, at + 2 * distance)), multiply(wc, load(padded, at + 2 * distance + WIDTH)),
            multiply(wd, load(padded, at + 3 * distance)), multiply(wd, load(padded, at + 3 * distance + WIDTH)),
            y, 4 * p * LANES, LANES, turns, p,
        )  # fmt: skip


@inlined
def _radix_4(x: Floats, y: Floats, quarter: int, stride: int, turns: Floats) -> None:
    """Write one pass of ``_transform`` over ``x`` to ``y``."""
    distance = stride * quarter * LANES
    for p in range(quarter):
        for q in range(stride):
            a = (q + stride * p) * LANES
            b, c, d = a + distance, a + 2 * distance, a + 3 * distance
            _butterfly(
                load(x, a), load(x, a + WIDTH), load(x, b), load(x, b + WIDTH),
                load(x, c), load(x, c + WIDTH), load(x, d), load(x, d + WIDTH),
                y, (q + 4 * stride * p) * LANES, stride * LANES, turns, p * stride,
            )  # fmt: skip


@inlined
def _radix_2(x: Floats, y: Floats, half: int) -> None:
    """Write the last pass of a transform of an odd power of two."""
    for row in range(half):
        for part in range(0, LANES, WIDTH):
            a, b = row * LANES + part, (row + half) * LANES + part
            store(y, a, add(load(x, a), load(x, b)))
            store(y, b, subtract(load(x, a), load(x, b)))


@inlined
def _transform(padded: Floats, start: int, window: Floats, turns: Floats, x: Floats, y: Floats) -> Floats:
    """Return the Fourier transforms of a windowed frame of ``padded`` (rows, lanes), flat, in ``x`` or ``y``.

    Stockham's algorithm, which needs no reordering (Swarztrauber 1984, "FFT algorithms for vector computers"), radix 4.
    """
    _first_pass(padded, start, window, x, turns)
    length, stride = len(turns) // 4, 4
    while length >= 4:
        _radix_4(x, y, length // 4, stride, turns)
        length //= 4
        stride *= 4
        x, y = y, x
    if length == 2:
        _radix_2(x, y, stride)
        x, y = y, x
    return x


@inlined
def _separate(spectrum: Floats, power: Floats, size: int) -> None:
    """Write four times the powers of the real signals, (bins, lanes), to ``power``."""
    for k in range(size // 2 + 1):
        a, b = k * LANES, ((size - k) % size) * LANES
        real, imaginary = load(spectrum, a), load(spectrum, a + WIDTH)
        other_real, other_imaginary = load(spectrum, b), load(spectrum, b + WIDTH)
        x, y = add(real, other_real), subtract(imaginary, other_imaginary)
        store(power, a, multiply_add(x, x, multiply(y, y)))
        x, y = subtract(real, other_real), add(imaginary, other_imaginary)
        store(power, a + WIDTH, multiply_add(x, x, multiply(y, y)))


@compiled
def _mel_powers(
    padded: Floats,
    hop: int,
    centre: int,
    turns: Floats,
    window: Floats,
    spans: npt.NDArray[np.int64],
    weights: Floats,
    x: Floats,
    y: Floats,
    power: Floats,
    levels: Floats,
) -> None:
    """Write the mel powers of all frames, (frames, bands, lanes), flat, to ``levels``."""
    use_widest_registers()
    size, bands = len(turns), len(spans)
    zero = splat(f32(0.0))
    for frame in range(len(levels) // (bands * LANES)):
        start = len(x) + (frame * hop - centre) * LANES
        _separate(_transform(padded, start, window, turns, x, y), power, size)
        for band in range(bands):
            first_half, second_half = zero, zero
            for k in range(spans[band, 0], spans[band, 1]):
                weight = splat(weights[band, k])
                first_half = multiply_add(weight, load(power, k * LANES), first_half)
                second_half = multiply_add(weight, load(power, k * LANES + WIDTH), second_half)
            out = (frame * bands + band) * LANES
            store(levels, out, first_half)
            store(levels, out + WIDTH, second_half)


@compiled
def _to_decibels(levels: Floats) -> None:
    """Turn powers (numbers, lanes), flat, into dB below each lane's maximum, in place."""
    use_widest_registers()
    smallest, lowest = splat(f32(SMALLEST_POWER)), splat(f32(LOWEST_DB))
    for part in range(0, LANES, WIDTH):
        loudest = smallest
        for at in range(part, len(levels), LANES):
            loudest = maximum(loudest, load(levels, at))
        loudest_db = _decibels(loudest)
        for at in range(part, len(levels), LANES):
            decibels = subtract(_decibels(maximum(load(levels, at), smallest)), loudest_db)
            store(levels, at, maximum(decibels, lowest))


@inlined
def _decibels(power: Scalar) -> Scalar:
    """Return ten times the decimal logarithms of a vector of powers, with an error below 0.0001."""
    x = mantissa(power)
    y = multiply_add(splat(f32(LOG2_COEFFICIENTS[0])), x, splat(f32(LOG2_COEFFICIENTS[1])))
    y = multiply_add(y, x, splat(f32(LOG2_COEFFICIENTS[2])))
    y = multiply_add(y, x, splat(f32(LOG2_COEFFICIENTS[3])))
    y = multiply_add(y, x, splat(f32(LOG2_COEFFICIENTS[4])))
    y = multiply_add(y, x, splat(f32(LOG2_COEFFICIENTS[5])))
    return multiply(add(y, exponent(power)), splat(f32(10.0 * math.log10(2.0))))
