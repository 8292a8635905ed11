"""What of a batch goes into history: every reading that was applied, or came too late to be."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from engine import history
from engine.shard import Outcome
from ingest.columns import Batch, PacketKind
from kernels.advance import DUPLICATE, LATE

__all__ = ["readings"]

I64 = npt.NDArray[np.int64]


def readings(batch: Batch, outcome: Outcome) -> pl.DataFrame:
    """Give the readings of one shard's packets as rows of `engine.history.SCHEMA`.

    A packet's values and what the ECG kernels derived from a chunk; not duplicates, and not acts of the cell.

    Parameters
    ----------
    batch : Batch
        Still valid: a decoder's batch is, until it decodes the next.
    outcome : Outcome
        What became of it in the shard.
    """
    kept = (outcome.applied != DUPLICATE) & (batch.kind[outcome.rows] != PacketKind.ACT)
    rows = outcome.rows[kept]
    late = outcome.applied[kept] == LATE
    derived = outcome.derived
    is_ecg = batch.kind[rows] == PacketKind.ECG
    plain, ecg = rows[~is_ecg], rows[is_ecg]
    value_of, value = _spread(batch.value_at, plain)
    reading_of, reading = _spread(derived.at, ecg)
    packet = np.concatenate((plain[value_of], ecg[reading_of]))
    was_late = np.concatenate((late[~is_ecg][value_of], late[is_ecg][reading_of]))
    names = _patients(batch, rows)
    place = np.concatenate((np.flatnonzero(~is_ecg)[value_of], np.flatnonzero(is_ecg)[reading_of]))
    return pl.DataFrame(
        {
            "patient": names.gather(place),
            "signal": np.concatenate((batch.code[value], derived.code[reading])),
            "t_ms": np.concatenate((batch.t_ms[plain][value_of], derived.t_ms[reading])),
            "receipt_ms": batch.receipt_ms[packet],
            "milli": np.concatenate((batch.milli[value], derived.milli[reading])),
            "status": batch.status[packet],
            "offset": batch.offset[packet],
            "outcome": np.where(was_late, history.Outcome.LATE, history.Outcome.APPLIED).astype(np.uint8),
        },
        schema_overrides=dict(history.SCHEMA),
    )


def _spread(at: I64, packets: I64) -> tuple[I64, I64]:
    """Give, for each value of `packets`, the position of its packet among them and its own index."""
    first = at[packets]
    count = at[packets + 1] - first
    of = np.repeat(np.arange(len(packets)), count)
    before = np.cumsum(count) - count
    return of, np.arange(len(of)) - before[of] + first[of]


def _patients(batch: Batch, rows: I64) -> pl.Series:
    """Give the patients' ids of packets, from their bytes: no Python runs per packet."""
    length = batch.id_len[rows].astype(np.int64)
    end = np.cumsum(length)
    of = np.repeat(np.arange(len(rows)), length)
    letters = batch.ids[np.arange(len(of)) - (end - length)[of] + batch.id_at[rows][of]]
    offsets = np.concatenate(([0], end)).astype(np.int64)
    array = pa.LargeStringArray.from_buffers(
        len(rows), pa.py_buffer(offsets.tobytes()), pa.py_buffer(letters.tobytes())
    )
    return pl.Series("patient", array)
