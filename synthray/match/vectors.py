"""Vectors of 16 float32 numbers in compiled code: one value of 16 sounds, in one 512-bit register.

LLVM vectorises a loop over lanes only if it can prove that the rows of an array do not overlap. In an FFT, the offsets
between rows change from pass to pass, so LLVM cannot prove it. Here each operation is on whole vectors. CPUs with
narrower registers execute the same operations in parts, with the same results.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from synthray.synth.dsp.lanes import compiled_intrinsic

WIDTH = 16
_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(32), WIDTH)
_ALIGNMENT = 4  # bytes; a larger number would not make loads of aligned data faster


class Vector(types.Type):  # type: ignore[misc]  # Numba has no types
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="synthray_vector")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@compiled_intrinsic
def load(_typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Return the vector at ``array[index : index + 16]`` of a contiguous float32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=_ALIGNMENT)

    return vector(array, types.intp), generate


@compiled_intrinsic
def store(_typing_context: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    """Write a vector to ``array[index : index + 16]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], target, align=_ALIGNMENT)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@compiled_intrinsic
def splat(_typing_context: Any, number: Any) -> Any:  # noqa: ARG001
    """Return a vector of 16 times a float32 number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, _constant_bits(0))

    return vector(types.float32), generate


@compiled_intrinsic
def add(_typing_context: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """Compute ``x + y``."""
    return vector(vector, vector), lambda _context, builder, _signature, arguments: builder.fadd(*arguments)


@compiled_intrinsic
def subtract(_typing_context: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """Compute ``x - y``."""
    return vector(vector, vector), lambda _context, builder, _signature, arguments: builder.fsub(*arguments)


@compiled_intrinsic
def multiply(_typing_context: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """Compute ``x * y``."""
    return vector(vector, vector), lambda _context, builder, _signature, arguments: builder.fmul(*arguments)


@compiled_intrinsic
def multiply_add(_typing_context: Any, x: Any, y: Any, z: Any) -> Any:  # noqa: ARG001
    """Compute ``x * y + z``, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        # llvmlite's IRBuilder.fma accepts scalars only.
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v16f32"), arguments)

    return vector(vector, vector, vector), generate


@compiled_intrinsic
def maximum(_typing_context: Any, x: Any, y: Any) -> Any:  # noqa: ARG001
    """Return the larger number of each pair."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return vector(vector, vector), generate


@compiled_intrinsic
def exponent(_typing_context: Any, x: Any) -> Any:  # noqa: ARG001
    """Return the exponents of positive normal numbers: ``x = mantissa(x) * 2 ** exponent(x)``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.lshr(builder.bitcast(arguments[0], _BITS), _constant_bits(23))
        return builder.sitofp(builder.sub(bits, _constant_bits(127)), _VECTOR)

    return vector(vector), generate


@compiled_intrinsic
def mantissa(_typing_context: Any, x: Any) -> Any:  # noqa: ARG001
    """Return the mantissas in [1, 2) of positive normal numbers."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.and_(builder.bitcast(arguments[0], _BITS), _constant_bits(0x7FFFFF))
        return builder.bitcast(builder.or_(bits, _constant_bits(0x3F800000)), _VECTOR)

    return vector(vector), generate


def _constant_bits(value: int) -> Any:
    return ir.Constant(_BITS, [value] * WIDTH)
