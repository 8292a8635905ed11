"""Outcomes: what became of patients, against which alerts are judged. A table of patient, time and kind."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

__all__ = ["OUTCOMES", "OutcomeError", "read_outcomes"]

OUTCOMES = pl.Schema({"patient": pl.String, "t_ms": pl.Int64, "kind": pl.String})
"""Columns of outcomes; `t_ms` in ms UTC."""

_TIMES = ("t_ms", "time_ms", "time")
_MOST_BYTES = 1 << 30


class OutcomeError(Exception):
    """The file cannot be used; the message names it, what was wrong and what is legal."""


def read_outcomes(path: Path, kinds: Sequence[str] = ()) -> pl.DataFrame:
    """Read a table of outcomes.

    Parameters
    ----------
    path : Path
        CSV or Parquet with columns patient, kind, and one of ``t_ms``, ``time_ms`` (ms UTC) or ``time`` (ISO 8601 with
        an offset, or Parquet's own time with a zone). Others are ignored.
    kinds : sequence of str
        Kinds wanted; all where there is none.

    Returns
    -------
    DataFrame
        `OUTCOMES`, each row once, by patient and time.

    Raises
    ------
    OutcomeError, OSError
    """
    if path.stat().st_size > _MOST_BYTES:
        msg = f"{path}: {path.stat().st_size:,} bytes; legal are at most {_MOST_BYTES:,}"
        raise OutcomeError(msg)
    try:
        table = pl.read_parquet(path) if path.suffix in (".parquet", ".pq") else pl.read_csv(path)
    except pl.exceptions.PolarsError as error:
        msg = f"{path}: {error}"
        raise OutcomeError(msg) from error
    time = next((name for name in _TIMES if name in table.columns), None)
    missing = [name for name in ("patient", "kind") if name not in table.columns]
    if time is None or missing:
        lacking = ", ".join([*missing, *([] if time else ["a time"])])
        msg = f"{path}: has no column for {lacking}; legal are patient, kind and one of {', '.join(_TIMES)}"
        raise OutcomeError(msg)
    rows = table.select(
        pl.col("patient").cast(pl.String),
        _time(table, time, path).alias("t_ms"),
        pl.col("kind").cast(pl.String),
    )
    lacking_rows = rows.with_row_index("row").filter(pl.any_horizontal(pl.all().is_null()))
    if lacking_rows.height:
        msg = f"{path}: row {lacking_rows[0, 'row'] + 1} lacks a patient, a time or a kind"
        raise OutcomeError(msg)
    if kinds:
        known = sorted(rows["kind"].unique().to_list())
        unknown = sorted(set(kinds) - set(known))
        if unknown:
            msg = f"{path}: no outcome of kind {unknown[0]!r}; there are {', '.join(known)}"
            raise OutcomeError(msg)
        rows = rows.filter(pl.col("kind").is_in(list(kinds)))
    return rows.unique().sort("patient", "t_ms", "kind").cast(OUTCOMES)


def _time(table: pl.DataFrame, name: str, path: Path) -> pl.Series:
    column = table[name]
    if column.dtype.is_integer() and name != "time":
        return column.cast(pl.Int64)
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            msg = f"{path}: column {name!r} has times without a zone; legal are times with one, or t_ms"
            raise OutcomeError(msg)
        return column.dt.epoch("ms")
    if column.dtype == pl.String:
        try:
            times = column.str.to_datetime(time_unit="ms", time_zone="UTC", strict=True)
        except pl.exceptions.PolarsError as error:
            msg = f"{path}: column {name!r}: {str(error).splitlines()[0]}; legal is 2026-01-05T08:02:11+01:00"
            raise OutcomeError(msg) from error
        without = column.filter(~column.str.contains(r"(Z|[+-]\d\d:?\d\d)$"))
        if len(without):
            msg = f"{path}: time {without[0]!r} has no offset; legal is 2026-01-05T08:02:11+01:00"
            raise OutcomeError(msg)
        return times.dt.epoch("ms")
    msg = f"{path}: column {name!r} is {column.dtype}; legal are ms UTC in t_ms, or ISO 8601 with an offset in time"
    raise OutcomeError(msg)
