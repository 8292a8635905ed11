"""What can be found in an ECG lead, numbered: the first column of the rows that `kernels.ecg_lead` writes.

A row is five whole numbers (ROW_WIDTH): what was found, where it begins, where it ends (-1 while it lasts), the
position at which that was decided, and confidence in thousandths. One row is written when something begins, and one
when it ends.

From MEASURES on, a row is a measure of a span that is over: the last column is its value in thousandths of its unit.
"""

from kernels._jit import jit
from kernels._types import I64

__all__ = [
    "AF",
    "AF_BURDEN",
    "ASYS",
    "BEATS",
    "BIGEMINIES",
    "BIGEMINY",
    "BRADY",
    "COUPLETS",
    "MEASURES",
    "NSVT",
    "PAUSE",
    "PNN50",
    "PVC_BURDEN",
    "QRS_ONLY",
    "RATE_HOUR",
    "RATE_MINUTE",
    "RMSSD",
    "ROW_WIDTH",
    "RUNS",
    "R_ON_TS",
    "SDNN",
    "SVE_BURDEN",
    "SVT",
    "TACHY",
    "TRIGEMINIES",
    "TRIGEMINY",
    "UNUSABLE",
    "VF",
    "VT",
    "VT_RUN",
    "WATCHED",
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

MEASURES = 20
RATE_MINUTE = 20  # /min
SDNN = 21  # ms
RMSSD = 22  # ms
PNN50 = 23  # %
RATE_HOUR = 24  # /min
WATCHED = 25  # min
AF_BURDEN = 26  # %
BEATS = 27
PVC_BURDEN = 28  # %
SVE_BURDEN = 29  # %
COUPLETS = 30
RUNS = 31
BIGEMINIES = 32
TRIGEMINIES = 33
R_ON_TS = 34

ROW_WIDTH = 5


@jit
def write(out: I64, n: int, kind: int, start: float, end: float, decided: float, confidence: float) -> int:
    """Write a row; give the number of rows. A measure is written with its value as confidence."""
    out[n, 0] = kind
    out[n, 1] = int(start)
    out[n, 2] = int(end)
    out[n, 3] = int(decided)
    out[n, 4] = int(1000.0 * confidence + 0.5)
    return n + 1
