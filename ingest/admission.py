"""Admission: bodies as they came, to what the log is to hold and what the sender is told.

Many bodies are judged by one call of the decoder, because a body of one packet is not worth one. What a source may
not send is taken out, bytes and all, and logged under `ingest.decode.TURNED_AWAY`: the log holds what was decided,
so that a replay decides the same when the enrolment is another. Everything else is logged as it came.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.columns import Batch, Quarantine
from ingest.decode import TURNED_AWAY, Decoder
from ingest.reasons import Reason
from ingest.sources import Source
from kernels.framing import starts
from kernels.identity import hash_bytes
from kernels.recent import note
from kernels.wire import MAX_DEPTH

__all__ = ["Admission", "Answer", "Body", "Enrolment", "hashes"]

Hashes = npt.NDArray[np.uint64]
Enrolment = Callable[[Source], Hashes | None]
"""Gives the patients that a source may send for, as sorted `hashes`; None where it may for all."""

_REMEMBERED = 1 << 21


@dataclass(slots=True)
class Answer:
    """What became of a body: packets accepted, seen before, and refused by reason.

    `duplicate` is what this intake remembers to have logged before (some two million packets); the engine decides, and
    its accounts say, which packets are.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)

    @property
    def packets(self) -> int:
        """How many there were."""
        return self.accepted + self.duplicate + self.refused

    @property
    def refused(self) -> int:
        """How many were quarantined."""
        return sum(self.quarantined.values())


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a source, with the time at which they came (ms UTC)."""

    source: Source
    data: bytes
    receipt_ms: int


class Admission:
    """Judges bodies. Not for two threads at once.

    Parameters
    ----------
    decoder : Decoder
        Of its own.
    enrolment : Enrolment
        Asked once a source and group; may answer otherwise later.
    """

    def __init__(self, decoder: Decoder, enrolment: Enrolment) -> None:
        self._decoder = decoder
        self._enrolment = enrolment
        self._seen = np.zeros(_REMEMBERED, np.uint64)
        self._stack = np.empty(MAX_DEPTH, np.int64)

    def forget(self) -> None:
        """Forget which packets were seen: what was judged last did not come into the log."""
        self._seen[:] = 0

    def judge(self, bodies: Sequence[Body]) -> list[tuple[Answer, list[tuple[str, bytes]]]]:
        """Judge bodies.

        Returns
        -------
        list of (Answer, list of (source, body))
            For each body: what to tell its sender, and the entries for the log.
        """
        batch, quarantine = self._decoder.decode(
            [(k, body.receipt_ms, body.source.name, body.data) for k, body in enumerate(bodies)]
        )
        n = len(bodies)
        # Before others overwrite what the batch is a view of.
        away = self._turned_away(bodies, batch)
        owner = batch.offset
        taken = ~away
        repeated = np.zeros(len(batch), np.uint8)
        mine = np.flatnonzero(taken)
        again = np.empty(len(mine), np.uint8)
        note(batch.patient[mine], batch.device[mine], batch.seq[mine], self._seen, again)
        repeated[mine] = again
        duplicate = np.bincount(owner[repeated.astype(bool)], minlength=n).tolist()
        accepted = np.bincount(owner[taken & (repeated == 0)], minlength=n).tolist()
        answers = [Answer(a, d) for a, d in zip(accepted, duplicate, strict=True)]
        _count_refused(answers, quarantine)
        out: list[tuple[Answer, list[tuple[str, bytes]]]] = []
        spoilt = set(owner[away].tolist()) if away.any() else set()
        # Places of ids count from the beginning of the bodies, which are decoded one after the other.
        body_at = np.cumsum([0, *(len(body.data) for body in bodies)]) if spoilt else None
        for k, (body, answer) in enumerate(zip(bodies, answers, strict=True)):
            if body_at is None or k not in spoilt:
                out.append((answer, [(body.source.name, body.data)]))
                continue
            rows = slice(*np.searchsorted(owner, (k, k + 1)).tolist())
            begins = self._begins(body.data)
            ids = batch.id_at[rows][away[rows]] - body_at[k]
            wrong = np.searchsorted(begins, ids, side="right") - 1
            out.append((answer, _split(body, begins, wrong)))
        for k in sorted(spoilt):
            answer, parts = out[k]
            # As the engine will: what was taken out may have stood between two that are counted as one row.
            entries = [(0, bodies[k].receipt_ms, source, data) for source, data in parts]
            answer.quarantined.clear()
            _count_refused([answer], self._decoder.decode(entries)[1])
        return out

    def _turned_away(self, bodies: Sequence[Body], batch: Batch) -> npt.NDArray[np.bool_]:
        """Which packets their source may not send."""
        away = np.zeros(len(batch), np.bool_)
        by_name = {body.source.name: body.source for body in bodies}
        for index, name in enumerate(batch.sources):
            legal = self._enrolment(by_name[name])
            if legal is None:
                continue
            rows = slice(None) if len(batch.sources) == 1 else np.flatnonzero(batch.source == index)
            patients = batch.patient[rows]
            if not len(legal):
                away[rows] = True
                continue
            place = np.minimum(np.searchsorted(legal, patients), len(legal) - 1)
            away[rows] = legal[place] != patients
        return away

    def _begins(self, data: bytes) -> npt.NDArray[np.int64]:
        """Where each packet begins, and where the last one ends."""
        begin = np.empty(len(data) + 1, np.int64)
        count = starts(np.frombuffer(data, np.uint8), 0, len(data), self._stack, begin)
        return begin[: count + 1]


def hashes(patients: Sequence[str]) -> Hashes:
    """Give the sorted hashes of patients' ids, as a packet's column `patient` has them."""
    raw = [np.frombuffer(each.encode("ascii"), np.uint8) for each in patients]
    return np.unique(np.array([hash_bytes(each, 0, len(each)) for each in raw], np.uint64))


def _count_refused(answers: list[Answer], quarantine: Quarantine) -> None:
    pairs, counts = np.unique(quarantine.offset << 8 | quarantine.reason, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        answers[pair >> 8].quarantined[Reason(pair & 255).name] = count


def _split(
    body: Body, begins: npt.NDArray[np.int64], wrong: npt.NDArray[np.int64]
) -> list[tuple[str, bytes]]:
    """Part a body: what the source may send and what is not well-formed, then what it may not."""
    turned = np.zeros(len(begins) - 1, np.bool_)
    turned[wrong] = True
    bounds = list(zip(begins[:-1].tolist(), begins[1:].tolist(), turned.tolist(), strict=True))
    rest = body.data[int(begins[-1]) :]
    kept = b"".join([body.data[a:b] for a, b, no in bounds if not no]) + rest
    away = b"".join([body.data[a:b] for a, b, no in bounds if no])
    entries = [(body.source.name, kept)] if kept else []
    return [*entries, (TURNED_AWAY + body.source.name, away)]
