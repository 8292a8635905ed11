"""What can be found in an ECG lead, numbered: the first column of the rows that `kernels.ecg_lead` writes.

A row is five whole numbers (ROW_WIDTH): what was found, where it begins, where it ends (-1 while it lasts), the
position at which that was decided, and confidence in thousandths. One row is written when something begins, and one
when it ends.
"""

from kernels._jit import jit
from kernels._types import I64

__all__ = [
    "AF",
    "ASYS",
    "BIGEMINY",
    "BRADY",
    "NSVT",
    "PAUSE",
    "QRS_ONLY",
    "ROW_WIDTH",
    "SVT",
    "TACHY",
    "TRIGEMINY",
    "UNUSABLE",
    "VF",
    "VT",
    "VT_RUN",
    "write",
]

PAUSE = 0
ASYS = 1
BRADY = 2
TACHY = 3
AF = 4
VT = 5  # from the waveform
VF = 6  # or flutter
VT_RUN = 7  # ventricular tachycardia from the classes of beats
QRS_ONLY = 8  # quality: good is what is neither of these two
UNUSABLE = 9
NSVT = 10  # a run of V beats under 30 s
SVT = 11
BIGEMINY = 12
TRIGEMINY = 13

ROW_WIDTH = 5


@jit
def write(out: I64, n: int, kind: int, start: float, end: float, decided: float, confidence: float) -> int:
    """Write a row; give the number of rows."""
    out[n, 0] = kind
    out[n, 1] = int(start)
    out[n, 2] = int(end)
    out[n, 3] = int(decided)
    out[n, 4] = int(1000.0 * confidence + 0.5)
    return n + 1
