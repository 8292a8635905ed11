"""A lead of a CSV: a column of millivolts or of counts, whose rate the file does not say."""

from pathlib import Path

import numpy as np
import polars as pl

from ingest.formats.channels import choose
from ingest.formats.errors import FormatError
from ingest.formats.lead import Lead, from_levels

__all__ = ["read_csv"]

_MILLIVOLT_STEPS = 1000.0  # of numbers that are not whole: 1 µV each


def read_csv(path: Path, rate_hz: float | None, gain: float | None = None, channel: str = "") -> Lead:
    """Read a column.

    Parameters
    ----------
    path : Path
        Columns separated by commas, semicolons (decimal commas are then legal) or tabs, with or without a line of
        names. An empty field is a missing sample.
    rate_hz : float
        Samples a second.
    gain : float, optional
        Units of the numbers per millivolt; without one they are millivolts.
    channel : str
        Name or number of the column, needed where there are several.

    Raises
    ------
    FormatError
        A file, column or number that cannot be used.
    """
    if rate_hz is None:
        msg = f"{path}: a CSV does not say its sampling rate: give --rate, in Hz"
        raise FormatError(msg)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    separator = next((each for each in "\t;" if each in first), ",")
    try:
        frame = pl.read_csv(path, has_header=False, infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{path}: not a CSV: {said}"
        raise FormatError(msg) from None
    numbers = [_number(column, separator) for column in frame]
    named = any(frame[0, k] is not None and numbers[k][0] is None for k in range(frame.width))
    names = [str(frame[0, k] or "") for k in range(frame.width)] if named else [""] * frame.width
    if frame.width > 1 and not channel:
        there = ", ".join(names) if named else f"0 to {frame.width - 1}"
        msg = f"{path}: {frame.width} columns: say which with --channel; legal are {there}"
        raise FormatError(msg)
    number = choose(path, names, ["mV"] * frame.width, channel or "0")
    text, values = frame.to_series(number)[named:], numbers[number][named:]
    wrong = (text.is_not_null() & values.is_null()).arg_true()
    if len(wrong):
        msg = f"{path}: line {wrong[0] + 1 + named}: {text[wrong[0]]!r}; legal are numbers, or nothing"
        raise FormatError(msg)
    volts = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    valid = np.isfinite(volts)
    steps = 1.0 if gain else _MILLIVOLT_STEPS
    if gain and not (volts[valid] == np.floor(volts[valid])).all():
        steps = max(1.0, _MILLIVOLT_STEPS / gain)
    if np.abs(volts[valid]).max(initial=0.0) * steps > 2.0**53:
        msg = (
            f"{path}: a number of {np.abs(volts[valid]).max():g}; legal are millivolts, or counts with --gain"
        )
        raise FormatError(msg)
    level = np.rint(np.where(valid, volts, 0.0) * steps).astype(np.int64)
    return from_levels(path, names[number], rate_hz, (gain or 1.0) * steps, level, valid)


def _number(column: pl.Series, separator: str) -> pl.Series:
    """Give the numbers of a column of text; null where it is not one."""
    text = column.str.strip_chars()
    if separator != ",":
        text = text.str.replace(",", ".", literal=True)
    return text.cast(pl.Float64, strict=False)
