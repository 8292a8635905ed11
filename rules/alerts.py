"""What the engine says of an alert: one row for each thing that happened to it, with its evidence."""

from enum import StrEnum
from typing import Final

import polars as pl

__all__ = ["SCHEMA", "Happening", "empty"]


class Happening(StrEnum):
    """What happened to an alert."""

    OPENED = "opened"
    RAISED = "raised"  # to a higher level
    EVIDENCE = "evidence"  # another rule, or the same one again
    RECOVERED = "recovered"  # ended by itself: TECHNIQUE and ORANGE
    LATCHED = "latched"  # ROUGE whose condition is over: waits for a person
    CLOSED = "closed"  # by a person, or assumed so in a replay without persons


_FIGURE = pl.Struct({"name": pl.String, "value": pl.Float64, "unit": pl.String})
_LIMIT = pl.Struct({"name": pl.String, "value": pl.Float64, "unit": pl.String, "origin": pl.String})
_POINT = pl.Struct({"signal": pl.String, "t_ms": pl.Int64, "value": pl.Float64})

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "alert_id": pl.String,  # 16 hexadecimal digits, from patient, rule and onset
    "patient": pl.String,
    "protocol": pl.String,
    "version": pl.String,
    "protocol_hash": pl.String,
    "signed": pl.Boolean,
    "problem": pl.String,
    "rule": pl.String,  # that made this row
    "opened_by": pl.String,  # rule that opened the alert
    "level": pl.String,
    "kind": pl.String,
    "onset_ms": pl.Int64,
    "t_ms": pl.Int64,  # event time
    "clock_ms": pl.Int64,  # the line's clock
    "offset": pl.Int64,  # of the log entry whose packet made it; null on a tick
    "sentence": pl.String,
    "features": pl.List(_FIGURE),
    "limits": pl.List(_LIMIT),
    "points": pl.List(_POINT),
    "kernels": pl.String,
    "time_basis": pl.String,  # "arrival" (live and its replay) or "event" (a file without receipt times)
}

SCHEMA: Final = pl.Schema(_COLUMNS)
"""Columns of the alerts table."""


def empty() -> pl.DataFrame:
    """Give a table without rows."""
    return SCHEMA.to_frame()
