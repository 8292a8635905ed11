"""Beats that somebody marked: a WFDB annotation, or an array of R peaks in a file of NumPy or MATLAB."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.formats.errors import FormatError

__all__ = ["PEAK_ENDS", "Marked", "read_annotation", "read_peaks"]

PEAK_ENDS = (".npz", ".mat")

_AAMI = {
    **dict.fromkeys("NLRB", "N"), **dict.fromkeys("aAJSejn", "S"), **dict.fromkeys("VrE", "V"), "F": "F",
    **dict.fromkeys("/fQ?", "Q"),
}  # fmt: skip
"""WFDB's symbols of beats and their classes by ANSI/AAMI EC57, as WFDB's bxb counts them (e, j, n are S)."""

_RATE_KEYS = ("Fs", "fs", "rate_hz", "sampling_rate")
_BEAT_KEYS = ("qrs", "beats", "r_peaks", "rpeaks")


@dataclass(frozen=True, slots=True)
class Marked:
    """Beats of a record.

    Attributes
    ----------
    rate_hz : float
    length : int
        Samples of the record.
    beats : int64[n]
        R peaks, samples from 0, ascending.
    classes : list of str, optional
        N, S, V, F or Q for each; None when nobody said.
    unmarked : list of (int, int)
        Spans in which beats were not marked, because there are none: ventricular fibrillation and flutter.
    """

    rate_hz: float
    length: int
    beats: npt.NDArray[np.int64]
    classes: list[str] | None = None
    unmarked: list[tuple[int, int]] = field(default_factory=list)


def read_annotation(path: Path, annotator: str) -> Marked:
    """Read the beats of annotation `annotator` beside the header `path`.

    Raises
    ------
    FormatError
        There is no such annotation, or it cannot be read.
    """
    # Imported here: it brings pandas, and a service that reads no file would wait for both.
    import wfdb  # noqa: PLC0415

    stem = path.with_suffix("")
    if not stem.with_name(f"{stem.name}.{annotator}").is_file():
        others = sorted(
            file.suffix[1:] for file in path.parent.glob(f"{stem.name}.*")
            if file.suffix[1:] not in {"hea", "dat", "mat", "xws", ""}
        )  # fmt: skip
        msg = f"{path}: no annotation {annotator!r}; there are {', '.join(others) or 'none'}"
        raise FormatError(msg)
    try:
        header: Any = wfdb.rdheader(str(stem))
        annotation: Any = wfdb.rdann(str(stem), annotator)
    except Exception as error:  # what wfdb raises on damaged files is not said anywhere
        msg = f"{path}: annotation {annotator}: {type(error).__name__}: {error}"
        raise FormatError(msg) from error
    at = np.asarray(annotation.sample, np.int64)
    rate = float(header.fs)
    if annotation.fs and float(annotation.fs) != rate:  # an annotation may have a time base of its own
        at = np.rint(at * (rate / float(annotation.fs))).astype(np.int64)
    symbols = np.asarray(annotation.symbol, np.str_)
    end = int(at[-1]) + 1 if len(at) else 0
    length = int(header.sig_len or 0) or end
    unmarked = _fibrillation(symbols, at, length)
    keep = np.isin(symbols, list(_AAMI)) & (at >= 0) & (at < length)
    for low, high in unmarked:
        keep &= (at < low) | (at > high)
    order = np.argsort(at[keep], kind="stable")
    classes = [_AAMI[symbol] for symbol in symbols[keep][order].tolist()]
    return Marked(rate, length, at[keep][order], classes, unmarked)


def _fibrillation(
    symbols: npt.NDArray[np.str_], at: npt.NDArray[np.int64], length: int
) -> list[tuple[int, int]]:
    """Spans between ``[`` and ``]``; one that is not closed lasts to the end."""
    spans: list[tuple[int, int]] = []
    begun = -1
    for symbol, sample in zip(symbols.tolist(), at.tolist(), strict=True):
        if symbol == "[" and begun < 0:
            begun = sample
        elif symbol == "]" and begun >= 0:
            spans.append((begun, sample))
            begun = -1
    if begun >= 0:
        spans.append((begun, length))
    return spans


def read_peaks(path: Path, key: str = "", rate_hz: float | None = None, first: int | None = None) -> Marked:
    """Read R peaks from a .npz or .mat.

    Parameters
    ----------
    key : str
        Name of the array of positions in samples; empty: the only one of qrs, beats, r_peaks, rpeaks there is.
    rate_hz : float, optional
        Hz; else the file's own, under Fs, fs, rate_hz or sampling_rate.
    first : int, optional
        Number of the first sample: 0, or 1 as in MATLAB. Default: 1 for .mat, 0 for .npz.

    Raises
    ------
    FormatError
        The file, its key or its rate cannot be used.
    """
    arrays = _arrays(path)
    wanted = [key] if key else [each for each in _BEAT_KEYS if each in arrays]
    if len(wanted) != 1 or wanted[0] not in arrays:
        what = f"no array {key!r}" if key else "which array are the R peaks is not said (--beats)"
        msg = f"{path}: {what}; there are {', '.join(sorted(arrays)) or 'none'}"
        raise FormatError(msg)
    positions = np.asarray(arrays[wanted[0]]).ravel()
    if positions.dtype.kind not in "iuf" or not np.isfinite(positions).all():
        msg = f"{path}: {wanted[0]} holds {positions.dtype}; legal are positions of R peaks in samples"
        raise FormatError(msg)
    if rate_hz is None:
        rates = [np.asarray(arrays[each]).ravel() for each in _RATE_KEYS if each in arrays]
        if not rates or rates[0].size != 1:
            msg = f"{path}: says no sampling rate under {', '.join(_RATE_KEYS)}: give --rate, in Hz"
            raise FormatError(msg)
        rate_hz = float(rates[0][0])
    if not 0.0 < rate_hz < np.inf:
        msg = f"{path}: sampling rate {rate_hz:g} Hz; legal are numbers over 0"
        raise FormatError(msg)
    base = first if first is not None else int(path.suffix.lower() == ".mat")
    beats = np.rint(positions).astype(np.int64) - base
    if len(beats) and (beats[0] < 0 or (np.diff(beats) < 0).any()):
        msg = f"{path}: {wanted[0]} is not ascending from {base}; legal are positions of R peaks in samples"
        raise FormatError(msg)
    return Marked(rate_hz, int(beats[-1]) + 1 if len(beats) else 0, beats)


def _arrays(path: Path) -> dict[str, Any]:
    try:
        if path.suffix.lower() == ".npz":
            # Opened here: NumPy leaves a damaged file open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        from scipy.io import loadmat  # noqa: PLC0415 - heavy, and seldom needed

        return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except OSError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and SciPy each have their own
        msg = f"{path}: cannot be read: {type(error).__name__}: {error}"
        raise FormatError(msg) from error
