"""What must hold of each decoded batch, whatever the bytes were; each check looks at all rows at once."""

import framing
import msgpack
import numpy as np
from corpus import HIGH, LEADS, LOW, YEAR_2000_MS

from ingest import packet
from ingest.columns import Batch, PacketKind
from ingest.decode import MAX_RAW, TURNED_AWAY, Decoder, act_of
from ingest.reasons import Reason
from kernels import decode
from kernels.decode import (
    ACT_CODES,
    MARGIN,
    MAX_DEPTH,
    Columns,
    Refused,
    capacities,
    decode_bodies,
    hash_bytes,
)

FUTURE_MS = 300_000
_REASONS = np.array([reason for reason in Reason if Reason.OK < reason < Reason.UNKNOWN_UNIT], np.uint8)
_ONE_MORE = ("value_at", "sample_at")
_GUARD = 64  # rows after the end of each column that must stay as they were
_TABLE = framing.tables()
_LEADS = np.zeros(4096, np.uint8)
_LEADS[list(LEADS)] = 1
_ROWS = {
    "code": 1, "milli": 1, "chunk_packet": 2, "chunk_code": 2, "chunk_rate": 2, "chunk_gain": 2, "sample_at": 2,
    "samples": 3,
}  # fmt: skip


class BrokenInvariantError(AssertionError):
    """An invariant does not hold."""


def require(holds, what: str) -> None:
    """Raise BrokenInvariantError with the first row where `holds` is false."""
    holds = np.asarray(holds)
    if not holds.all():
        where = f" at row {int(np.argmin(holds))}" if holds.ndim else ""
        msg = f"{what}: does not hold{where}"
        raise BrokenInvariantError(msg)


class CarefulColumns:
    """Columns for the kernel with guard rows behind them, so that a write beyond the end is seen."""

    def __init__(self, like: Batch) -> None:
        self._types = {name: getattr(like, name).dtype for name in Columns._fields}
        self._refused = {"entry": np.int64, "at": np.int64, "length": np.int64, "reason": np.uint8}
        self._have = (0, 0, 0, 0, 0)

    def give(self, rows: tuple[int, ...]) -> tuple[Columns, Refused]:
        """Give columns of exactly `rows`, the guards behind them set."""
        if any(have < want for have, want in zip(self._have, rows, strict=True)):
            self._have = tuple(2 * want for want in rows)
            self._all = {
                name: np.empty(self._have[_ROWS.get(name, 0)] + 1 + _GUARD, dtype)
                for name, dtype in self._types.items()
            }
            self._bad = {
                name: np.empty(self._have[4] + _GUARD, dtype) for name, dtype in self._refused.items()
            }
        self._ends = {name: rows[_ROWS.get(name, 0)] + (name in _ONE_MORE) for name in self._types}
        for name, column in self._all.items():
            column[self._ends[name] :][:_GUARD].view(np.uint8)[:] = 0xA5
        for column in self._bad.values():
            column[rows[4] :][:_GUARD].view(np.uint8)[:] = 0xA5
        self._bad_end = rows[4]
        columns = Columns(**{name: column[: self._ends[name]] for name, column in self._all.items()})
        return columns, Refused(**{name: column[: self._bad_end] for name, column in self._bad.items()})

    def check(self) -> None:
        """Look at the guards."""
        for name, column in self._all.items():
            require(
                column[self._ends[name] :][:_GUARD].view(np.uint8) == 0xA5,
                f"{name} is not written past its end",
            )
        for name, column in self._bad.items():
            require(
                column[self._bad_end :][:_GUARD].view(np.uint8) == 0xA5, f"refused {name} stays in its rows"
            )


_SOURCES = ("gateway", "cell") * 3 + (TURNED_AWAY + "gateway", "cell")
_FLAGS = np.array([decode.TURNED_AWAY if " " in each else each == "cell" for each in _SOURCES], np.uint8)


class Checker:
    """Decodes batches of bodies in two ways and checks what comes out.

    Parameters
    ----------
    receipt_ms : int
        Of all bodies.
    seed : int
        Which packets are sampled.
    """

    def __init__(self, receipt_ms: int, seed: int = 0) -> None:
        self.receipt_ms = receipt_ms
        self.rng = np.random.default_rng(seed)
        self.decoder = Decoder(LOW, HIGH)
        self.stack = np.empty(MAX_DEPTH, np.int64)
        self.left = np.zeros(framing.MAX_DEPTH + 1, np.int64)
        self.careful: CarefulColumns | None = None
        self.packets = 0
        self.refused = np.zeros(256, np.int64)
        self.sampled = 0

    def run(self, data: np.ndarray, body_at: np.ndarray, *, samples: int = 20) -> None:
        """Decode the bodies of one batch; half of them come from the cell, an eighth was turned away.

        Raises
        ------
        BrokenInvariantError
            When an invariant does not hold.
        """
        bodies = len(body_at) - 1
        joined = data.tobytes()
        data = np.frombuffer(
            joined, np.uint8
        )  # read-only, as bodies are: the kernel is compiled for one type
        cuts = body_at.tolist()
        entries = [
            (k, self.receipt_ms, _SOURCES[k % len(_SOURCES)], joined[cuts[k] : cuts[k + 1]])
            for k in range(bodies)
        ]
        batch, quarantine = self.decoder.decode(entries)
        length = self._second_way(data, body_at, batch, quarantine)
        require(np.diff(batch.offset) >= 0, "packets in the order of bodies")
        n = len(batch)
        begin, end = np.zeros(n, np.int64), np.zeros(n, np.int64)
        missed = framing.cover(
            data, body_at, batch.offset, batch.id_at, batch.id_len, quarantine.offset,
            quarantine.at + body_at[quarantine.offset], length, quarantine.reason, _TABLE, self.left, begin, end,
        )  # fmt: skip
        require(missed < 0, f"every byte of body {missed} is accepted or refused once")
        self._columns(batch, data)
        require(np.isin(quarantine.reason, _REASONS), "reasons are known")
        sizes = np.fromiter(map(len, quarantine.raw), np.int64, len(quarantine))
        require(sizes == np.minimum(length, MAX_RAW), "raw bytes of what was refused")
        self._sample(batch, data, begin, end, samples)
        self.packets += n
        self.refused += np.bincount(quarantine.reason, minlength=256)

    def _second_way(self, data, body_at, batch, quarantine):
        """Decode without the short path, nothing behind the bodies; the same must come out. Lengths refused."""
        bodies = len(body_at) - 1
        if self.careful is None:
            self.careful = CarefulColumns(batch)
        columns, refused = self.careful.give(capacities(len(data), bodies))
        index = np.arange(bodies)
        counts = decode_bodies(
            data, body_at, index, np.full(bodies, self.receipt_ms), index & 1, _FLAGS[index % len(_FLAGS)],
            LOW, HIGH, _LEADS, len(data) + MARGIN, self.stack, columns, refused,
        )  # fmt: skip
        self.careful.check()
        bad = counts[4]
        require(counts[0] == len(batch) and bad == len(quarantine), "both paths accept as many packets")
        for name in Columns._fields:
            ours = getattr(batch, name)
            if name != "source":  # numbered by appearance in one, given in the other
                require(ours == getattr(columns, name)[: len(ours)], f"both paths give the same {name}")
        require(quarantine.offset == refused.entry[:bad], "both paths refuse in the same bodies")
        require(
            quarantine.at == refused.at[:bad] - body_at[refused.entry[:bad]],
            "both paths refuse at the same byte",
        )
        require(quarantine.reason == refused.reason[:bad], "both paths refuse for the same reason")
        return refused.length[:bad].copy()

    def _columns(self, batch: Batch, data: np.ndarray) -> None:
        kind = batch.kind
        require((kind >= 1) & (kind <= 5), "kinds are known")
        require((kind != PacketKind.ACT) | (batch.offset & 1 == 1), "acts come from the cell")
        require((batch.id_len >= 1) & (batch.id_len <= packet.MAX_ID), "ids have 1 to 40 bytes")
        require((batch.patient != 0) & (batch.device != 0), "hashes of ids are not 0")
        for k in range(packet.MAX_ID):
            letters = data[(batch.id_at + k)[batch.id_len > k]]
            require((letters >= 0x21) & (letters <= 0x7E), "ids are printable")
        require(batch.seq >= 0, "sequence numbers are not negative")
        require(
            (batch.t_ms >= YEAR_2000_MS) & (batch.t_ms <= self.receipt_ms + FUTURE_MS), "times are in range"
        )
        require(batch.status & 3 == 0, "no test and no invalid reading")
        require(batch.receipt_ms == self.receipt_ms, "receipt times are the bodies'")

        pairs = np.diff(batch.value_at)
        require(batch.value_at[0] == 0 and batch.value_at[-1] == len(batch.code), "values belong to packets")
        wanted = (pairs >= 1) & (pairs <= packet.MAX_PAIRS)
        wanted = np.where(
            kind == PacketKind.ECG,
            pairs == 0,
            np.where(kind == PacketKind.ACT, (pairs == 4) | (pairs == 8), wanted),
        )
        require(wanted, "packets have as many values as their kind allows")
        of = np.repeat(np.arange(len(batch)), pairs)
        act = kind[of] == PacketKind.ACT
        require(
            (batch.code[act] >= ACT_CODES) & (batch.code[act] < ACT_CODES + 8), "acts have codes of their own"
        )
        code, milli = batch.code[~act], batch.milli[~act] / 1000.0
        require(code < len(LOW), "codes are in the table")
        require((milli >= LOW[code]) & (milli <= HIGH[code]), "values are plausible")
        keys = np.sort(of.astype(np.int64) << 16 | batch.code)
        require(np.diff(keys) > 0, "no code twice in a packet")

        require(batch.chunk_packet == np.flatnonzero(kind == PacketKind.ECG), "each ECG packet has one chunk")
        require(np.isin(batch.chunk_code, LEADS), "leads are known")
        require((batch.chunk_rate >= 100) & (batch.chunk_rate <= 1000), "rates are legal")
        require((batch.chunk_gain > 0) & np.isfinite(batch.chunk_gain), "gains are legal")
        counts = np.diff(batch.sample_at)
        require(
            batch.sample_at[0] == 0 and batch.sample_at[-1] == len(batch.samples), "samples belong to chunks"
        )
        require((counts >= 1) & (counts <= 300 * batch.chunk_rate), "chunks have samples")

    def _sample(self, batch: Batch, data, begin, end, samples: int) -> None:
        """Encode some accepted packets anew from what a library reads in them; they must decode to the same row."""
        if not len(batch):
            return
        rows = np.unique(self.rng.integers(0, len(batch), samples))
        entries = []
        for row in rows.tolist():
            raw = data[begin[row] : end[row]].tobytes()
            kind, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload = msgpack.unpackb(
                raw, raw=True
            )
            require(batch.patient_id(row).encode() == patient, "the patient's id")
            device_bytes = np.frombuffer(device, np.uint8)
            require(hash_bytes(device_bytes, 0, len(device)) == batch.device[row], "the device's hash")
            times = {"device_ms": device_ms, "gateway_ms": gateway_ms, "status": status}
            if kind == PacketKind.ECG:
                made = packet.ecg_chunk(
                    patient, device, seq, t_ms, *payload[:3], np.frombuffer(payload[3], "<i2"), **times
                )
            elif kind == PacketKind.ACT:
                read = (*payload[:3], *(word.decode() for word in payload[3:]))
                require(act_of(batch, row) == read, "the act")
                if payload[0] == packet.CLOSE:
                    made = packet.act(patient, device, seq, t_ms, payload[1], payload[2], **times)
                else:
                    milli = read[2] if payload[0] in {packet.SET, packet.SET_OF_CELL} else None
                    of_cell = payload[0] in {packet.SET_OF_CELL, packet.TAKE_BACK_OF_CELL}
                    made = packet.limit_act(
                        patient, device, seq, t_ms, payload[1], milli, *read[3:], of_cell=of_cell, **times
                    )
            else:
                make = {1: packet.spot, 3: packet.questionnaire, 4: packet.device_status}[kind]
                made = make(
                    patient, device, seq, t_ms, dict(zip(payload[::2], payload[1::2], strict=True)), **times
                )
            entries.append((len(entries), self.receipt_ms, "cell", made))
        again, refused = Decoder(LOW, HIGH).decode(entries)
        require(len(refused) == 0 and len(again) == len(rows), "what was accepted is accepted again")
        for name in (
            "kind",
            "patient",
            "device",
            "seq",
            "t_ms",
            "device_ms",
            "gateway_ms",
            "status",
            "id_len",
        ):
            require(getattr(again, name) == getattr(batch, name)[rows], f"the same {name} when encoded again")
        for k, row in enumerate(rows.tolist()):
            ours, theirs = slice(*batch.value_at[row : row + 2]), slice(*again.value_at[k : k + 2])
            require(np.array_equal(batch.code[ours], again.code[theirs]), "the same codes when encoded again")
            if batch.kind[row] == PacketKind.ACT:  # where its words stand depends on the encoding
                require(act_of(batch, row) == act_of(again, k), "the same act when encoded again")
                continue
            require(
                np.array_equal(batch.milli[ours], again.milli[theirs]), "the same values when encoded again"
            )
        for k, chunk in enumerate(np.flatnonzero(np.isin(batch.chunk_packet, rows)).tolist()):
            ours, theirs = slice(*batch.sample_at[chunk : chunk + 2]), slice(*again.sample_at[k : k + 2])
            require(np.array_equal(batch.samples[ours], again.samples[theirs]), "the same samples")
            require(batch.chunk_rate[chunk] == again.chunk_rate[k], "the same rate")
            require(batch.chunk_gain[chunk] == again.chunk_gain[k], "the same gain")
        self.sampled += len(rows)
