"""How many patients this machine can hold: a short measured load on the real service, and what stops it first.

Spot readings go the whole way, over HTTP into log, line and queue, at rates that double until the service no longer
keeps up. Continuous ECG goes from packet bytes to episodes on one core. Memory is counted. From all three half is
given away: a machine that is planned at its limit has none left for the morning after an outage.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.config import Settings
from engine.durable import Sink
from engine.load import Loaded, load
from engine.progress import SILENT, Progress
from engine.service import Service, folder_of_sources
from ingest import packet
from ingest.signals import SIGNALS, Kind
from ingest.simulator.ecg import GAIN, Rhythm, synthesize
from ingest.simulator.load import Load, Measured, run
from ingest.sources import Limits, Source, Sources
from kernels import rhythm

__all__ = ["Capacity", "CapacityError", "measure"]

READINGS_A_DAY = 10
"""Of a patient: a weight, two or three pressures with heart rate, a saturation, answers to questions."""
MORNING_S = 3 * 3600
"""In which most of them arrive."""

_RATES = tuple(10_000 * 2**k for k in range(9))
_PER_BODY = 20  # readings that a gateway sends together
_RUN_S = 3.0
_LATE_S = 0.5
_KEPT = 0.5
_CORES_BUSY = 0.85
_RATE_HZ = 250.0
_STREAMS = 4000
_SECONDS = 20


class CapacityError(Exception):
    """It could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was measured, and what follows from it."""

    packets_per_s: float
    """The highest rate at which all was durable and 99 % answered within half a second."""
    stopped_by: str
    ecg_samples_per_s: float
    """On one core."""
    cores: int
    memory_bytes: int
    patient_bytes: int
    stream_bytes: int

    @property
    def by_rate(self) -> int:
        """Patients whose readings of a morning come in time, at half of the measured rate."""
        return int(_KEPT * self.packets_per_s * MORNING_S / READINGS_A_DAY)

    @property
    def by_memory(self) -> int:
        """Patients whose state fits into half of the free memory."""
        return int(_KEPT * self.memory_bytes / self.patient_bytes)

    @property
    def ecg_by_rate(self) -> int:
        """Streams of continuous ECG that one core keeps up with, at half of the measured rate."""
        return int(_KEPT * self.ecg_samples_per_s / _RATE_HZ)

    @property
    def ecg_by_memory(self) -> int:
        """Streams whose state fits into half of the free memory."""
        return int(_KEPT * self.memory_bytes / (self.stream_bytes + self.patient_bytes))

    def __str__(self) -> str:
        spot, ecg = min(self.by_rate, self.by_memory), min(self.ecg_by_rate, self.ecg_by_memory)
        bound = "memory" if self.by_memory <= self.by_rate else f"rate ({self.stopped_by})"
        ecg_bound = "memory" if self.ecg_by_memory <= self.ecg_by_rate else "the kernels, on one core"
        lines = [
            f"spot readings: {spot:,} patients, bounded by {bound}",
            f"  {self.packets_per_s:,.0f} packets a second, durable, 99 % answered within {_LATE_S:g} s",
            f"  stopped by {self.stopped_by}",
            f"  {READINGS_A_DAY} a patient within {MORNING_S // 3600} hours of a morning",
            f"  {self.patient_bytes:,} bytes a patient, {self.memory_bytes / 2**30:.1f} GiB free",
            f"continuous ECG, {_RATE_HZ:g} Hz: {ecg:,} patients, bounded by {ecg_bound}",
            f"  {self.ecg_samples_per_s / 1e6:.1f} million samples a second on one core of {self.cores}",
            f"  {self.stream_bytes:,} bytes a stream",
            "half of what was measured is kept in reserve",
        ]
        return "\n".join(lines)


def measure(settings: Settings, sink: Sink, progress: Progress = SILENT) -> Capacity:
    """Measure this machine.

    Parameters
    ----------
    settings : Settings
        `data` is a new or empty folder, on the disk that is meant to be used.
    sink : Sink
        A queue that may be filled with simulated patients.
    progress : Progress

    Raises
    ------
    CapacityError
        The folder holds something, or the service does not even keep up with the lowest rate.
    """
    if settings.data.exists() and any(settings.data.iterdir()):
        msg = f"{settings.data}: holds something; capacity is measured in a new or an empty folder"
        raise CapacityError(msg)
    settings.data.mkdir(parents=True, exist_ok=True)
    loaded = load(settings.protocols, zone=settings.zone)
    progress.step("spot readings", len(_RATES), "rates")
    rate, why, patient_bytes = _spot(settings, sink, progress)
    progress.step("continuous ECG", _SECONDS, "s of signal")
    samples = _ecg(loaded, progress)
    return Capacity(rate, why, samples, os.cpu_count() or 1, _free_memory(), patient_bytes, 8 * rhythm.ROW)


def _spot(settings: Settings, sink: Sink, progress: Progress) -> tuple[float, str, int]:
    sources = Sources(folder_of_sources(settings))
    key = sources.create(Source("capacity", everyone=True, limits=Limits(1e9, 1e9, 1e12)), "capacity")
    sources.close()
    best, why = 0.0, f"nothing up to {_RATES[-1]:,} a second"
    with _running(settings.model_copy(update={"port": 0}), sink) as (service, url):
        _load(url, key, _RATES[0])  # what is there only once: memory for the state, code for the kernels
        for rate in _RATES:
            before, cores_before = service.metrics.busy(), _cores_busy()
            measured = _load(url, key, rate)
            lag_s = service.line.lag_s()
            after, cores_after = service.metrics.busy(), _cores_busy()
            progress.advance()
            if measured.lost or measured.quantile_s(0.99) > _LATE_S or lag_s > _LATE_S:
                share = {name: (after[name] - before[name]) / measured.seconds for name in after}
                why = _why(share, cores_before, cores_after)
                break
            best = measured.packets / measured.seconds
        patient_bytes = max(shard.state.bytes_per_patient() for shard in service.line.line.shards)
    if not best:
        msg = f"the service does not keep up with {_RATES[0]:,} packets a second: {why}"
        raise CapacityError(msg)
    return best, why, patient_bytes


def _why(share: dict[str, float], before: tuple[float, float], after: tuple[float, float]) -> str:
    """Say what stops a load: the processor where it is busy, as all else waits for it; else the busiest part."""
    name = max(share, key=lambda each: share[each])
    spent, passed = after[0] - before[0], after[1] - before[1]
    cores = spent / passed if passed else 0.0
    if cores >= _CORES_BUSY:
        return f"the processor, all cores busy {100 * cores:.0f} % of the time, the load's own work among it"
    return f"{name}, busy {100 * min(1.0, share[name]):.0f} % of the time"


def _cores_busy() -> tuple[float, float]:
    """Give how long the cores of this machine were busy, and how long they were there, in ticks since its start."""
    try:
        ticks = [float(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:  # not Linux: not known
        return 0.0, 0.0
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # all but idle and waiting for the disk


def _load(url: str, key: str, rate: float) -> Measured:
    """Load from a process of its own: it must not share our interpreter."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        asked = Load(rate, _PER_BODY, _RUN_S, connections=32, patients=20_000)
        return pool.apply(run, (url, key, asked))


@contextmanager
def _running(settings: Settings, sink: Sink) -> Iterator[tuple[Service, str]]:
    service = Service(settings, sink)
    told: list[str] = []
    up = threading.Event()

    def ready(url: str) -> None:
        told.append(url)
        up.set()

    thread = threading.Thread(target=service.run, args=(ready,))
    thread.start()
    try:
        while not up.wait(0.1):
            if not thread.is_alive():
                msg = "the service did not start"
                raise CapacityError(msg)
        yield service, told[0]
    finally:
        service.stop()
        thread.join()


def _ecg(loaded: Loaded, progress: Progress) -> float:
    """Take ECG of some patients through decoder and line; give samples a second of one core."""
    lead = next(signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM)
    kinds = (Rhythm.SINUS, Rhythm.ATRIAL_FIBRILLATION) * 4
    signals = [synthesize(kind, _SECONDS, seed, rate_hz=_RATE_HZ).samples for seed, kind in enumerate(kinds)]
    per_second = int(_RATE_HZ)
    start_ms = 1_760_000_000_000
    decoder = loaded.decoder()
    took = 0.0
    with loaded.line() as line:
        for second in range(_SECONDS):
            t_ms = start_ms + 1000 * second
            cuts = [each[second * per_second : (second + 1) * per_second] for each in signals]
            body = b"".join(
                packet.ecg_chunk(
                    f"E{p}", f"patch{p}", second, t_ms, lead, _RATE_HZ, GAIN, cuts[p % len(cuts)]
                )
                for p in range(_STREAMS)
            )
            began = time.thread_time()
            line.process(*decoder.decode([(second, t_ms + 500, "capacity", body)]))
            if second:  # the first makes room
                took += time.thread_time() - began
            progress.advance()
    return _STREAMS * per_second * (_SECONDS - 1) / took


def _free_memory() -> int:
    """Bytes that the system would give without swapping."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
