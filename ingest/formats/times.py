"""A column of times to milliseconds UTC, whole columns at a time.

Legal are ISO 8601 with an offset or Z, numbers (epoch seconds or milliseconds), timestamps of Parquet, and times
without an offset when a zone is given. A time that occurs twice when clocks go back is taken as the first of the
two and counted; one that clocks skip does not exist and is refused.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.columns import NO_TIME
from ingest.formats.mapping import TimeRules
from ingest.formats.texts import text_bytes
from ingest.reasons import Reason
from kernels import isotime

__all__ = ["Clocks", "to_ms"]

_NUMBER = r"^[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$"
_SECONDS_UNDER = 1e11  # as seconds the year 5138, as milliseconds 1973
_MAX_MS = 1 << 60


@dataclass(slots=True)
class Clocks:
    """Times without an offset, counted: all that were read by the zone, those twice on its clocks, those skipped."""

    naive: int = 0
    overlap: int = 0
    gap: int = 0


Times = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]


def to_ms(column: pl.Series, rules: TimeRules, clocks: Clocks) -> Times:
    """Read a column of times.

    Parameters
    ----------
    column : Series[n]
        Text, numbers, dates, or timestamps with or without a zone.
    rules : TimeRules
    clocks : Clocks
        Counted up.

    Returns
    -------
    t_ms : int64[n]
        Milliseconds UTC, parts of a millisecond dropped; NO_TIME where the time was refused.
    reason : uint8[n]
        0, BAD_ROW or NAIVE_TIME.
    """
    never = pl.Series([False]).new_from_index(0, len(column))
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is not None:
            return _result(column.dt.epoch("ms"), never)
        return _result(*_localised(column.dt.cast_time_unit("ms"), rules, clocks))
    if column.dtype == pl.Date:
        return _result(*_localised(_days(column, rules), rules, clocks, column.is_not_null()))
    if column.dtype.is_numeric():
        return _result(_epoch(column, rules), never)
    text = column.cast(pl.String).str.strip_chars()
    return _result(*(_formatted(text, rules, clocks) if rules.format else _iso(text, rules, clocks)))


def _result(t_ms: pl.Series, naive: pl.Series) -> Times:
    """Give the arrays; a null time is refused, as NAIVE_TIME where `naive`, else as BAD_ROW."""
    missing = t_ms.is_null().to_numpy()
    reason = np.where(missing, np.uint8(Reason.BAD_ROW), np.uint8(Reason.OK))
    reason[missing & naive.fill_null(value=False).to_numpy()] = Reason.NAIVE_TIME
    return t_ms.fill_null(NO_TIME).to_numpy().astype(np.int64, copy=True), reason


def _epoch(column: pl.Series, rules: TimeRules) -> pl.Series:
    whole = column.dtype.is_integer()
    x = pl.col("x") if whole else pl.col("x").cast(pl.Float64)
    near = pl.col("x").cast(pl.Float64)
    factor: pl.Expr
    if rules.unit == "auto":
        factor = pl.when(near.abs() < _SECONDS_UNDER).then(1000).otherwise(1)
    else:
        factor = pl.lit(1000 if rules.unit == "s" else 1)
    # The size is tested as a float: the product of a huge integer would wrap.
    legal = near.is_finite() & ((near * factor).abs() < _MAX_MS)
    scaled: pl.Expr = pl.when(legal).then(x)
    scaled = scaled.cast(pl.Int64, strict=False) * factor if whole else (scaled * factor + 0.5).floor()
    return column.to_frame("x").select(t=scaled.cast(pl.Int64, strict=False))["t"]


def _days(column: pl.Series, rules: TimeRules) -> pl.Series:
    """Dates at the time of day that the mapping gives; null where it gives none: a day is not a moment."""
    if not rules.time_of_day:
        return pl.Series([None], dtype=pl.Datetime("ms")).new_from_index(0, len(column))
    hours, minutes, seconds = (*map(int, rules.time_of_day.split(":")), 0)[:3]
    moment = pl.col("d").cast(pl.Datetime("ms")) + pl.duration(hours=hours, minutes=minutes, seconds=seconds)
    return column.to_frame("d").select(t=moment.cast(pl.Datetime("ms")))["t"]


def _localised(
    naive: pl.Series, rules: TimeRules, clocks: Clocks, readable: pl.Series | None = None
) -> tuple[pl.Series, pl.Series]:
    """Read clock times of the zone; the answer is (ms UTC or null, whether the time was readable at all)."""
    readable = naive.is_not_null() if readable is None else readable
    if not rules.zone:
        return pl.Series([None], dtype=pl.Int64).new_from_index(0, len(naive)), readable
    local = naive.dt.replace_time_zone(rules.zone, ambiguous="earliest", non_existent="null")
    t_ms = local.dt.epoch("ms")
    later = naive.dt.replace_time_zone(rules.zone, ambiguous="latest", non_existent="null").dt.epoch("ms")
    clocks.naive += len(t_ms) - t_ms.null_count()
    clocks.overlap += int((t_ms != later).sum() or 0)
    clocks.gap += t_ms.null_count() - naive.null_count()
    return t_ms, readable


def _formatted(text: pl.Series, rules: TimeRules, clocks: Clocks) -> tuple[pl.Series, pl.Series]:
    """Read times in the format that the mapping gives: with an offset, of a clock, or days."""
    form = rules.format
    if "%z" in form or "%:z" in form or "%#z" in form:
        aware = text.str.to_datetime(form, strict=False, time_unit="ms", time_zone="UTC")
        return aware.dt.epoch("ms"), pl.Series([False]).new_from_index(0, len(text))
    if not any(code in form for code in ("%H", "%I", "%T", "%R", "%X", "%c", "%s", "%r", "%k", "%l")):
        day = text.str.to_date(form, strict=False)
        return _localised(_days(day, rules), rules, clocks, day.is_not_null())
    return _localised(text.str.to_datetime(form, strict=False, time_unit="ms"), rules, clocks)


def _iso(text: pl.Series, rules: TimeRules, clocks: Clocks) -> tuple[pl.Series, pl.Series]:
    """Read ISO 8601 and numbers, mixed as they may be."""
    n = len(text)
    kind = np.empty(n, np.uint8)
    read = np.empty(n, np.int64)
    isotime.parse_iso(
        *text_bytes(text.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())), kind, read
    )
    t_ms = _where(read, kind == isotime.AWARE)
    clock = _where(read, kind == isotime.CLOCK).cast(pl.Datetime("ms"))
    day = _where(read, kind == isotime.DAY).cast(pl.Datetime("ms")).cast(pl.Date)
    naive = clock.is_not_null() | day.is_not_null()
    if naive.any():
        local, _ = _localised(_either(clock, _days(day, rules)), rules, clocks)
        t_ms = _either(t_ms, local)
    if (kind == isotime.UNREADABLE).any():
        number = text.set(~text.str.contains(_NUMBER).fill_null(value=False), None)
        # Whole milliseconds are exact in a float64 until the year 287396.
        t_ms = _either(t_ms, _epoch(number.cast(pl.Float64, strict=False), rules))
    return t_ms, naive


def _where(values: npt.NDArray[np.int64], there: npt.NDArray[np.bool_]) -> pl.Series:
    """Give the values where they are `there`, null elsewhere."""
    return pl.select(pl.when(pl.Series(there)).then(pl.Series(values))).to_series()


def _either(first: pl.Series, second: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(first, second)).to_series()
