"""The truth of a simulation: what really happened, beside what the devices sent."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["KINDS", "Truth", "patient_ids", "truth_table"]

KINDS = (
    "decompensation",  # onset: first drift; time: admission; end: discharge; value: gain put in, kg
    "other_admission",  # likewise
    "gap",  # days without use
    "other_person",  # value: weight shown, kg
    "implausible",
    "invalid",
    "test",
    "nan",
    "inconsistent",
    "clock_slow",  # value: seconds ahead, negative when behind
    "clock_fast",
    "clock_dead",
    "late",  # end: receipt
    "outage",
    "duplicate",  # time: of the packet; end: receipt of the second
    "rhythm",  # detail: which
)


@dataclass(slots=True)
class Truth:
    """Events of one kind, as columns of equal length."""

    kind: str
    patient: npt.NDArray[np.int64]
    onset_ms: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    end_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    device: str = ""
    seq: npt.NDArray[np.int64] | None = None
    detail: str = ""


def patient_ids(patient: npt.NDArray[np.integer]) -> list[str]:
    """Ids of patients by number: P0000001 is the first."""
    return [f"P{number + 1:07d}" for number in patient.tolist()]


SCHEMA = pa.schema(
    [
        ("patient", pa.string()),
        ("kind", pa.string()),
        ("onset_ms", pa.int64()),
        ("time_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("value", pa.float64()),
        ("device", pa.string()),
        ("seq", pa.int64()),
        ("detail", pa.string()),
    ]
)


def truth_table(events: list[Truth]) -> pa.Table:
    """Give the events as one table, ordered by patient, time and kind."""
    tables = []
    for event in events:
        n = len(event.patient)
        ids = patient_ids(event.patient)
        device = [event.device + name[1:] if event.device else None for name in ids]
        tables.append(
            pa.table(
                [
                    pa.array(ids, pa.string()),
                    pa.array([event.kind] * n, pa.string()),
                    pa.array(event.onset_ms),
                    pa.array(event.time_ms),
                    pa.array(event.end_ms),
                    pa.array(event.value),
                    pa.array(device, pa.string()),
                    pa.nulls(n, pa.int64()) if event.seq is None else pa.array(event.seq),
                    pa.array([event.detail or None] * n, pa.string()),
                ],
                schema=SCHEMA,
            )
        )
    table = pa.concat_tables([*tables, SCHEMA.empty_table()])
    return table.sort_by([("patient", "ascending"), ("time_ms", "ascending"), ("kind", "ascending")])
