"""Names of the array types that kernels take, for annotations only."""

import numpy as np
import numpy.typing as npt

__all__ = ["F64", "I8", "I16", "I32", "I64", "U8", "U16", "U64", "Flag", "Flags", "Int"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Flag = bool | np.bool_  # one of them, NumPy's when it was read from an array

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Int = int  # or np.int64, where it was read from an array: the same to Numba
