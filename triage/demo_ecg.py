"""ECG of some patients of the demonstration: strips of real records where there are any, of simulated ones elsewhere.

Real records are those of the MIT-BIH Arrhythmia Database, in the folder ``mitdb`` of the one that VIGIE_ECG names, or
of ``../shared/ecg`` beside the project. Each chosen patient sends half a minute of one record every two hours, the
next half minute each time.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ingest import packet
from ingest.signals import by_name
from ingest.simulator.bodies import Body
from ingest.simulator.ecg import Rhythm, synthesize

__all__ = ["SOURCE", "records", "strips"]

SOURCE = "ecg"

EVERY_MS = 2 * 3_600_000
CHUNK_S = 10
CHUNKS = 3
SENT_AFTER_MS = 5_000

Samples = npt.NDArray[np.int16]


def records() -> list[Path]:
    """Give the headers of the real records there are, by name; none where the folder is missing."""
    named = os.environ.get("VIGIE_ECG")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "ecg"
    return sorted((folder / "mitdb").glob("*.hea"))


def strips(patients: Sequence[str], start_ms: int, end_ms: int, real: Sequence[Path]) -> Iterator[Body]:
    """Give what the ECG devices of `patients` send from `start_ms` to `end_ms`, in order of receipt.

    Parameters
    ----------
    patients : sequence of str
        Who has an ECG device.
    start_ms, end_ms : int
        Milliseconds UTC.
    real : sequence of Path
        Headers of records, as `records` gives them; patients share them in turn. None: simulated ones.
    """
    turns = 0
    seconds = CHUNK_S * CHUNKS
    leads = [_lead(real, number) for number in range(len(patients))]
    apart_ms = EVERY_MS // max(1, len(patients))
    while True:
        for number, (patient, (rate_hz, gain, samples)) in enumerate(zip(patients, leads, strict=True)):
            t_ms = start_ms + turns * EVERY_MS + number * apart_ms
            receipt_ms = t_ms + 1000 * seconds + SENT_AFTER_MS
            if receipt_ms >= end_ms:
                return
            size = round(CHUNK_S * rate_hz)
            first = turns * CHUNKS * size % (len(samples) - CHUNKS * size + 1)
            body = b"".join(
                packet.ecg_chunk(
                    patient,
                    "ecg",
                    turns * CHUNKS + k,
                    t_ms + 1000 * CHUNK_S * k,
                    by_name("ecg_single").code,
                    rate_hz,
                    gain,
                    samples[first + k * size : first + (k + 1) * size],
                )
                for k in range(CHUNKS)
            )
            yield receipt_ms, SOURCE, body
        if not patients:
            return
        turns += 1


def _lead(real: Sequence[Path], number: int) -> tuple[float, float, Samples]:
    """Rate, gain and samples of what a patient's device sees."""
    if not real:
        rhythm = list(Rhythm)[number % len(Rhythm)]
        made = synthesize(rhythm, 300, number, rate_hz=250.0)
        return made.rate_hz, made.gain, made.samples
    # Imported here: it takes seconds, and is not needed where there are no records.
    import wfdb  # noqa: PLC0415

    record = wfdb.rdrecord(str(real[number % len(real)].with_suffix("")), channels=[0], physical=False)
    around_zero = record.d_signal[:, 0].astype(np.int64) - int(record.baseline[0])
    return float(record.fs), float(record.adc_gain[0]), np.clip(around_zero, -32767, 32767).astype(np.int16)
