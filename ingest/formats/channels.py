"""Which signal of a file is the ECG to read: asked for by name or number, else II, else I, else the first ECG."""

from collections.abc import Sequence
from pathlib import Path

from ingest.formats.errors import FormatError

__all__ = ["PER_MILLIVOLT", "NoSignalError", "choose", "ecg_numbers", "lead_code", "unit_of"]

PER_MILLIVOLT = {"mv": 1.0, "uv": 1000.0, "µv": 1000.0, "μv": 1000.0, "v": 0.001, "nv": 1e6}
"""How many of a unit are a millivolt."""

_LEAD_II = {"II", "MLII", "ECG LEAD II", "ECG II", "LEAD II"}
_LEAD_I = {"I", "MLI", "ECG LEAD I", "ECG I", "LEAD I"}
_ECG = {"III", "AVR", "AVL", "AVF", "V", "MCL1", "MLIII", "CM5", "CM2", "CC5", "ML5", "D3", "D4"}
_NOT_ECG = (
    "PLETH",
    "PPG",
    "ABP",
    "ART",
    "BP",
    "CVP",
    "PAP",
    "ICP",
    "RESP",
    "SPO2",
    "CO2",
    "EEG",
    "EMG",
    "EOG",
)


class NoSignalError(FormatError):
    """A file without an ECG: annotations only, or other signals. In a folder it is passed over, and said."""


def unit_of(unit: object) -> str:
    """Give a unit as it stands in `PER_MILLIVOLT`; a signal that says none is in millivolts, as WFDB has it."""
    return str(unit or "mV").strip().lower()


def lead_code(name: str) -> str:
    """Give our name of the lead that a file calls `name`."""
    upper = name.strip().upper()
    return "ecg_lead_ii" if upper in _LEAD_II else "ecg_lead_i" if upper in _LEAD_I else "ecg_single"


def ecg_numbers(names: Sequence[str], units: Sequence[object]) -> list[int]:
    """Give the numbers of all signals that may be an ECG: in volts, and not called otherwise."""
    return [
        k
        for k, name in enumerate(names)
        if unit_of(units[k]) in PER_MILLIVOLT and not any(word in name.upper() for word in _NOT_ECG)
    ]


def choose(path: Path, names: Sequence[str], units: Sequence[object], channel: str = "") -> int:
    """Give the number of the signal to read.

    Parameters
    ----------
    path : Path
        For what is said.
    names, units : sequences
        Of the signals, as the file has them.
    channel : str
        Name or number (from 0) of the one wanted; a name goes before a number. Empty: the usual choice.

    Returns
    -------
    int
        -1 when none was asked for and none is an ECG.

    Raises
    ------
    FormatError
        There is no such signal, two are called so, or it is not in volts.
    """
    upper = [name.strip().upper() for name in names]
    volts = [unit_of(unit) in PER_MILLIVOLT for unit in units]
    if channel:
        wanted = _named(path, names, channel)
        if not volts[wanted]:
            msg = f"{path}: channel {names[wanted]} is in {units[wanted]!r}; legal are units of voltage: V, mV, uV, nV"
            raise FormatError(msg)
        return wanted
    for usual in (_LEAD_II, _LEAD_I):
        for k, name in enumerate(upper):
            if name in usual and volts[k]:
                return k
    usable = ecg_numbers(names, units)
    named = [
        k
        for k in usable
        if upper[k] in _ECG or "ECG" in upper[k] or upper[k].strip("0123456789") in ("V", "EKG")
    ]
    return (named or usable or [-1])[0]


def _named(path: Path, names: Sequence[str], channel: str) -> int:
    same = [k for k, name in enumerate(names) if name.strip().upper() == channel.strip().upper()]
    if len(same) == 1:
        return same[0]
    if not same and channel.isdecimal() and int(channel) < len(names):
        return int(channel)
    there = ", ".join(name.strip() or "(no name)" for name in names)
    if same:
        msg = f"{path}: {len(same)} channels are called {channel}; tell them apart by number, 0 to {len(names) - 1}"
    else:
        msg = f"{path}: no channel {channel}; legal are {there}, or 0 to {len(names) - 1}"
    raise FormatError(msg)
