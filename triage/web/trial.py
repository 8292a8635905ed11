"""A trial of limits, from a form to the question that the workshop answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import FormData

from engine.backtest_outcomes import OutcomeError
from engine.program import DAY_MS
from engine.workshop import DAYS, Answer, Question, WorkshopError
from rules.protocol import Protocol
from triage.people.person import Person
from triage.web.site import Site
from triage.web.words import exact
from triage.work import cells, outcomes
from triage.work.limits import Standing, check, number
from triage.work.proposals import Change, Proposal
from triage.work.states import ChangedError, MoveError

__all__ = ["NOT_HERE", "Trial", "ask", "cell_of", "of_form", "of_proposal", "of_values", "see"]

NOT_HERE: Final = (
    "l’atelier lit le journal du service : il n’est là que si celui-ci est un fichier de cette machine"
)

_PREFIX = "l_"
_SHOWN = "s_"
"""Of the fields that say what the page showed."""


@dataclass(slots=True)
class Trial:
    """A protocol's limits for a cell, and which are tried; `given` as they were typed, `wrong` what is not legal."""

    cell: str
    protocol: Protocol
    standings: list[Standing]
    tried: dict[str, float]
    given: Mapping[str, str]
    wrong: dict[str, str]
    comment: str = ""

    @property
    def changes(self) -> list[Change]:
        """What would change."""
        before = {each.limit.name: each.value for each in self.standings}
        return [Change(name, _known(before[name]), value) for name, value in self.tried.items()]


def cell_of(person: Person, given: str) -> str:
    """Give the cell that is asked for, or one's first; another's is not there."""
    cell = given or next(iter(person.cells), "")
    if cell not in person.cells:
        raise HTTPException(404)
    return cell


def of_form(site: Site, cell: str, name: str, form: FormData | None = None) -> Trial:
    """Read a form of limits; without one, nothing is tried."""
    fields = {} if form is None else {key: str(value) for key, value in form.items()}
    given = {key.removeprefix(_PREFIX): text for key, text in fields.items() if key.startswith(_PREFIX)}
    out = _untried(site, cell, name, given, fields.get("comment", ""))
    for each in out.standings:
        name = each.limit.name
        text, shown = given.get(name, "").strip(), fields.get(_SHOWN + name)
        # Tried is what a person changed, not what has changed since the page was opened.
        if not text or text == shown:
            continue
        try:
            value = number(text[:20], each.limit)
            _possible(each, value, shown)
        except MoveError as error:
            out.wrong[name] = str(error)
            continue
        if value != each.value:
            out.tried[name] = value
    return out


def of_values(
    site: Site, cell: str, name: str, limits: Mapping[str, float], seen: Mapping[str, float | None]
) -> Trial:
    """Try limits by their names, all or none; `seen` what held of some of them when it was looked up.

    Raises
    ------
    MoveError
        One is not legal; the message, in French, says what is.
    """
    out = _untried(site, cell, name)
    standings = {each.limit.name: each for each in out.standings}
    for each in {*limits, *seen} - standings.keys():
        msg = f"{each} : la cellule n’a pas cette limite"
        raise MoveError(msg)
    for each, value in limits.items():
        _possible(standings[each], value, exact(seen[each]) if each in seen else None)
        if value != standings[each].value:
            out.tried[each] = value
    return out


def of_proposal(site: Site, each: Proposal) -> Trial:
    """Give the trial of a proposal, as the limits of the cell are now."""
    out = of_form(site, each.cell, each.protocol)
    names = {standing.limit.name for standing in out.standings}
    out.tried = {change.name: change.after for change in each.changes if change.name in names}
    return out


def see(site: Site, person: Person, of: Trial) -> Answer:
    """Put a trial to the workshop for somebody, and note it: its answer names patients and what they were alerted for.

    Raises
    ------
    WorkshopError
    """
    answer = ask(site, of)
    site.seen(person, "workshop seen", of.protocol.id, of.cell)
    return answer


def ask(
    site: Site,
    of: Trial,
    since_ms: int | None = None,
    until_ms: int | None = None,
    *,
    live: bool = False,
    candidate: bool = False,
) -> Answer:
    """Put a trial to the workshop; see `engine.workshop.Question`.

    Raises
    ------
    WorkshopError
    """
    if site.workshop is None:
        raise WorkshopError(NOT_HERE)
    try:
        known = site.outcomes()
    except (OutcomeError, OSError) as error:
        msg = "le fichier des événements ne se lit pas : prévenez l’exploitation"
        raise WorkshopError(msg) from error
    patients = frozenset(cells.patients(site.store.engine, of.cell))
    # Those of other cells are none of this cell's business, not even their number.
    known = tuple(each for each in known if each[0] in patients)
    # What is tried is compared with what holds now, whoever set that: the protocol, the book or an act.
    now = site.limit_desk.held(of.cell)
    now |= {(of.protocol.id, each.name): each.before for each in of.changes if each.before is not None}
    question = Question(
        patients=patients,
        protocol=of.protocol.id,
        now=now,
        tried={(of.protocol.id, name): value for name, value in of.tried.items()},
        outcomes=outcomes.closings(site.store.engine, of.cell, site.now_ms() - DAYS * DAY_MS) + known,
        since_ms=since_ms,
        until_ms=until_ms,
        live=live,
        candidate=candidate,
    )
    answer = site.workshop.ask(question)
    if answer.protocol_hash != of.protocol.hash:
        msg = "le fichier du protocole n’est plus celui qui est en vigueur : prévenez l’exploitation"
        raise WorkshopError(msg)
    return answer


def _untried(
    site: Site, cell: str, name: str, given: Mapping[str, str] | None = None, comment: str = ""
) -> Trial:
    protocol = site.protocol(name)
    if protocol is None:
        raise HTTPException(404)
    return Trial(cell, protocol, site.limit_desk.of_cell(cell, protocol), {}, given or {}, {}, comment)


def _possible(standing: Standing, value: float, shown: str | None) -> None:
    """Refuse what a limit cannot be, and what was chosen beside another limit than holds now; None: beside none.

    Raises
    ------
    MoveError, ChangedError
    """
    check(standing.limit, value)
    if shown is not None and shown != exact(standing.value):
        msg = f"{standing.limit.label} : changée depuis que vous avez ouvert la page : rechargez-la"
        raise ChangedError(msg)


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN: there is none
