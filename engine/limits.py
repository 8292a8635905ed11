"""Limits in force of a shard's patients: those of the roster, and those that acts of the cell set.

An act holds from its place in the log on, for whatever is judged after it. Of several about one limit the newest by
its own time counts, whatever the order of arrival. A limit that nobody has of their own has no column in the state:
the first act about it makes one.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from engine.acts import limit_keys
from engine.judging import LimitSet
from engine.program import Program, limit_key
from engine.roster import Roster
from engine.state import State
from ingest.columns import Batch, PacketKind
from ingest.decode import LimitAct, act_of
from ingest.packet import SET
from ingest.signals import MILLI
from kernels.advance import Plan
from rules.limits import words_of

__all__ = ["Limits"]

_SAVED = "limit_acts"
_KEPT = 65_536
"""Patients' limits of which it is remembered where they come from."""

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class _Act:
    """The newest act about a limit of a patient; the order is that in which acts count."""

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
        self._acts: dict[tuple[int, int], _Act] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._index: dict[str, int] = {}
        self.origins: list[str] = []
        """French words for where limits come from; `in_force` gives indices."""
        rules = [
            [program.limit_names.index((program.protocols.index(row.protocol), name)) for name in names]
            for row in program.rule_rows
            for names in [row.protocol.limits_of(row.rule) if row.rule is not None else ()]
        ]
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
        q, act = self._read(batch, row)
        known = self._acts.get((slot, q))
        return q >= 0 and (known is None or (act > known and act.content != known.content))

    def apply(self, batch: Batch, row: int, slot: int) -> LimitSet:
        """Put an act that is news in force; give what `put` takes."""
        q, act = self._read(batch, row)
        self._take(slot, q, act)
        return slot, limit_key(*self._names[q]), act.milli

    def put(self, slot: int, key: int, milli: int | None) -> None:
        """Put in force what `apply` gave; where this program has no such limit, nothing."""
        q = self._legal(key, milli)
        if q >= 0:
            self._set(slot, q, milli)

    def _read(self, batch: Batch, row: int) -> tuple[int, _Act]:
        """Read an act and the place of its limit, as `_legal` gives it."""
        read = act_of(batch, row)
        if not isinstance(read, LimitAct):
            msg = f"packet {row} is no act about a limit"
            raise TypeError(msg)
        milli = read.milli if read.verb == SET else None
        q = self._legal(read.key, milli)
        t_ms, seq, device = int(batch.t_ms[row]), int(batch.seq[row]), int(batch.device[row])
        return q, _Act(t_ms, seq, device, milli, read.author, read.text)

    def _legal(self, key: int, milli: int | None) -> int:
        """Give the place of a limit; -1 where this program has none of that key, or not of that value."""
        q = self._place.get(key, -1)
        if q >= 0 and milli is not None:
            p, name = self._program.limit_names[q]
            limit = self._program.protocols[p].limits[name]
            return q if limit.min <= milli / MILLI <= limit.max else -1
        return q

    def _take(self, slot: int, q: int, act: _Act) -> None:
        self._acts[slot, q] = act
        self._known.pop((slot, q), None)
        self._set(slot, q, act.milli)

    def _set(self, slot: int, q: int, milli: int | None) -> None:
        column = int(self._plan.limit_column[q])
        if column < 0:
            column = self._plan.limit_column[q] = self._state.widen(float(self._plan.limit_default[q]))
        if milli is None:
            (patient,) = self._state.patient_ids(np.array([slot]))
            value, _ = self._roster.in_force(patient, *self._names[q])
        else:
            value = milli / MILLI
        self._state.arrays["limits"][slot, column] = value

    # Patients ------------------------------------------------------------------------------------------------

    def place(self, slots: I32) -> None:
        """Write the limits of new slots into the state."""
        self._roster.place(self._state, slots)
        for q, column in enumerate(self._plan.limit_column.tolist()):
            if column >= self._own:
                self._state.arrays["limits"][slots, column] = self._plan.limit_default[q]

    def in_force(self, rules: npt.NDArray[np.int16], slots: I32) -> tuple[F64, I32]:
        """Give the limits that some rules go by, and where each comes from.

        Parameters
        ----------
        rules, slots : int16[n], int32[n]

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
        return values, origins

    def _origin(self, slot: int, q: int) -> int:
        if len(self._known) > _KEPT:
            self._known.clear()
        known = self._known.get((slot, q))
        if known is None:
            act = self._acts.get((slot, q))
            if act is None or act.milli is None:
                (patient,) = self._state.patient_ids(np.array([slot]))
                words = self._roster.in_force(patient, *self._names[q])[1]
            else:
                date = datetime.fromtimestamp(act.t_ms / 1000, self._zone).date()
                words = words_of("patient", "", act.author, date, act.text)
            known = self._known[slot, q] = self._intern(words)
        return known

    def _intern(self, words: str) -> int:
        place = self._index.setdefault(words, len(self.origins))
        if place == len(self.origins):
            self.origins.append(words)
        return place

    # Checkpoints ---------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give the acts that count, for a checkpoint: one array of bytes."""
        rows = [
            [slot, q, act.t_ms, act.seq, act.device, act.milli, act.author, act.text]
            for (slot, q), act in sorted(self._acts.items())
        ]
        return {_SAVED: np.frombuffer(json.dumps(rows).encode(), np.uint8)}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Put the acts of a checkpoint in force; the state's patients are there, placed anew."""
        for slot, q, *act in json.loads(arrays[_SAVED].tobytes()):
            self._take(slot, q, _Act(*act))
