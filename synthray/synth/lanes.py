"""How the voice is laid out: sounds side by side in lanes, and the arithmetic that every lane shares.

A compiler can use a processor's wide registers when the innermost loop does the same to neighbouring numbers. One
sound's samples depend on each other, different sounds' do not: so the innermost loop runs over ``LANES`` sounds.

What a lane keeps stands in one flat float32 array, ``work``: *row* ``r`` of lane ``l`` is ``work[r + l]``, where rows
are multiples of ``LANES``. With constant distances between rows LLVM can prove that they do not overlap. All arithmetic
is IEEE's, fused only where the code says so and never reordered: one preset gives the same bits in every lane.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

LANES = 32
CONTROL_PERIOD = 35  # samples between two values of envelopes, LFOs, pitch and filter: 3.2 ms; divides the 22050
OVERSAMPLING = 2  # of oscillators, modulation and drive

f32 = np.float32  # a Python float would turn the arithmetic around it into float64, at half the speed
GLIDE_ROWS = 3

# A division by zero must not raise: the check for it would keep LLVM from vectorising the loop around it.
# And all is inlined: a loop that holds a call stays scalar.
inlined = njit(error_model="numpy", forceinline=True)


def consecutive_rows(start: int, *sizes: int) -> list[int]:
    """Offsets of groups of ``sizes`` rows that follow each other from ``start``; the last one is the end."""
    return [start + LANES * sum(sizes[:i]) for i in range(len(sizes) + 1)]


@intrinsic
def multiply_add(typing_context, a, b, c):  # noqa: ARG001
    """``a * b + c``, rounded once: the processor's fused operation, which LLVM would use only where told.

    Asked for by name it is the same on every processor; allowing LLVM to fuse as it likes ("contract") is not.
    """
    return a(a, a, a), lambda _context, builder, _signature, arguments: builder.fma(*arguments)


@intrinsic
def use_widest_registers(typing_context):  # noqa: ARG001
    """Let the loops of the calling function use 512-bit registers, which LLVM leaves alone where it may: 1.3 times.

    And align its stack, so that such a register put there lies in one line of the cache: 1.08 times. That holds for the
    function into which all else is inlined.
    """

    def generate(context, builder, _signature, _arguments):
        attributes = builder.function.attributes
        if isinstance(attributes, set):  # whose own ``add`` knows attributes without a value only
            set.add(attributes, '"prefer-vector-width"="512"')
            set.add(attributes, "alignstack(64)")
        return context.get_dummy_value()

    return types.none(), generate


@inlined
def glide_to(work, row, lane, target):
    """Start moving from the last target to ``target``, to be reached at the end of this control period."""
    now = work[row + 2 * LANES + lane]
    work[row + lane] = now
    work[row + LANES + lane] = target - now
    work[row + 2 * LANES + lane] = target


@inlined
def glided(work, row, lane, position):
    """The gliding value at ``position`` in [0, 1) of this control period."""
    return multiply_add(work[row + LANES + lane], position, work[row + lane])


@inlined
def clip(x, low, high):
    x = x if x > low else low
    return x if x < high else high


@inlined
def soft_clip(x):
    """Slope 1 at zero, flat at ±1, which it reaches at ±1.5: x - 4/27 x³."""
    x = clip(x, f32(-1.5), f32(1.5))
    return x * multiply_add(x * x, f32(-4 / 27), f32(1.0))


@inlined
def exp2(x):
    """2 to the power of ``x`` in [-8, 8], to 1e-6 of its value: a polynomial in x/8, raised to the eighth."""
    x = x * f32(0.125)
    y = f32(1.55090238e-05)
    y = multiply_add(y, x, f32(1.56698300e-04))
    y = multiply_add(y, x, f32(1.33313746e-03))
    y = multiply_add(y, x, f32(9.61646061e-03))
    y = multiply_add(y, x, f32(5.55041794e-02))
    y = multiply_add(y, x, f32(2.40226841e-01))
    y = multiply_add(y, x, f32(6.93147174e-01))
    y = multiply_add(y, x, f32(1.0))
    y = y * y
    y = y * y
    return y * y


@inlined
def tan(x):
    """Tangent of ``x`` in [0, 1.48], to 2e-6 of its value, from the tangent of the half angle."""
    half = x * f32(0.5)
    q = half * half
    y = f32(0.02016571)
    y = multiply_add(y, q, f32(0.01252557))
    y = multiply_add(y, q, f32(0.05740223))
    y = multiply_add(y, q, f32(0.13273724))
    y = multiply_add(y, q, f32(0.33337711))
    y = multiply_add(y, q, f32(0.99999909))
    y = y * half
    return (y + y) / (f32(1.0) - y * y)
