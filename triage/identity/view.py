"""The register as it is shown: who is followed where; names only where they were asked for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rules.explain import moment_text
from triage.identity.person import Person
from triage.identity.register import Changed, Followed, Stayed

__all__ = ["as_rows", "card", "table"]

Persons = Mapping[str, tuple[Person, str | None]]

_ACTIONS = {
    "enrolled": "inscrit",
    "updated": "mis à jour",
    "transferred": "changé de cellule",
    "closed": "clos",
    "read": "identité consultée",
}


def table(patients: Sequence[Followed], persons: Persons, zone: ZoneInfo) -> RenderableType:
    """Draw follow-ups, a line each; with names and telephones where `persons` has them."""
    drawn = Table(box=box.HORIZONTALS, pad_edge=False)
    names = ["Patient", "Cellule", "Protocoles", "Statut", "Depuis"]
    for name in [*names, *(["Nom", "Prénom", "Né(e) le", "Téléphones"] if persons else [])]:
        drawn.add_column(name, no_wrap=name == "Patient")
    for each in patients:
        cells = [
            each.id,
            each.cell,
            ", ".join(each.protocols),
            _status(each),
            moment_text(_since(each), zone),
        ]
        if persons:
            person, _ = persons[each.id]
            cells += [_names(person), person.given_name, f"{person.birth_date:%d/%m/%Y}", _joined(person)]
        drawn.add_row(*map(Text, cells))
    return Group(drawn, Text(f"{len(patients)} patient(s)"))


def card(
    patient: Followed,
    stays: Sequence[Stayed],
    changes: Sequence[Changed],
    persons: Persons,
    zone: ZoneInfo,
) -> RenderableType:
    """Draw all of one follow-up; what changed is named, its values are shown with the identity only."""
    facts = Table.grid(padding=(0, 2))
    rows = [
        ("Patient", patient.id),
        ("Cellule", patient.cell),
        ("Protocoles", ", ".join(patient.protocols)),
        ("Langue", patient.language),
        ("Fuseau horaire", patient.zone or "celui de la cellule"),
        ("Statut", _status(patient)),
        ("Inscription", f"{moment_text(patient.enrolled_ms, zone)} par {patient.enrolled_by}"),
    ]
    if patient.closed_ms is not None:
        rows.append(("Clôture", f"{moment_text(patient.closed_ms, zone)} par {patient.closed_by}"))
    for person, reason in persons.values():
        rows += [
            ("INS", f"{person.ins} ({person.ins_oid})"),
            ("Nom de naissance", person.birth_name),
            ("Nom utilisé", person.used_name or person.birth_name),
            ("Prénom", person.given_name),
            ("Naissance", f"{person.birth_date:%d/%m/%Y}, {person.birth_place}"),
            ("Sexe", person.sex),
            ("Téléphones", _joined(person)),
        ]
        if reason:
            rows.append(("Motif de clôture", reason))
    for row in rows:
        facts.add_row(*map(Text, row))
    cells = Table("Cellule", "Du", "Au", title="Cellules", title_justify="left", box=box.HORIZONTALS)
    for stay in stays:
        until = "" if stay.until_ms is None else moment_text(stay.until_ms, zone)
        cells.add_row(*map(Text, (stay.cell, moment_text(stay.from_ms, zone), until)))
    acts = Table("Quand", "Qui", "Quoi", "Champs", title="Actes", title_justify="left", box=box.HORIZONTALS)
    for change in changes:
        who = change.by if change.by == change.login else f"{change.by} ({change.login})"
        fields = ", ".join(_field(each, shown=bool(persons)) for each in change.fields)
        acts.add_row(*map(Text, (moment_text(change.at_ms, zone), who, _ACTIONS[change.action], fields)))
    return Group(facts, cells, acts)


def as_rows(patients: Sequence[Followed], persons: Persons) -> list[dict[str, Any]]:
    """Give follow-ups for programs: texts, lists and times in ISO 8601."""
    rows = []
    for each in patients:
        row: dict[str, Any] = {
            "patient": each.id,
            "cell": each.cell,
            "protocols": list(each.protocols),
            "language": each.language,
            "zone": each.zone,
            "followed": each.closed_ms is None,
            "enrolled": _iso(each.enrolled_ms),
            "enrolled_by": each.enrolled_by,
            "closed": None if each.closed_ms is None else _iso(each.closed_ms),
            "closed_by": each.closed_by,
        }
        if persons:
            person, reason = persons[each.id]
            row |= {
                "ins": person.ins,
                "ins_oid": person.ins_oid,
                "birth_name": person.birth_name,
                "used_name": person.used_name,
                "given_name": person.given_name,
                "birth_date": person.birth_date.isoformat(),
                "sex": person.sex,
                "birth_place": person.birth_place,
                "telephones": list(person.telephones),
                "close_reason": reason,
            }
        rows.append(row)
    return rows


def _status(patient: Followed) -> str:
    return "suivi" if patient.closed_ms is None else "clos"


def _since(patient: Followed) -> int:
    return patient.enrolled_ms if patient.closed_ms is None else patient.closed_ms


def _names(person: Person) -> str:
    if person.used_name is None or person.used_name == person.birth_name:
        return person.birth_name
    return f"{person.used_name} (née/né {person.birth_name})"


def _joined(person: Person) -> str:
    return ", ".join(person.telephones)


def _field(changed: Mapping[str, Any], *, shown: bool) -> str:
    if not shown:
        return str(changed["field"])
    return f"{changed['field']} : {changed['before'] or '–'} → {changed['after'] or '–'}"


def _iso(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds")
