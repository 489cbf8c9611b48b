"""The memory layout of the voice, its arithmetic, and the decorators that compile it.

A compiler uses a CPU's wide registers if the innermost loop does the same to neighbouring numbers. The samples of one
sound depend on each other, those of different sounds do not. So the innermost loop runs over ``LANES`` sounds.

The state of all lanes is one flat float32 array, ``work``. *Row* ``r`` of lane ``l`` is ``work[r + l]``, and rows are
multiples of ``LANES``. Because the distances between rows are constant, LLVM can prove that rows do not overlap.

Arithmetic follows IEEE 754. It is fused only where the code says so and is never reordered, so that a preset has the
same bits in every lane. The parts of the voice are in ``oscillators.py``, ``filters.py`` and ``modulation.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")
Floats: TypeAlias = npt.NDArray[np.float32]
Counters: TypeAlias = npt.NDArray[np.int32]
Seeds: TypeAlias = npt.NDArray[np.uint64]
Scalar: TypeAlias = Any  # a number in compiled code; NumPy's types give Any for an element of an array

LANES = 32
CONTROL_PERIOD = 35  # samples (3.2 ms) between two values of envelopes, LFOs, pitch and filter; divides 22050
OVERSAMPLING = 2  # of oscillators, modulation and drive

f32 = np.float32  # a Python float makes the arithmetic around it float64, at half the speed
GLIDE_ROWS = 3


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that is inlined into its callers; a loop with a call in it is not vectorised."""
    # With error_model="python", the check for a division by zero would keep LLVM from vectorising a loop.
    compiled: Callable[P, R] = njit(error_model="numpy", forceinline=True)(function)
    return compiled


class _OptionalCache(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """Machine code on disk. If it cannot be read or written, the function is compiled in memory instead."""

    def load_overload(self, *arguments: Any) -> Any:
        """Return the machine code, or None to compile it."""
        try:
            return super().load_overload(*arguments)
        except Exception:  # pickle raises nearly anything for a truncated file
            with contextlib.suppress(OSError):
                self.flush()  # otherwise the index would stay corrupt
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Write the machine code, if there is room for it."""
        with contextlib.suppress(Exception):
            super().save_overload(*arguments)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that Python calls; it releases the GIL.

    The machine code is kept in the folder of the function's file, or in the user's cache. If neither can be written, as
    in some containers, the code is kept in memory only.
    """
    dispatcher = njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # no folder can be written
        # njit(cache=True) would create a cache that raises every error.
        dispatcher._cache = _OptionalCache(function)
    compiled_function: Callable[P, R] = dispatcher
    return compiled_function


def compiled_intrinsic(build: Callable[..., Any]) -> Callable[..., Any]:
    """Make an LLVM instruction callable; ``build`` gets the typing context before the arguments."""
    function: Callable[..., Any] = intrinsic(build)
    return function


def consecutive_rows(start: int, *sizes: int) -> list[int]:
    """Return the offsets of consecutive groups of ``sizes`` rows, then the offset of their end."""
    return [start + LANES * sum(sizes[:i]) for i in range(len(sizes) + 1)]


@compiled_intrinsic
def multiply_add(_typing_context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """Compute ``a * b + c``, rounded once.

    The explicit instruction gives the same bits on every CPU. The flag ``contract`` does not, because it lets LLVM
    choose which operations to fuse.
    """
    return a(a, a, a), lambda _context, builder, _signature, arguments: builder.fma(*arguments)


@compiled_intrinsic
def use_widest_registers(_typing_context: Any) -> Any:
    """Let the loops of the calling function use 512-bit registers, and align its stack to them.

    LLVM prefers 256 bits by default. The wider registers make rendering 1.3 times faster, the alignment 1.08 times.
    Both apply to the function into which all others are inlined.
    """

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        attributes = builder.function.attributes
        # llvmlite's AttributeSet.add accepts only attributes without a value.
        if isinstance(attributes, set):
            set.add(attributes, '"prefer-vector-width"="512"')
            set.add(attributes, "alignstack(64)")
        return context.get_dummy_value()

    return types.none(), generate


@inlined
def glide_to(work: Floats, row: int, lane: int, target: Scalar) -> None:
    """Start moving from the last target to ``target``, to arrive at the end of this control period."""
    now = work[row + 2 * LANES + lane]
    work[row + lane] = now
    work[row + LANES + lane] = target - now
    work[row + 2 * LANES + lane] = target


@inlined
def glided(work: Floats, row: int, lane: int, position: Scalar) -> Scalar:
    """Return the gliding value at ``position`` in [0, 1) of this control period."""
    return multiply_add(work[row + LANES + lane], position, work[row + lane])


@inlined
def clip(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Return ``x`` limited to ``low`` and ``high``."""
    x = x if x > low else low
    return x if x < high else high


@inlined
def soft_clip(x: Scalar) -> Scalar:
    """Return x - 4/27 x³ for ``x`` clipped to ±1.5: slope 1 at zero, flat at ±1."""
    x = clip(x, f32(-1.5), f32(1.5))
    return x * multiply_add(x * x, f32(-4 / 27), f32(1.0))


@inlined
def exp2(x: Scalar) -> Scalar:
    """Return 2 to the power of ``x`` in [-8, 8], with a relative error of 1e-6."""
    # a polynomial in x/8, raised to the eighth power
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
def tan(x: Scalar) -> Scalar:
    """Return the tangent of ``x`` in [0, 1.48], with a relative error of 2e-6."""
    # by a polynomial for the tangent of the half angle
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
