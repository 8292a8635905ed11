"""Compiling the kernels once, so that what starts later starts at once.

Numba compiles one kernel at a time in a process. So a second process compiles the kernels of ECG, which are half of
all, while this one compiles the others (decoding, files, features, alerts, evidence), and before them a part of ECG
that the second one comes to late; both write to the same cache, and each loads from it what the other has done. All is
done by use: a few real packets go through the real line.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from engine.ecg_design import design
from engine.load import Loaded, load
from engine.progress import SILENT, Progress
from engine.protocols import shipped
from engine.streams import Streams
from ingest import packet
from ingest.admission import Admission, Body, hashes
from ingest.columns import Batch, Quarantine
from ingest.signals import by_name
from ingest.sources import Source
from kernels import ecg_lead, quality
from kernels.compilation import complete, heard, was_complete

__all__ = ["warm"]

_T0_MS = 1_767_600_000_000
_DAY_MS = 86_400_000
_RATE_HZ = 250.0
_BROUGHT = "compiled "
"""What the second process says of each kernel, a line each."""


def warm(progress: Progress = SILENT) -> None:
    """Compile every kernel that a line needs, or load it where that was done before.

    Takes a minute or two on two cores the first time, and a second or two later.
    """
    progress.step("kernels", unit="compiled")
    lock = threading.Lock()

    def tell(_name: str) -> None:
        with lock:
            progress.advance()

    with heard(tell):
        if was_complete():
            # A second process would import all that this one has, for nothing.
            _whole(load(sorted(shipped())))
            return
        helper = _Helper(tell)
        loaded = load(sorted(shipped()))
        _look_at_quality()
        _go_on(loaded)
        _read_file()
        _decode(loaded)
        helper.wait()
        # Loaded from the cache where the second process was there; compiled here where it could not run.
        _listen(loaded)
        _whole(loaded)
    complete()


class _Helper:
    """The second process."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._reader: threading.Thread | None = None
        command = [sys.executable, "-c", "import engine.warmup; engine.warmup._main()"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
            )
        except OSError:
            return  # then this process does it all
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith(_BROUGHT):
                    self._tell(line.removeprefix(_BROUGHT).strip())

    def wait(self) -> None:
        """Wait for its end, however it ends."""
        if self._reader is not None:
            self._process.wait()
            self._reader.join()


def _main() -> None:
    """Do the second process's part."""
    with heard(lambda name: print(f"{_BROUGHT}{name}", flush=True)):  # noqa: T201 - read by the first process
        _listen(load(sorted(shipped())))


# What is sent through ----------------------------------------------------------------------------------------


def _entries(loaded: Loaded, *, ecg: bool) -> list[tuple[int, int, str, bytes]]:
    """Five days of a patient: weights that rise, a pressure, answers, and ECG if asked for."""
    items = {i.code: i.range[0] for protocol in loaded.program.protocols for i in protocol.items.values()}
    codes = {name: by_name(name).code for name in ("weight", "systolic", "diastolic", "heart_rate", "spo2")}
    out = []
    for day in range(5):
        t_ms = _T0_MS + day * _DAY_MS
        body = packet.spot("warm", "scale", day, t_ms, {codes["weight"]: 80.0 + 1.2 * day})
        body += packet.spot("warm", "cuff", day, t_ms, {codes["systolic"]: 120, codes["diastolic"]: 70})
        body += packet.spot("warm", "oximeter", day, t_ms, {codes["heart_rate"]: 70, codes["spo2"]: 96})
        body += b"".join(
            packet.questionnaire("warm", f"answers{k}", day, t_ms, {code: low})
            for k, (code, low) in enumerate(items.items())
        )
        if ecg:
            body += packet.ecg_chunk(
                "warm", "patch", day, t_ms, by_name("ecg_single").code, _RATE_HZ, 200.0, _beats()
            )
        out.append((day, t_ms + 60_000, "warmup", body))
    return out


def _beats() -> npt.NDArray[np.int16]:
    samples = np.zeros(int(10 * _RATE_HZ), np.int16)
    samples[100 :: int(_RATE_HZ)] = 200
    samples[101 :: int(_RATE_HZ)] = -80
    return samples


# The parts ---------------------------------------------------------------------------------------------------


def _decode(loaded: Loaded) -> None:
    """Admit and decode packets."""
    entries = _entries(loaded, ecg=True)
    admission = Admission(loaded.decoder(), lambda _: hashes(["nobody"]))
    admission.judge([Body(Source("warmed-up", everyone=True), entries[0][3], entries[0][1])])
    loaded.decoder().decode(entries)


def _listen(loaded: Loaded) -> None:
    """Listen to a lead, without compiling the decoder."""
    readings, _ = _by_hand(_entries(loaded, ecg=False)[:1])
    samples = _beats()
    batch = replace(
        readings,
        chunk_packet=np.zeros(1, np.int64),
        chunk_code=np.array([by_name("ecg_single").code], np.uint16),
        chunk_rate=np.array([_RATE_HZ]),
        chunk_gain=np.array([200.0]),
        sample_at=np.array([0, len(samples)]),
        samples=samples,
    )
    Streams().feed(batch, np.zeros(1, np.int64), np.zeros(1, np.int32))


def _look_at_quality() -> None:
    """Judge the quality of averaged samples, as `kernels.ecg_lead` does every second."""
    quality.second(
        np.zeros(quality.QUALITY),
        np.zeros(ecg_lead.ROW),
        design(_RATE_HZ),
        _RATE_HZ,
        np.empty(quality.SCRATCH),
    )


def _read_file() -> None:
    """Read a file."""
    for _ in _file_batches():
        pass


def _go_on(loaded: Loaded) -> None:
    """Take readings through the line, without the decoder and without ECG."""
    entries = _entries(loaded, ecg=False)
    with loaded.line() as line:
        line.process(*_by_hand(entries))


def _whole(loaded: Loaded) -> None:
    """Take all kinds of packets the whole way, and a file's."""
    entries = _entries(loaded, ecg=True)
    heard = np.array([entry[1] for entry in entries], np.int64)
    with loaded.line() as line:
        alerts = line.process(*loaded.decoder().decode(entries), heard).alerts
    with loaded.line(time_basis="event") as line:
        for batch, quarantine in _file_batches():
            line.process(batch, quarantine)
    if not len(alerts):
        msg = "no alert came of packets that ask for one: the kernels of this machine are not to be trusted"
        raise RuntimeError(msg)


def _file_batches() -> Iterator[tuple[Batch, Quarantine]]:
    # Imported here: whoever does not replay files needs none of it.
    from ingest.formats import open_paths  # noqa: PLC0415

    rows = [f"warm{k % 3},{_T0_MS + k * _DAY_MS // 2},weight,{80 + k % 3},kg" for k in range(12)]
    with tempfile.TemporaryDirectory(prefix="vigie-warmup-") as folder:
        path = Path(folder) / "warm.csv"
        path.write_text(
            "\n".join(["patient,time,signal,value,unit", *reversed(rows)]) + "\n", encoding="ascii"
        )
        with open_paths([path], run_rows=5) as files:
            yield from files.batches()


def _by_hand(entries: list[tuple[int, int, str, bytes]]) -> tuple[Batch, Quarantine]:
    """Give the batch of readings that the decoder would give, without compiling the decoder."""
    packets = [(entry, fields) for entry in entries for fields in _unpacked(entry[3])]
    n = len(packets)
    values = [fields[8] for _, fields in packets]
    ids = b"warm"
    nothing = np.empty(0, np.int64)
    batch = Batch(
        offset=np.array([entry[0] for entry, _ in packets], np.int64),
        receipt_ms=np.array([entry[1] for entry, _ in packets], np.int64),
        source=np.zeros(n, np.uint16),
        kind=np.array([fields[0] for _, fields in packets], np.uint8),
        patient=np.ones(n, np.uint64),
        id_at=np.zeros(n, np.int64),
        id_len=np.full(n, len(ids), np.uint8),
        device=np.array([1 + len(fields[2]) for _, fields in packets], np.uint64),
        seq=np.array([fields[3] for _, fields in packets], np.int64),
        t_ms=np.array([fields[4] for _, fields in packets], np.int64),
        device_ms=np.zeros(n, np.int64),
        gateway_ms=np.zeros(n, np.int64),
        status=np.zeros(n, np.uint32),
        value_at=np.cumsum([0, *(len(each) // 2 for each in values)], dtype=np.int64),
        code=np.array([code for each in values for code in each[0::2]], np.uint16),
        milli=np.array([round(1000 * value) for each in values for value in each[1::2]], np.int32),
        chunk_packet=nothing,
        chunk_code=np.empty(0, np.uint16),
        chunk_rate=np.empty(0),
        chunk_gain=np.empty(0),
        sample_at=np.zeros(1, np.int64),
        samples=np.empty(0, np.int16),
        ids=np.frombuffer(ids, np.uint8),  # read-only, as the decoder's is: Numba tells the two apart
        sources=("warmup",),
        clock_ms=entries[-1][1],
        next_offset=len(entries),
    )
    no_bytes: list[bytes] = []
    quarantine = Quarantine(
        nothing, nothing, np.empty(0, np.uint16), nothing, np.empty(0, np.uint8), no_bytes
    )
    return batch, quarantine


def _unpacked(body: bytes) -> list[list[Any]]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    return list(unpacker)
