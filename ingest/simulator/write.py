"""What a simulation leaves on disk: long-form Parquet or CSV, or a log; and the truth beside it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ingest import signals
from ingest.appender import HEARTBEAT
from ingest.columns import Status
from ingest.log import Log
from ingest.simulator.bodies import bodies
from ingest.simulator.packets import NAN, Packets
from ingest.simulator.scenario import PARIS_MIDNIGHT_2026, Cohort, Item, Scenario, SimulationError
from ingest.simulator.slabs import Progress, Slab, slabs
from ingest.simulator.truth import Truth, patient_ids, truth_table

__all__ = ["FORMATS", "Summary", "simulate"]

FORMATS = ("parquet", "csv", "log")

LONG = pa.schema(
    [
        ("patient", pa.dictionary(pa.int32(), pa.string())),
        ("time", pa.timestamp("ms", "UTC")),
        ("signal", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.float64()),
        ("unit", pa.dictionary(pa.int32(), pa.string())),
    ]
)
_PLAIN = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in LONG])
_LOG_AT_ONCE = 64  # bodies handed in together
_HEARTBEAT_MS = 300_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written: `rows` are readings in a file, bodies in a log; `truth` counts events by kind."""

    out: Path
    truth_file: Path
    rows: int
    truth: dict[str, int]


def _long(slab: Slab, cohort: Cohort) -> pa.Table:
    """Give the readings of a slab in long form, in order of time, patient and signal.

    Long form has no status word and no sequence number: what a gateway would drop by them (test data, invalid
    readings, second copies) is left out.
    """
    table = {s.code: (s.name, s.ucum) for s in signals.SIGNALS}
    table.update({item.code: (name, "1") for name, item in cohort.items.items()})
    codes = sorted(table)
    names = [table[code][0] for code in codes]
    units = sorted({table[code][1] for code in codes})
    unit_of = np.array([units.index(table[code][1]) for code in codes], np.int32)

    def usable(packets: Packets) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~packets.again & (
            (packets.status & np.uint32(Status.TEST | Status.INVALID)) == 0
        )
        return kept

    patient, when, signal, milli = [], [], [], []
    for packets in slab.tables:
        kept = usable(packets)
        for column, code in enumerate(packets.device.codes):
            patient.append(packets.patient[kept].astype(np.int32))
            when.append(packets.t_ms[kept])
            signal.append(np.full(int(kept.sum()), codes.index(code), np.int32))
            milli.append(packets.milli[kept, column])
    if not patient:
        return LONG.empty_table()
    who, at, what, value = (np.concatenate(part) for part in (patient, when, signal, milli))
    order = np.lexsort((what, who, at))
    who, at, what, value = who[order], at[order], what[order], value[order]
    numbers, index = np.unique(who, return_inverse=True)
    shown = np.where(value == NAN, np.nan, value / 1000.0)
    return pa.table(
        [
            pa.DictionaryArray.from_arrays(index.astype(np.int32), pa.array(patient_ids(numbers))),
            pa.array(at).cast(pa.timestamp("ms", "UTC")),
            pa.DictionaryArray.from_arrays(what, pa.array(names)),
            pa.array(shown),
            pa.DictionaryArray.from_arrays(unit_of[what], pa.array(units)),
        ],
        schema=LONG,
    )


def _write_long(cohort: Cohort, out: Path, form: str, truth: list[Truth], progress: Progress | None) -> int:
    rows = 0
    write: Callable[[pa.Table], None]
    if form == "parquet":
        writer = pyarrow.parquet.ParquetWriter(out, LONG, compression="zstd")
        write = writer.write_table
    else:
        writer = pyarrow.csv.CSVWriter(out, _PLAIN)

        def write(part: pa.Table) -> None:
            writer.write_table(part.cast(_PLAIN))

    with closing(writer):
        for slab in slabs(cohort, "t_ms", truth, progress):
            part = _long(slab, cohort)
            write(part)
            rows += part.num_rows
    return rows


def _heard(entries: Iterator[tuple[int, str, bytes]]) -> Iterator[tuple[int, str, bytes]]:
    """Put heartbeats wherever nobody sent for long: a service hears itself, and a night is no outage."""
    at = None
    for receipt_ms, source, body in entries:
        if at is not None:
            yield from (
                (beat, HEARTBEAT, b"") for beat in range(at + _HEARTBEAT_MS, receipt_ms, _HEARTBEAT_MS)
            )
        at = receipt_ms
        yield receipt_ms, source, body


def _batched(source: Iterator[tuple[int, str, bytes]]) -> Iterator[list[tuple[int, str, bytes]]]:
    while batch := list(islice(source, _LOG_AT_ONCE)):
        yield batch


def _write_log(
    cohort: Cohort, out: Path, truth: list[Truth], progress: Progress | None, slot_s: float
) -> int:
    rows = written = 0
    with closing(Log.open(out)) as log:
        tickets = []
        for batch in _batched(_heard(bodies(cohort, truth, slot_s=slot_s, progress=progress))):
            tickets = log.append_many(
                [(source, body, receipt) for receipt, source, body in batch], timeout=None
            )
            rows += sum(source != HEARTBEAT for _, source, _ in batch)
            written += len(batch)
            if written % (16 * _LOG_AT_ONCE) == 0:
                tickets[-1].result()
        for ticket in tickets:
            ticket.result()
    return rows


def simulate(  # noqa: PLR0913 - an option is a parameter
    patients: int,
    days: int,
    seed: int,
    out: Path | str,
    *,
    format: str = "parquet",  # noqa: A002 - the option's name
    start_ms: int | None = None,
    items: dict[str, Item] | None = None,
    ecg: bool = False,
    scenario: Scenario | None = None,
    slot_s: float = 60.0,
    progress: Progress | None = None,
) -> Summary:
    """Simulate a cohort and write what it sends, with the truth beside it.

    Parameters
    ----------
    patients, days, seed : int
        The same numbers give the same bytes.
    out : Path
        File to write; its folder is made if it is not there. The truth goes to the same name with the suffix
        ``.truth.parquet``.
    format : str
        "parquet" or "csv": readings in long form (patient, time, signal, value, unit), in event time, as a
        hospital would export them.
        "log": packets as received, with late uploads, duplicates and faults, in a log of Vigie, and its heartbeats.
    start_ms : int
        Start of the first local day, ms UTC.
    items : dict
        Questionnaire items by name, as protocols declare them.
    ecg : bool
        ECG strips too; in a log only.
    progress : callable
        Called with (steps done, steps in all).

    Raises
    ------
    SimulationError
        A parameter out of range, an unknown format, or a log that is already there.
    """
    out = Path(out)
    if format not in FORMATS:
        msg = f"format {format!r}: legal are {', '.join(FORMATS)}"
        raise SimulationError(msg)
    if ecg and format != "log":
        msg = f"ECG cannot be written in long form ({format}): write a log"
        raise SimulationError(msg)
    if format == "log" and out.exists():
        msg = f"{out}: is already there; a simulation is not added to a log"
        raise SimulationError(msg)
    out.parent.mkdir(parents=True, exist_ok=True)
    cohort = Cohort(
        patients,
        days,
        seed,
        PARIS_MIDNIGHT_2026 if start_ms is None else start_ms,
        items=items or {},
        scenario=scenario or Scenario(),
        ecg=ecg,
    )
    truth: list[Truth] = []
    if format == "log":
        rows = _write_log(cohort, out, truth, progress, slot_s)
    else:
        rows = _write_long(cohort, out, format, truth, progress)
    truth_file = out.with_suffix(".truth.parquet")
    pyarrow.parquet.write_table(truth_table(truth), truth_file, compression="zstd")
    counts: dict[str, int] = {}
    for event in truth:
        counts[event.kind] = counts.get(event.kind, 0) + len(event.patient)
    return Summary(out, truth_file, rows, counts)
