"""Zones by name, as the arrays that the kernels read (`kernels.localtime`)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST_YEAR", "LAST_YEAR", "zone_arrays", "zone_tables"]

FIRST_YEAR = 2000
LAST_YEAR = 2100

_DAY_MS = 86_400_000
_EARLY = -(2**62)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = (datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (datetime(LAST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def _offset_ms(zone_info: ZoneInfo, t_ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=t_ms)).astimezone(zone_info).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def _load(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        msg = f"zone {name!r}: legal are names of the time zone database, such as Europe/Paris"
        raise ValueError(msg) from error
    except KeyError as error:
        msg = f"zone {name!r} is not in the time zone database; legal is, for example, Europe/Paris"
        raise ValueError(msg) from error


@cache
def _transitions(name: str) -> tuple[tuple[int, int], ...]:
    """Give (milliseconds UTC, new offset) of each change of clock, after the offset at first."""
    zone_info = _load(name)
    changes = [(_EARLY, _offset_ms(zone_info, _FIRST_MS))]
    # Every change lasts longer than a day, but for none since 2000: look at each noon, then bisect to the
    # millisecond.
    for low in range(_FIRST_MS, _LAST_MS, _DAY_MS):
        after = _offset_ms(zone_info, low + _DAY_MS)
        if after == changes[-1][1]:
            continue
        before, until = low, low + _DAY_MS
        while until - before > 1:
            middle = (before + until) // 2
            if _offset_ms(zone_info, middle) == after:
                until = middle
            else:
                before = middle
        # Local dates may not go back: see kernels.localtime.
        if (until + after) // _DAY_MS < (until - 1 + changes[-1][1]) // _DAY_MS:
            when = f"{_EPOCH + timedelta(milliseconds=until):%Y-%m-%d %H:%M} UTC"
            msg = (
                f"zone {name!r}: at {when} its clocks went back over midnight, and its local dates with them"
            )
            raise ValueError(msg)
        changes.append((until, after))
    return tuple(changes)


def zone_tables(names: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the rows of `zone_t` and `zone_off` for several zones, all of one length.

    Rows with fewer changes go on with changes to the same offset, evenly spread: they say nothing new and
    keep `kernels.localtime.zone_index` fast.

    Parameters
    ----------
    names : sequence of str
        As in the time zone database.

    Returns
    -------
    zone_t, zone_off : int64[zones, z]
        Milliseconds UTC from which the offset (milliseconds east of UTC) holds, from 2000 to 2100; before the
        first change, the offset at the start of 2000.

    Raises
    ------
    ValueError
        An unknown zone, or one whose clocks went back over midnight since 2000: its local dates went back
        too.
    """
    rows = [_transitions(name) for name in names]
    length = max((len(row) for row in rows), default=1)
    zone_t = np.empty((len(rows), length), np.int64)
    zone_off = np.empty((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        n = len(row)
        zone_t[i, :n], zone_off[i, :n] = zip(*row, strict=True)
        begin = row[-1][0] if n > 1 else _FIRST_MS
        step = max(_DAY_MS, (_LAST_MS - begin) // (length - n + 1))
        zone_t[i, n:] = begin + step * np.arange(1, length - n + 1)
        zone_off[i, n:] = row[-1][1]
    return zone_t, zone_off


def zone_arrays(name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give `zone_t` and `zone_off` of one zone, as `zone_tables`.

    Returns
    -------
    zone_t, zone_off : int64[z]
        See `zone_tables`.

    Raises
    ------
    ValueError
        As `zone_tables`.
    """
    zone_t, zone_off = zone_tables([name])
    return zone_t[0], zone_off[0]
