"""Multiply and add, rounded once, wherever it stands.

The compiler may join a multiplication and an addition, and reorder sums, as it likes (`kernels._jit`), and chooses anew
in each copy that it makes of a loop's body. A recursion that must give the same numbers wherever a stream was cut says
itself what is joined.
"""

from numba import types
from numba.extending import intrinsic

__all__ = ["fma"]


# Numba calls these with its own types, of which it ships no stubs: they are not annotated.
@intrinsic
def fma(typingctx, a, b, c):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Give ``a * b + c`` of three floats."""
    if not a == b == c == types.float64:
        return None

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return builder.fma(*arguments)

    return types.float64(a, b, c), generate
