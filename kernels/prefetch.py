"""Ask for a cache line before it is needed.

State of a million patients does not fit any cache, and what a packet needs of it is a dozen lines at random
places. Asked for some packets ahead they arrive while others are worked on.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["prefetch"]


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
        pointer, at, along = arguments
        struct = context.make_array(signature.args[0])(context, builder, pointer)
        rows, columns = (builder.extract_value(struct.strides, i) for i in range(2))
        integer = rows.type
        shift = builder.add(builder.mul(at, rows), builder.mul(along, columns))
        base = builder.ptrtoint(struct.data, integer)
        address = builder.inttoptr(builder.add(base, shift), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, ir.IntType(32), ir.IntType(32), ir.IntType(32)])
        function = builder.module.declare_intrinsic("llvm.prefetch", (address.type,), kind)
        # Read, keep in all levels, data.
        builder.call(function, [address, *(ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate
