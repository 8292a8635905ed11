"""Which patients are on which version of which protocol, by pseudonyms, as enrolment and queue say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from engine.enrolment import read
from rules.protocol import Protocol
from triage.tables import OPEN, Base
from triage.work.tables import FOLLOWED

__all__ = ["Version", "by_version", "enrolled", "followed", "text"]

_EPISODE = Base.metadata.tables["episode"]
_ALERT = Base.metadata.tables["alert"]
_TRANSITION = Base.metadata.tables["transition"]


@dataclass(slots=True)
class Version:
    """A version of a protocol, and who is on it; patients in order.

    Attributes
    ----------
    protocol, version, hash : str
    in_force : bool
        Whether the service is set to run it.
    signed : bool
        As alerts say; of one in force, as it stands.
    followed : list of str
        Who is enrolled on the protocol, where this version is in force.
    open : list of str
        Who has an open line that this version gave the reason of.
    alerted : list of str
        Whose newest alert of the protocol is of this version.
    """

    protocol: str
    version: str
    hash: str
    in_force: bool = False
    signed: bool = False
    followed: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    alerted: list[str] = field(default_factory=list)


def followed(engine: Engine, cells: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Give the patients of each protocol, as the enrolment that the pages took last says; of some cells, or of all."""
    out: dict[str, list[str]] = {}
    query = select(FOLLOWED).order_by(FOLLOWED.c.patient)
    if cells is not None:
        query = query.where(FOLLOWED.c.cell.in_(cells))
    with engine.connect() as connection:
        rows = connection.execute(query)
        for row in rows:
            for name in row.programmes["ids"]:
                out.setdefault(name, []).append(row.patient)
    return out


def enrolled(
    engine: Engine, enrolment: Path | None, protocols: Sequence[Protocol], now_ms: int
) -> dict[str, list[str]]:
    """Give the patients of each protocol: those of the enrolment whose follow-up goes on; without one, as `followed`.

    Raises
    ------
    ProtocolError, OSError
        The enrolment is wrong, or cannot be read.
    """
    if enrolment is None:
        return followed(engine)
    out: dict[str, list[str]] = {}
    for patient, each in read(enrolment, [protocol.id for protocol in protocols]).items():
        for name in each.at(now_ms):
            out.setdefault(name, []).append(patient)
    return out


def by_version(
    engine: Engine, protocols: Sequence[Protocol], enrolled: Mapping[str, Sequence[str]]
) -> list[Version]:
    """Sort patients by version.

    Parameters
    ----------
    engine : Engine
        Of the queue.
    protocols : sequence of Protocol
        In force.
    enrolled : mapping of str to sequence of str
        Patients of each protocol, by its id.

    Returns
    -------
    list of Version
        By protocol, that in force first, then as they came into the queue, newest first.
    """
    found: dict[tuple[str, str, str], Version] = {}
    for each in protocols:
        patients = sorted(enrolled.get(each.id, ()))
        found[each.id, each.version, each.hash] = Version(
            each.id, each.version, each.hash, in_force=True, signed=each.signed, followed=patients
        )
    newest = (
        select(func.max(_TRANSITION.c.id))
        .join(_ALERT, _ALERT.c.id == _TRANSITION.c.alert_id)
        .group_by(_ALERT.c.patient, _ALERT.c.protocol)
    )
    what = (_TRANSITION.c.version, _TRANSITION.c.protocol_hash, _TRANSITION.c.signed)
    alerted = (
        select(_ALERT.c.patient, _ALERT.c.protocol, *what)
        .join(_ALERT, _ALERT.c.id == _TRANSITION.c.alert_id)
        .where(_TRANSITION.c.id.in_(newest))
        .order_by(_TRANSITION.c.id.desc())
    )
    opened = (
        select(_EPISODE.c.patient, _EPISODE.c.protocol, *what)
        .join(_TRANSITION, _TRANSITION.c.id == _EPISODE.c.shown_id)
        .where(OPEN)
    )
    with engine.connect() as connection:
        for row in connection.execute(alerted):
            _of(found, row).alerted.append(row.patient)
        for row in connection.execute(opened):
            _of(found, row).open.append(row.patient)
    for version in found.values():
        version.open = sorted(set(version.open))
        version.alerted.sort()
    return sorted(found.values(), key=lambda each: (each.protocol, not each.in_force))


def text(version: Version, at_most: int) -> str:
    """Say of a version who is on it, with some ids."""
    stands = "in force" if version.in_force else "no longer in force"
    signed = "signed" if version.signed else "unsigned"
    lines = [f"{version.protocol} {version.version} {version.hash}: {stands}, {signed}"]
    groups = (("enrolled", version.followed), ("open line", version.open), ("newest alert", version.alerted))
    for what, patients in groups:
        more = ", ..." if len(patients) > at_most > 0 else ""
        ids = ", ".join(patients[:at_most])
        lines.append(f"  {what}: {len(patients):,}{': ' if ids else ''}{ids}{more}")
    return "\n".join(lines)


def _of(found: dict[tuple[str, str, str], Version], row: Any) -> Version:  # noqa: ANN401 - a row of SQLAlchemy
    key = (row.protocol, row.version, row.protocol_hash)
    return found.setdefault(key, Version(*key, signed=row.signed))
