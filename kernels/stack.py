"""Room for what a kernel writes and forgets, on the stack of its thread.

Kernels may not create arrays (`kernels._jit.jit`), and scratch that the caller hands over is one more argument for all
between. What a few hundred numbers need is this: the compiler knows that nothing else points there, so that loops over
it become vectors without a look at what overlaps.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

__all__ = ["stack"]


# Numba calls these with its own types, of which it ships no stubs: they are not annotated.
@intrinsic(prefer_literal=True)
def stack(typingctx, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Give a float64[n] that lives until the calling kernel returns; what is in it is not defined.

    Parameters
    ----------
    n : int
        A constant, some thousands at most.
    """
    if not isinstance(n, types.IntegerLiteral):
        return None
    length = n.literal_value
    of = types.Array(types.float64, 1, "C")

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        data = cgutils.alloca_once(builder, ir.DoubleType(), size=length)
        array = context.make_array(of)(context, builder)
        word = context.get_constant(types.intp, 8)
        populate_array(
            array,
            data=data,
            shape=[context.get_constant(types.intp, length)],
            strides=[word],
            itemsize=word,
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001

    return of(n), generate
