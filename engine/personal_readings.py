"""What was kept of one figure: each reading that a limit was compared with, and the limits that acts left in force."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.backtest_judge import Judged
from engine.found import Part
from engine.load import Loaded
from engine.personal import Quantity
from engine.program import limit_key
from ingest.signals import MILLI

__all__ = ["READINGS", "in_force", "readings"]

READINGS = pl.Schema({"patient": pl.Int64, "t_ms": pl.Int64, "clock_ms": pl.Int64, "value": pl.Float64})
"""Columns of readings: place of the patient among those asked for, event time and the line's clock then, ms UTC."""

Acts = dict[tuple[int, str, bool], float]
"""By place of the patient, limit, and whether it is of the cell: what acts have put in force."""


def readings(
    judged: Judged, loaded: Loaded, asked: Quantity, patients: Sequence[str], limits: Collection[str]
) -> tuple[pl.DataFrame, Acts]:
    """Read what was kept.

    Parameters
    ----------
    judged : Judged
    loaded : Loaded
        What it was judged by.
    asked : Quantity
    patients : sequence of str
    limits : collection of str
        Of the quantity's protocol, whose acts are wanted.

    Returns
    -------
    rows : DataFrame
        `READINGS`, by patient and time, one a moment. A reading that came late, after a newer one, was never the
        newest: no rule saw it here, and it is not among them.
    acts : mapping
        What holds at the end of the history; what was taken back is not in it.
    """
    protocol = loaded.program.protocols[asked.protocol]
    keys = {limit_key(protocol.id, name): protocol.limits[name] for name in limits}
    bit = np.uint64(1) << np.uint64(asked.series)
    frames = [READINGS.to_frame()]
    acts: Acts = {}
    for k in range(judged.kept.shards):
        part = Part(judged.folder / f"shard{k:02d}")
        place = _places(part, patients)
        for found in part.found(loaded.program):
            for each in found.limits:
                if each.key in keys and place[each.slot] >= 0:
                    limit = keys[each.key]
                    where = int(place[each.slot]), limit.name, each.of_cell
                    if each.milli is None:
                        acts.pop(where, None)
                    elif limit.min <= each.milli / MILLI <= limit.max:
                        acts[where] = each.milli / MILLI
            block = found.blocks[asked.group]
            value = block.values[asked.column]
            event = block.event
            rows = np.flatnonzero(((found.mask[event] & bit) != 0) & np.isfinite(value))
            at = event[rows]
            frames.append(
                pl.DataFrame(
                    {
                        "patient": place[found.slot[at]],
                        "t_ms": found.t_ms[at],
                        "clock_ms": found.clock_ms[at],
                        "value": value[rows],
                    },
                    schema=READINGS,
                )
            )
    rows_of_all = (
        pl.concat(frames)
        .filter(pl.col("patient") >= 0)
        .sort("patient", maintain_order=True)
        .filter(pl.col("t_ms") == pl.col("t_ms").cum_max().over("patient"))
        .unique(["patient", "t_ms"], keep="last", maintain_order=True)
    )
    return rows_of_all, acts


def _places(part: Part, patients: Sequence[str]) -> npt.NDArray[np.int64]:
    """Place of the patient of each slot, int64[slots]; -1 for one not asked for."""
    slots = part.slots(patients)
    place = np.full(len(part), -1, np.int64)
    mine = np.flatnonzero(slots >= 0)
    place[slots[mine]] = mine
    return place


def in_force(
    loaded: Loaded, asked: Quantity, patient: str, n: int, name: str, acts: Acts
) -> tuple[float, str, bool]:
    """Give a patient's value of a limit at the end, its origin in French, and whether an act about the patient set it.

    `n` is the patient's place in `acts`. The layers are those of `engine.limits`.
    """
    protocol = loaded.program.protocols[asked.protocol].id
    if (n, name, False) in acts:
        return acts[n, name, False], "patient, fixée sur sa page", True
    if (n, name, True) in acts and not loaded.roster.own(patient, protocol, name):
        return acts[n, name, True], "cellule, par une proposition signée", False
    return *loaded.roster.in_force(patient, protocol, name), False
