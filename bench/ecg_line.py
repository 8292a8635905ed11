"""Continuous ECG of many patients: one-second packets of 250 Hz, bytes to episodes, through decoder and line.

The signal is that of twelve leads of mitdb at four places each, resampled to 250 Hz. These 48 streams run for a minute
first; then each patient's stream takes the state of one of them, as if it had always run: a minute of packets of
100,000 patients would take longer than what is measured. The protocol is the shipped `rhythmologie`, with its alerts.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import psutil
import wfdb
from scipy import signal

import rules
from engine.line import Line
from engine.program import Options, Program, protocol_signals
from ingest.columns import PacketKind
from ingest.decode import Decoder
from ingest.signals import SIGNALS, Kind, plausible_ranges
from kernels import features, rhythm
from rules.protocol import load

__all__ = ["F64", "GAIN", "I16", "RATE_HZ", "Cell", "leads", "make_program", "most_patients"]

I16 = npt.NDArray[np.int16]
F64 = npt.NDArray[np.float64]

RATE_HZ = 250
GAIN = 200.0
PLACES_S = (0, 300, 600, 900)
WARM_S = 60
START_MS = 1_760_000_000_000
PROTOCOL = Path(rules.__file__).parent / "protocols" / "rhythmologie.toml"
_LEAD = next(each.code for each in SIGNALS if each.kind is Kind.WAVEFORM)
_RESERVE = 4  # of memory: one part for the states, the rest for packets, patients and others


def leads(folder: Path) -> list[I16]:
    """Every second record of mitdb, MLII or the first channel, at RATE_HZ and GAIN."""
    out = []
    for header in sorted((folder / "mitdb").glob("*.hea"))[::2]:
        path = str(header.with_suffix(""))
        about: Any = wfdb.rdheader(path)
        channel = about.sig_name.index("MLII") if "MLII" in about.sig_name else 0
        record: Any = wfdb.rdrecord(path, channels=[channel])
        millivolts = record.p_signal[:, 0] - record.p_signal[0, 0]
        resampled = signal.resample_poly(millivolts, RATE_HZ, round(record.fs))
        out.append(np.clip(np.rint(resampled * GAIN), -32767, 32766).astype(np.int16))
    return out


def make_program() -> Program:
    """Compile the shipped protocol."""
    protocol = load(PROTOCOL, protocol_signals(), features.STATISTICS)
    return Program([protocol], Options(deaf_after_ms=0))


def most_patients(wanted: int) -> int:
    """As many patients as are wanted, or as memory allows."""
    return min(wanted, int(psutil.virtual_memory().available) // (_RESERVE * 8 * rhythm.ROW))


@dataclass(frozen=True, slots=True)
class Took:
    """What one second of all patients took, s."""

    wall: float
    cpu: float  # of all threads


class Cell:
    """A line whose patients all send ECG.

    Parameters
    ----------
    signals : list of int16[n]
        What `leads` gave.
    patients : int
    shards : int
        Threads.
    """

    def __init__(self, signals: list[I16], patients: int, shards: int) -> None:
        self.patients = patients
        self.line = Line(make_program(), shards=shards)
        self._signals = signals
        self._decoder = Decoder(*plausible_ranges())
        self._streams = len(signals) * len(PLACES_S)
        self._second = 0
        for _ in range(WARM_S):
            self.step(self.body(self._streams))
        self.step(self.body(patients))
        warm: dict[int, F64] = {}
        for states, numbers in self._states():
            warm.update(zip(numbers.tolist(), states, strict=True))
        for states, numbers in self._states():
            for row, number in enumerate(numbers.tolist()):
                states[row] = warm[number % self._streams]

    def _states(self) -> list[tuple[F64, npt.NDArray[np.int64]]]:
        """States of the streams of each shard, and the numbers of their patients: streams begin as patients do."""
        out = []
        for shard in self.line.shards:
            ids = shard.state.patient_ids(np.arange(shard.state.used, dtype=np.int32))
            out.append((shard.streams.states[: len(ids)], np.array([int(each[1:]) for each in ids])))
        return out

    def body(self, patients: int) -> bytes:
        """Encode the next second of the first `patients`."""
        second = self._second
        self._second += 1
        pack = msgpack.Packer(autoreset=False)
        cuts = []
        for k in range(self._streams):
            at = (PLACES_S[k // len(self._signals)] + second) * RATE_HZ
            cuts.append(self._signals[k % len(self._signals)][at : at + RATE_HZ].tobytes())
        t_ms = START_MS + 1000 * second
        for p in range(patients):
            payload = [_LEAD, float(RATE_HZ), GAIN, cuts[p % self._streams]]
            pack.pack([int(PacketKind.ECG), f"P{p:07d}", f"D{p:07d}", second, t_ms, None, None, 0, payload])
        return bytes(pack.bytes())

    def step(self, body: bytes) -> Took:
        """Take one second: bytes to episodes, readings and alerts."""
        receipt_ms = START_MS + 1000 * self._second + 500
        wall, cpu = time.perf_counter(), time.process_time()
        batch, quarantine = self._decoder.decode([(self._second, receipt_ms, "gateway", body)])
        self.line.process(batch, quarantine)
        took = Took(time.perf_counter() - wall, time.process_time() - cpu)
        assert not len(quarantine)
        return took
