"""A lead of an EDF or EDF+ file, read through edfio (Kemp and Olivan 2003; https://www.edfplus.info/specs)."""

from pathlib import Path

import edfio
import numpy as np

from ingest.formats.channels import PER_MILLIVOLT, NoSignalError, choose, unit_of
from ingest.formats.errors import FormatError
from ingest.formats.lead import Lead, from_levels

__all__ = ["read_edf"]


def read_edf(path: Path, channel: str = "") -> Lead:
    """Read one lead.

    Raises
    ------
    FormatError
        It cannot be read, has gaps (EDF+D), or has no such channel.
    """
    try:
        edf = edfio.read_edf(path)
        names = [signal.label for signal in edf.signals]
        units = [signal.physical_dimension for signal in edf.signals]
        continuous = edf.is_continuous
    except OSError:
        raise
    except Exception as error:  # what edfio raises on damaged files is not said anywhere
        msg = f"{path}: not an EDF file: {type(error).__name__}: {error}"
        raise FormatError(msg) from error
    if not continuous:
        msg = f"{path}: a discontinuous recording (EDF+D), which is not supported; legal are EDF and EDF+C"
        raise FormatError(msg)
    number = choose(path, names, units, channel)
    if number < 0:
        msg = f"{path}: no ECG signal; there are {', '.join(names) or 'none'}"
        raise NoSignalError(msg)
    signal = edf.signals[number]
    try:
        low, high = signal.physical_min, signal.physical_max
        bottom, top = signal.digital_min, signal.digital_max
        per_unit = (top - bottom) / (high - low)
        digital = np.asarray(signal.digital, np.int64)
        rate = float(signal.sampling_frequency)
    except Exception as error:
        msg = f"{path}: channel {names[number]} cannot be read: {type(error).__name__}: {error}"
        raise FormatError(msg) from error
    level = digital - round(bottom - low * per_unit)
    # Physical limits the wrong way round are an inverted signal.
    gain = per_unit * PER_MILLIVOLT[unit_of(units[number])]
    if gain < 0.0:
        level, gain = -level, -gain
    return from_levels(path, names[number], rate, gain, level, np.ones(len(level), np.bool_))
