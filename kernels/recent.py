"""Which packets were seen lately: what intake tells a sender of repeats before the engine decides.

A table of fingerprints, each at the one place that its own bits say: a newer packet takes the place of an older one, so
that memory is bounded, what is remembered is recent, and a repeat may be missed but (but for one case in 2**64) never
made up. Numbers count per patient and device, as in `kernels.advance.seen`, which decides.
"""

import numpy as np
import numpy.typing as npt

from kernels._jit import jit

__all__ = ["note"]

_A = np.uint64(0x9E37_79B9_7F4A_7C15)
_B = np.uint64(0xBF58_476D_1CE4_E5B9)


@jit
def note(
    patient: npt.NDArray[np.uint64],
    device: npt.NDArray[np.uint64],
    seq: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint64],
    repeated: npt.NDArray[np.uint8],
) -> None:
    """Say which packets are in the table, and put the others there.

    Parameters
    ----------
    patient, device : uint64[n]
        Hashes of the ids.
    seq : int64[n]
    table : uint64[2**k]
        Kept from call to call; zeros at first.
    repeated : uint8[n]
        Written: 1 where the packet was seen before, in this call or an earlier one.
    """
    mask = np.uint64(len(table) - 1)
    for i in range(len(seq)):
        mixed = (patient[i] ^ np.uint64(device[i] * _A)) + np.uint64(np.uint64(seq[i]) * _B)
        mixed = np.uint64((mixed ^ (mixed >> np.uint64(31))) * _B)
        mixed = (mixed ^ (mixed >> np.uint64(29))) | np.uint64(1)  # 0 marks an empty place
        place = (mixed >> np.uint64(1)) & mask
        repeated[i] = table[place] == mixed
        table[place] = mixed
