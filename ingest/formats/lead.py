"""One ECG lead of a file, whole, as the kernels take it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ingest.formats.errors import FormatError

__all__ = ["MISSING", "Lead", "check_rate", "from_levels"]

MISSING = -32768
"""The sample of a moment that has none."""

_RATES_HZ = (100.0, 1000.0)  # as in packets


@dataclass(frozen=True, slots=True)
class Lead:
    """Samples of one lead.

    Attributes
    ----------
    channel : str
        What the file calls it.
    rate_hz, gain : float
        Samples a second; units per millivolt.
    samples : int16[n]
        In units of ``1 / gain`` millivolt; MISSING where there is no reading.
    """

    channel: str
    rate_hz: float
    gain: float
    samples: npt.NDArray[np.int16]


def check_rate(path: Path, rate_hz: float) -> float:
    """Give the rate, or say that it is not one of ours."""
    low, high = _RATES_HZ
    if not low <= rate_hz <= high:
        msg = f"{path}: sampling rate {rate_hz:g} Hz; legal are {low:g} to {high:g} Hz"
        raise FormatError(msg)
    return rate_hz


def from_levels(
    path: Path,
    channel: str,
    rate_hz: float,
    gain: float,
    level: npt.NDArray[np.int64],
    valid: npt.NDArray[np.bool_],
) -> Lead:
    """Make a lead of whole numbers of any size, the zero of voltage at 0.

    Parameters
    ----------
    level : int64[n]
        In units of ``1 / gain`` millivolt. The lowest bits go if 16 would not hold them.
    valid : bool[n]
    """
    check_rate(path, rate_hz)
    if not 0.0 < gain < np.inf:
        msg = f"{path}: gain {gain:g} per mV; legal are numbers over 0"
        raise FormatError(msg)
    if not len(level):
        msg = f"{path}: there are no samples"
        raise FormatError(msg)
    shift = max(0, int(np.abs(level[valid]).max(initial=0)).bit_length() - 15)
    samples = np.where(valid, level >> shift, MISSING).astype(np.int16)
    return Lead(channel, rate_hz, gain / (1 << shift), samples)
