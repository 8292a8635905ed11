"""Where the packets of a body begin: for who must take some of them out, bytes and all."""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit
from kernels.refusals import OK
from kernels.wire import skip

__all__ = ["starts"]


@jit
def starts(
    data: npt.NDArray[np.uint8],
    at: int,
    stop: int,
    stack: npt.NDArray[np.int64],
    begin: npt.NDArray[np.int64],
) -> int:
    """Find where each object of a body begins.

    Parameters
    ----------
    data : uint8[n]
    at, stop : int
        The body is ``data[at:stop]``.
    stack : int64[MAX_DEPTH]
        Scratch.
    begin : int64[stop - at + 1]
        Written: where each begins, and last where the last well-formed one ends. What follows that, to `stop`, is not
        well-formed msgpack.

    Returns
    -------
    int
        How many objects there are; one less than what was written.
    """
    count = 0
    begin[0] = at
    while at < stop:
        after, reason = skip(data, at, stop, stack)
        if reason != OK:
            break
        at = after
        count += 1
        begin[np.uint64(count)] = at
    return count
