"""Taking people into the register: who is new, who is there already, what must be looked at by a person.

Works in a transaction that is open and knows nothing of how it ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.progress import SILENT, Progress
from triage.identity import ins
from triage.identity.errors import FieldError, RegisterError
from triage.identity.person import Care, Person
from triage.identity.pseudonym import draw
from triage.identity.tables import Base

__all__ = ["Admission", "Entry", "Taken"]

PATIENT = Base.metadata.tables["patient"]
STAY = Base.metadata.tables["stay"]
CHANGE = Base.metadata.tables["change"]

CHUNK = 500
"""Patients to a statement: 19 columns each, under SQLite's 32,766 parameters."""

FOLLOWED = PATIENT.c.closed_ms.is_(None)


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody on a list. `given` are the fields that the list has: others are left as they are."""

    person: Person
    care: Care
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an entry.

    `what` is enrolled, updated, unchanged or refused; `id` that of the patient, "" where there is none; `fields` the
    names of what was updated; `notes` what a person must look at; `refused` why, where it was.
    """

    what: str
    id: str
    fields: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused: FieldError | None = None


class Admission:
    """Takes people in.

    Parameters
    ----------
    connection : Connection
        In a transaction that writes.
    by, login : str
        Who does it, as they say and as the machine knows them.
    at_ms : int
        When, ms UTC.
    """

    def __init__(self, connection: Connection, by: str, login: str, at_ms: int) -> None:
        self._connection = connection
        self._insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
        self._by = by
        self._login = login
        self._at_ms = at_ms
        self._cells = set(connection.execute(select(PATIENT.c.cell).distinct()).scalars())

    def enrol(self, person: Person, care: Care) -> Taken:
        """Take in one person who must be new; raises `RegisterError` where they are followed already."""
        before = [row for row in self._rows([person.ins]) if row["closed_ms"] is not None]
        made = self._new([Entry(person, care, frozenset())])
        if not made:
            (row,) = (row for row in self._rows([person.ins]) if row["closed_ms"] is None)
            msg = f"{ins.mask(person.ins)}: followed already, as {row['id']} in {row['cell']}"
            raise RegisterError(msg)
        taken = made[person.ins]
        past = tuple(f"was followed before, as {row['id']}" for row in before)
        return Taken(taken.what, taken.id, notes=taken.notes + past)

    def take(self, entries: Sequence[Entry], progress: Progress = SILENT) -> list[Taken]:
        """Take in a list, in which each INS is there once."""
        # Always in one order, so that two lists that meet wait for one another and do not block.
        order = sorted(entries, key=lambda each: each.person.ins)
        taken: dict[str, Taken] = {}
        progress.step("write", len(order), "patients")
        for start in range(0, len(order), CHUNK):
            some = order[start : start + CHUNK]
            rows = self._rows([each.person.ins for each in some])
            past = {row["ins"]: row for row in rows if row["closed_ms"] is not None}
            now = {row["ins"]: row for row in rows if row["closed_ms"] is None}
            new = []
            for each in some:
                number = each.person.ins
                if number in now:
                    taken[number] = self._meet(now[number], each)
                elif number in past:
                    what = f"{ins.mask(number)}: the follow-up as {past[number]['id']} is over"
                    again = "to leave the line out; vigie patient enrol to follow the person again"
                    taken[number] = Taken("refused", "", refused=FieldError("ins", what, again))
                else:
                    new.append(each)
            taken |= self._new(new)
            for each in new:
                if each.person.ins not in taken:
                    what = f"{ins.mask(each.person.ins)}: enrolled by somebody else at this moment"
                    taken[each.person.ins] = Taken(
                        "refused", "", refused=FieldError("ins", what, "the same command again")
                    )
            progress.advance(len(some))
        return [taken[each.person.ins] for each in entries]

    def correct(self, row: RowMapping, values: Mapping[str, Any]) -> Taken:
        """Change fields of a patient who is followed, the INS among them."""
        columns = _as_columns(values)
        number = columns.get("ins", row["ins"])
        for other in self._rows([number]):
            if other["closed_ms"] is None and other["id"] != row["id"]:
                msg = f"{ins.mask(number)}: followed already, as {other['id']} in {other['cell']}"
                raise RegisterError(msg)
        changed = {name: value for name, value in columns.items() if value != row[name]}
        birth_date = columns.get("birth_date", row["birth_date"])
        return self._change(row, changed, _looks_wrong(number, birth_date))

    # Inside --------------------------------------------------------------------------------------------------

    def _rows(self, numbers: Sequence[str]) -> Sequence[RowMapping]:
        query = (
            select(PATIENT).where(PATIENT.c.ins.in_(numbers)).order_by(PATIENT.c.ins, PATIENT.c.enrolled_ms)
        )
        return self._connection.execute(query.with_for_update()).mappings().all()

    def _new(self, entries: Sequence[Entry]) -> dict[str, Taken]:
        """Enrol people; give what became of those who were new indeed, by INS."""
        if not entries:
            return {}
        rows = [
            {
                **_columns(each),
                "id": draw(),
                "enrolled_ms": self._at_ms,
                "enrolled_by": self._by,
            }
            for each in entries
        ]
        # The database decides who is new. A conflict that it would raise as an error would be written to the
        # server's own log with the INS.
        insert = self._insert(PATIENT).on_conflict_do_nothing(index_elements=["ins"], index_where=FOLLOWED)
        done = self._connection.execute(insert.returning(PATIENT.c.ins, PATIENT.c.id), rows)
        made = {row["ins"]: row["id"] for row in done.mappings()}
        new = [each for each in entries if each.person.ins in made]
        if not new:
            return {}
        stays = [{"patient": made[e.person.ins], "cell": e.care.cell, "from_ms": self._at_ms} for e in new]
        self._connection.execute(STAY.insert(), stays)
        self._note([(made[e.person.ins], "enrolled", []) for e in new])
        alike = self._alike(new, made)
        taken = {}
        for each in new:
            number = each.person.ins
            notes = [*_looks_wrong(number, each.person.birth_date), *alike.get(number, ())]
            if each.care.cell not in self._cells:
                self._cells.add(each.care.cell)
                notes.append(f"the first patient of {each.care.cell}: is the name of the cell right?")
            taken[number] = Taken("enrolled", made[number], notes=tuple(notes))
        return taken

    def _meet(self, row: RowMapping, entry: Entry) -> Taken:
        """Bring a patient who is there to what the list says."""
        wanted = _columns(entry)
        changed = {
            name: value
            for name, value in wanted.items()
            if name in entry.given and name != "ins" and value != row[name]
        }
        if "cell" in changed:
            legal = f"{row['cell']}; vigie patient transfer gives the patient to another cell"
            return Taken(
                "refused", row["id"], refused=FieldError("cell", "is another than the present", legal)
            )
        return self._change(row, changed, _looks_wrong(entry.person.ins, entry.person.birth_date))

    def _change(self, row: RowMapping, changed: dict[str, Any], notes: tuple[str, ...]) -> Taken:
        if not changed:
            return Taken("unchanged", row["id"], notes=notes)
        self._connection.execute(update(PATIENT).where(PATIENT.c.id == row["id"]).values(changed))
        fields = [
            {"field": name, "before": _plain(row[name]), "after": _plain(value)}
            for name, value in changed.items()
        ]
        self._note([(row["id"], "updated", fields)])
        return Taken("updated", row["id"], fields=tuple(changed), notes=notes)

    def _alike(self, new: Sequence[Entry], made: dict[str, str]) -> dict[str, list[str]]:
        """Find others with the names and the birth date of somebody new: one person may have two numbers."""
        days = {each.person.birth_date for each in new}
        columns = (PATIENT.c.id, PATIENT.c.birth_name, PATIENT.c.given_name, PATIENT.c.birth_date)
        query = select(*columns).where(PATIENT.c.birth_date.in_(days), FOLLOWED).order_by(PATIENT.c.id)
        found: dict[tuple[object, ...], list[str]] = {}
        for row in self._connection.execute(query).mappings():
            person = Person("", "", row["birth_name"], None, row["given_name"], row["birth_date"], "", "", ())
            found.setdefault((person.alike, person.birth_date), []).append(row["id"])
        return {
            each.person.ins: [
                f"the same names and birth date as {other}: are they two persons?"
                for other in found[each.person.alike, each.person.birth_date]
                if other != made[each.person.ins]
            ]
            for each in new
        }

    def _note(self, done: Sequence[tuple[str, str, list[dict[str, Any]]]]) -> None:
        rows = [
            {
                "patient": patient,
                "at_ms": self._at_ms,
                "by": self._by,
                "login": self._login,
                "action": action,
                "fields": fields,
            }
            for patient, action, fields in done
        ]
        self._connection.execute(CHANGE.insert(), rows)


def _columns(entry: Entry) -> dict[str, Any]:
    return _as_columns(asdict(entry.person) | asdict(entry.care))


def _as_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    # JSON knows lists only.
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def _looks_wrong(number: str, birth_date: date) -> tuple[str, ...]:
    """Say where an INS is not of the person beside it, as far as it tells."""
    if ins.says_year(number) == birth_date.year % 100:
        return ()
    return (f"{ins.mask(number)}: the INS says another year of birth: is it this person's?",)
