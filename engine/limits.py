"""Limits in force of a shard's patients: those of the roster, and those that acts of the cell set.

An act holds from its place in the log on, for whatever is judged after it. Of several about one limit the newest by
its own time counts, whatever the order of arrival. A limit that nobody has of their own has no column in the state:
the first act about it makes one.

A delay that runs meanwhile goes on: what it brings on a tick tells the limits that it was judged by, those of before
the act. Where one runs they are remembered until the group of rules is judged anew.

An act is about a patient alone, or tells the patient which limit the cell has set. The first that there is of: an act
about the patient, the book's entry for the patient, an act of the patient's cell, the rest of the book, the default.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from engine.acts import limit_keys
from engine.judging import Found, LimitSet
from engine.limits_before import Before
from engine.program import Program, limit_key
from engine.roster import Roster
from engine.state import State
from ingest.columns import Batch, PacketKind
from ingest.decode import LimitAct, act_of
from ingest.packet import SET, SET_OF_CELL, TAKE_BACK_OF_CELL
from ingest.signals import MILLI
from kernels.advance import Plan
from kernels.lifecycle import NORMAL
from rules.limits import words_of

__all__ = ["Limits"]

_SAVED = "limit_acts"
_SAVED_WORDS = "limit_words"
_SAVED_BEFORE = "limits_before"

_ROW = np.dtype(
    [
        ("slot", "<i4"), ("q", "<i4"), ("of_cell", "?"), ("t_ms", "<i8"), ("seq", "<i8"), ("device", "<u8"),
        ("milli", "<i8"), ("words", "<i4"),
    ]
)  # fmt: skip
"""An act in a checkpoint."""

_NONE = -(1 << 62)
"""In the place of thousandths: taken back."""
_KEPT = 65_536
"""Patients' limits of which it is remembered where they come from."""

_Place = tuple[int, int, bool]
"""Slot, limit (of `Program.limit_names`), and whether it is the limit of the patient's cell."""

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class _Act:
    """The newest act about a limit of a patient or their cell; the order is that in which acts count."""

    t_ms: int
    seq: int
    device: int
    milli: int | None  # None: taken back
    author: str
    text: str

    @property
    def content(self) -> tuple[int, int | None, str, str]:
        """What is told again when an act is told again."""
        return self.t_ms, self.milli, self.author, self.text


class Limits:
    """Limits in force of the patients of a state.

    Where a limit comes from is known of those that acts put (`apply`), not of those that were put without an act (by
    `put` or `put_for_all`): judging kept features does that, and writes no sentences.

    Parameters
    ----------
    program : Program
    plan : Plan
        Of the program; its `limit_column` changes where a limit gets a column.
    state : State
    roster : Roster
    """

    def __init__(self, program: Program, plan: Plan, state: State, roster: Roster) -> None:
        self._program = program
        self._plan = plan
        self._state = state
        self._roster = roster
        self._place = limit_keys(program)
        self._zone = ZoneInfo(program.options.zones[0])
        self._names = [(program.protocols[p].id, name) for p, name in program.limit_names]
        self._own = len(program.own)
        self._acts: dict[_Place, _Act] = {}
        self._said: dict[_Place, int] = {}
        """Thousandths that acts have put in force."""
        self._before = Before()
        self._everyone: dict[int, int] = {}
        """Thousandths of limits of the cell that hold for all, by `put_for_all`."""
        self._saved: dict[str, npt.NDArray[np.generic]] | None = None
        self._known: dict[tuple[int, int], int] = {}
        self._index: dict[str, int] = {}
        self.origins: list[str] = []
        """French words for where limits come from; `in_force` gives indices."""
        rules = [
            [program.limit_names.index((program.protocols.index(row.protocol), name)) for name in names]
            for row in program.rule_rows
            for names in [row.protocol.limits_of(row.rule) if row.rule is not None else ()]
        ]
        self._group = np.array([row.group for row in program.rule_rows], np.int64)
        self._rules_of: dict[int, list[int]] = {}
        for r, places in enumerate(rules):
            for q in places:
                self._rules_of.setdefault(q, []).append(r)
        self._of_rule = np.full((len(rules), max(map(len, rules), default=0)), -1, np.int32)
        for r, places in enumerate(rules):
            self._of_rule[r, : len(places)] = places

    # Acts ----------------------------------------------------------------------------------------------------

    @staticmethod
    def acts(batch: Batch, rows: I64) -> I64:
        """Give which of some packets are acts about a limit: positions in `rows`."""
        acts = np.flatnonzero(batch.kind[rows] == PacketKind.ACT)
        return acts[batch.milli[batch.value_at[rows[acts]]] >= SET]

    def news(self, batch: Batch, row: int, slot: int) -> bool:
        """Say whether an act changes anything: it is legal here, and neither older than what is known nor the same."""
        q, of_cell, act = self._read(batch, row)
        known = self._acts.get((slot, q, of_cell))
        return q >= 0 and (known is None or (act > known and act.content != known.content))

    def apply(self, batch: Batch, row: int, slot: int) -> LimitSet:
        """Put an act that is news in force; give what `put` takes."""
        q, of_cell, act = self._read(batch, row)
        phase = self._state.arrays["phase"][slot]
        under_way = {int(self._group[r]) for r in self._rules_of.get(q, ()) if phase[r] != NORMAL}
        if under_way:
            now = self._now(slot, q)
            for g in under_way:
                self._before.remember(slot, g, q, now)
        self._take((slot, q, of_cell), act)
        return LimitSet(slot, limit_key(*self._names[q]), act.milli, of_cell)

    def put(self, given: LimitSet) -> None:
        """Put in force what `apply` gave; where this program has no such limit, nothing."""
        q = self._legal(given.key, given.milli)
        if q >= 0:
            self._set((given.slot, q, given.of_cell), given.milli)

    def put_for_all(self, key: int, milli: int, slots: I32) -> None:
        """Put a limit of the cell in force for all patients, slots int32[n], who have none of their own.

        What acts have said before of their cells' limit holds no more.
        """
        q = self._legal(key, milli)
        if q < 0:
            return
        self._everyone[q] = milli
        self._said = {place: each for place, each in self._said.items() if place[1:] != (q, True)}
        column = self._column(q)
        self._state.arrays["limits"][slots, column] = milli / MILLI
        own = self._roster.owners(*self._names[q])
        for slot, patient in zip(slots.tolist(), self._state.patient_ids(slots), strict=True) if own else ():
            if patient in own:
                self._write(slot, q)
        for slot, other, _ in self._said:
            if other == q:
                self._write(slot, q)

    def _read(self, batch: Batch, row: int) -> tuple[int, bool, _Act]:
        """Read an act, whether it is of the cell, and the place of its limit, as `_legal` gives it."""
        read = act_of(batch, row)
        if not isinstance(read, LimitAct):
            msg = f"packet {row} is no act about a limit"
            raise TypeError(msg)
        of_cell = read.verb in {SET_OF_CELL, TAKE_BACK_OF_CELL}
        milli = read.milli if read.verb in {SET, SET_OF_CELL} else None
        q = self._legal(read.key, milli)
        t_ms, seq, device = int(batch.t_ms[row]), int(batch.seq[row]), int(batch.device[row])
        return q, of_cell, _Act(t_ms, seq, device, milli, read.author, read.text)

    def _legal(self, key: int, milli: int | None) -> int:
        """Give the place of a limit; -1 where this program has none of that key, or not of that value."""
        q = self._place.get(key, -1)
        if q >= 0 and milli is not None:
            p, name = self._program.limit_names[q]
            limit = self._program.protocols[p].limits[name]
            return q if limit.min <= milli / MILLI <= limit.max else -1
        return q

    def _take(self, place: _Place, act: _Act) -> None:
        self._acts[place] = act
        self._saved = None
        self._set(place, act.milli)

    def _set(self, place: _Place, milli: int | None) -> None:
        if milli is None:
            self._said.pop(place, None)
        else:
            self._said[place] = milli
        slot, q, _ = place
        self._known.pop((slot, q), None)
        self._write(slot, q)

    def _write(self, slot: int, q: int) -> None:
        """Write what is in force into the state."""
        column = self._column(q)
        by = self._by(slot, q)
        if by is None:
            (patient,) = self._state.patient_ids(np.array([slot]))
            value, _ = self._roster.in_force(patient, *self._names[q])
        else:
            value = self._said.get(by, self._everyone.get(q, 0)) / MILLI
        self._state.arrays["limits"][slot, column] = value

    def _column(self, q: int) -> int:
        """Give the column of a limit in the state, made where there is none yet."""
        column = int(self._plan.limit_column[q])
        if column < 0:
            column = self._plan.limit_column[q] = self._state.widen(float(self._plan.limit_default[q]))
        return column

    def _by(self, slot: int, q: int) -> _Place | None:
        """Give the act that a limit is in force by; None where it is the roster's."""
        if (slot, q, False) in self._said:
            return slot, q, False
        if (slot, q, True) in self._said or q in self._everyone:
            (patient,) = self._state.patient_ids(np.array([slot]))
            return None if self._roster.own(patient, *self._names[q]) else (slot, q, True)
        return None

    # Patients ------------------------------------------------------------------------------------------------

    def place(self, slots: I32) -> None:
        """Write the limits of new slots into the state."""
        self._roster.place(self._state, slots)
        for q, column in enumerate(self._plan.limit_column.tolist()):
            if column >= self._own:
                self._state.arrays["limits"][slots, column] = self._plan.limit_default[q]

    def in_force(
        self, rules: npt.NDArray[np.int16], slots: I32, before: npt.NDArray[np.bool_] | None = None
    ) -> tuple[F64, I32]:
        """Give the limits that some rules go by, and where each comes from.

        Parameters
        ----------
        rules, slots : int16[n], int32[n]
        before : bool[n], optional
            Of which the limits are those that the rule was judged by last, not those that acts set since.

        Returns
        -------
        values : float64[n, k]
            In the limit's unit, in the order of `Protocol.limits_of`; NaN where there is none.
        origins : int32[n, k]
            Indices into `origins`; -1 beyond the limits of the rule.
        """
        which = self._of_rule[rules]
        values = np.full(which.shape, np.nan)
        origins = np.full(which.shape, -1, np.int32)
        for q in np.unique(which[which >= 0]).tolist():
            here = which == q
            of = slots[np.nonzero(here)[0]]
            column = int(self._plan.limit_column[q])
            if column < 0:
                values[here] = self._plan.limit_default[q]
                origins[here] = self._intern(self._roster.in_force("", *self._names[q])[1])
            else:
                values[here] = self._state.readings.limits[of, column]
                origins[here] = [self._origin(slot, q) for slot in of.tolist()]
        if before is not None:
            for n in np.flatnonzero(before).tolist():
                then = self._before.of(int(slots[n]), int(self._group[rules[n]]))
                for k, q in enumerate(which[n].tolist()):
                    if q in then:
                        values[n, k], origins[n, k] = then[q][0], self._intern(then[q][1])
        return values, origins

    def changed(self, rules: npt.NDArray[np.int16], slots: I32) -> npt.NDArray[np.bool_]:
        """Say which rules, each of a patient, were judged last before an act changed a limit of theirs, bool[n]."""
        out = np.zeros(len(rules), np.bool_)
        if self._before:
            places = zip(slots.tolist(), self._group[rules].tolist(), strict=True)
            out[:] = [bool(self._before.of(*place)) for place in places]
        return out

    def judged(self, found: Found) -> None:
        """Hear that groups of rules were judged anew for some patients."""
        if self._before:
            for g, block in enumerate(found.blocks):
                self._before.judged(g, found.slot[block.event])

    @contextmanager
    def as_before(self, group: int, slot: int) -> Iterator[None]:
        """Have the limits that a group was judged by in the state meanwhile: for evidence, which is made of it."""
        row = self._state.arrays["limits"][slot]
        now = row.copy()
        for q, (value, _) in self._before.of(slot, group).items():
            row[int(self._plan.limit_column[q])] = value
        try:
            yield
        finally:
            row[:] = now

    def _now(self, slot: int, q: int) -> tuple[float, str]:
        """Give the value of a limit of a patient, and where it comes from."""
        column = int(self._plan.limit_column[q])
        of_all = column < 0
        value = float(self._plan.limit_default[q] if of_all else self._state.arrays["limits"][slot, column])
        return value, self.origins[self._origin(slot, q)]

    def _origin(self, slot: int, q: int) -> int:
        if len(self._known) > _KEPT:
            self._known.clear()
        known = self._known.get((slot, q))
        if known is None:
            by = self._by(slot, q)
            (patient,) = self._state.patient_ids(np.array([slot]))
            if by is None:
                words = self._roster.in_force(patient, *self._names[q])[1]
            else:
                act = self._acts.get(by)
                if act is None:
                    protocol, name = self._names[q]
                    msg = f"{protocol}.{name} was put in force without an act: it is not known where it comes from"
                    raise AssertionError(msg)
                date = datetime.fromtimestamp(act.t_ms / 1000, self._zone).date()
                # Which cell that is, the log does not say, and the roster may be another by now.
                words = words_of("cell" if by[2] else "patient", "", act.author, date, act.text)
            known = self._known[slot, q] = self._intern(words)
        return known

    def _intern(self, words: str) -> int:
        place = self._index.setdefault(words, len(self.origins))
        if place == len(self.origins):
            self.origins.append(words)
        return place

    # Checkpoints ---------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give the acts that count, and what is remembered of before them, for a checkpoint."""
        if self._saved is None:
            # Who and why are few: a cell's limit is said to each patient in the same words.
            words: dict[tuple[str, str], int] = {}
            rows = [
                (
                    *place, act.t_ms, act.seq, act.device, _NONE if act.milli is None else act.milli,
                    words.setdefault((act.author, act.text), len(words)),
                )
                for place, act in self._acts.items()
            ]  # fmt: skip
            made = np.array(rows, _ROW)
            self._saved = {
                _SAVED: made[np.argsort(made[["slot", "q", "of_cell"]], kind="stable")].view(np.uint8),
                _SAVED_WORDS: np.frombuffer(json.dumps(list(words)).encode(), np.uint8),
            }
        return self._saved | {_SAVED_BEFORE: self._before.snapshot()}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Put the acts of a checkpoint in force; the state's patients are there, placed anew."""
        words = json.loads(arrays[_SAVED_WORDS].tobytes())
        for slot, q, of_cell, t_ms, seq, device, milli, said in arrays[_SAVED].view(_ROW).tolist():
            known = None if milli == _NONE else milli
            self._take((slot, q, of_cell), _Act(t_ms, seq, device, known, *words[said]))
        self._before.restore(arrays[_SAVED_BEFORE])
