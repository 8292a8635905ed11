"""Ask for a cache line before it is needed.

State of a million patients does not fit any cache, and what a packet needs of it is a dozen lines at random
places. Asked for some packets ahead they arrive while others are worked on.

A processor waits for some twenty lines at a time: who asks for a hundred at once waits until most are there. `ask` asks
for a few of them, wherever it is called in the work that goes on meanwhile.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels._jit import jit
from kernels._types import I64

__all__ = ["address", "ask", "prefetch"]

_LINE = 64  # bytes
_AT_ONCE = 16  # lines


def _fetch(builder: Any, at: Any) -> None:  # noqa: ANN401 - llvmlite ships no types
    """Ask for the line at an address."""
    pointer = builder.inttoptr(at, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, ir.IntType(32), ir.IntType(32), ir.IntType(32)])
    function = builder.module.declare_intrinsic("llvm.prefetch", (pointer.type,), kind)
    # Read, keep in all levels, data.
    builder.call(function, [pointer, *(ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))])


def _address(context: Any, builder: Any, array_type: Any, array: Any, *indices: Any) -> Any:  # noqa: ANN401 - likewise
    """Give the address of an element."""
    struct = context.make_array(array_type)(context, builder, array)
    strides = [builder.extract_value(struct.strides, i) for i in range(len(indices))]
    base = builder.ptrtoint(struct.data, strides[0].type)
    for at, stride in zip(indices, strides, strict=True):
        base = builder.add(base, builder.mul(at, stride))
    return base


# Numba calls these with its own types, of which it ships no stubs: they are not annotated.
@intrinsic
def prefetch(typingctx, array, row, column):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Fetch the cache line of ``array[row, column]`` of a two-dimensional array; any index is harmless.

    Parameters
    ----------
    array : array of two dimensions
    row, column : int64
    """
    if not isinstance(array, types.Array) or array.ndim != 2:
        return None

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        _fetch(builder, _address(context, builder, signature.args[0], *arguments))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def address(typingctx, array, row):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Give the address of the beginning of a row of a two-dimensional array, int64.

    Parameters
    ----------
    array : array of two dimensions
    row : int64
    """
    if not isinstance(array, types.Array) or array.ndim != 2:
        return None

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        pointer, at = arguments
        return _address(context, builder, signature.args[0], pointer, at, ir.Constant(at.type, 0))

    return types.int64(array, types.int64), generate


@intrinsic
def _fetch_at(typingctx, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
    """Ask for the line at an address."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        _fetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@jit
def ask(span: I64) -> None:
    """Ask for the next sixteen lines of a span of memory.

    Parameters
    ----------
    span : int64[2]
        Addresses: the next byte to ask for, which moves on, and the end. Nothing is asked for when they are equal.
    """
    at = span[0]
    if at < span[1]:
        # Their number is known to the compiler: a few bytes of code. What is beyond the end is asked for in vain.
        for k in range(_AT_ONCE):
            _fetch_at(at + k * _LINE)
        span[0] = min(at + _AT_ONCE * _LINE, span[1])
