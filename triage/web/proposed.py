"""What the pages and the interface for programs make of a proposal: its trial kept, its shadow, whom it is for."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import HTTPException

from engine.workshop import Answer, Day, WorkshopError
from rules.protocol import Protocol
from triage.people.person import Person
from triage.web.site import Site
from triage.web.trial import Trial, ask, of_proposal
from triage.work import cell_limits
from triage.work.cell_limits import Waits
from triage.work.limits import Concerned
from triage.work.proposals import Proposal, Stage

__all__ = ["Shadow", "concerned", "found", "keep_ended", "propose", "reached", "shadow", "waits"]


@dataclass(frozen=True, slots=True)
class Shadow:
    """What ran in the shadow, day by day, until when (ms UTC)."""

    until_ms: int
    days: list[dict[str, Any]]


def found(site: Site, person: Person, number: int) -> Proposal:
    """Give a proposal of one of somebody's cells; another's is not there."""
    each = site.proposals.get(number, person.cells)
    if each is None:
        raise HTTPException(404)
    return each


def propose(site: Site, of: Trial, answer: Answer, comment: str, who: str) -> int:
    """Propose what was tried, with what that found; give the proposal's number.

    Raises
    ------
    MoveError
    """
    _, enrolled = cell_limits.reached(site.store.engine, of.cell, of.protocol.id, ())
    return site.proposals.propose(
        of.cell, of.protocol.id, of.changes, comment, who, _study(answer, enrolled), answer.report
    )


def reached(site: Site, each: Proposal) -> tuple[int, int] | None:
    """Give how many patients' logs have been told these limits, of how many; None where they are not in force."""
    if each.stage is not Stage.IN_FORCE:
        return None
    names = [change.name for change in each.changes]
    return cell_limits.reached(site.store.engine, each.cell, each.protocol, names)


def waits(site: Site, each: Proposal) -> Waits | None:
    """Say whose logs have not heard yet what was said last of these limits, in force or taken back; None: nobody's."""
    if each.stage not in {Stage.IN_FORCE, Stage.TAKEN_BACK}:
        return None
    names = [change.name for change in each.changes]
    return cell_limits.waits(site.store.engine, each.cell, each.protocol, names)


def concerned(site: Site, each: Proposal) -> Concerned | None:
    """Say whom limits that do not hold yet are for; None of others."""
    protocol = site.protocol(each.protocol)
    if protocol is None or each.stage not in {Stage.PROPOSED, Stage.SIGNED}:
        return None
    names = [change.name for change in each.changes if change.name in protocol.limits]
    return site.limit_desk.concerned(each.cell, protocol, names)


def shadow(site: Site, person: Person, each: Proposal) -> Shadow | None:
    """Say to somebody day by day what ran in the shadow, and note it; of what has ended, as it was when it ended.

    None where it never ran, or its protocol is no longer there.

    Raises
    ------
    WorkshopError
    """
    protocol = site.protocol(each.protocol)
    if each.shadow_ms is None or protocol is None:
        return None
    out = _shadow(site, each, protocol, each.shadow_ms)
    site.seen(person, "shadow seen", f"proposal {each.id}", each.cell)
    return out


def keep_ended(site: Site, each: Proposal) -> None:
    """Keep what a shadow that has ended found, where the log has come as far.

    Raises
    ------
    WorkshopError
    """
    protocol = site.protocol(each.protocol)
    if each.shadow_ms is not None and each.shadow_until_ms is not None and protocol is not None:
        _ended(site, each, protocol, each.shadow_ms, each.shadow_until_ms)


def _shadow(site: Site, each: Proposal, protocol: Protocol, since_ms: int) -> Shadow:
    until_ms = each.shadow_until_ms
    if until_ms is None:
        answer = ask(site, of_proposal(site, each), since_ms, live=True)
        return Shadow(answer.reach.last_ms, [asdict(day) for day in answer.days])
    if each.shadow_kept is not None:
        return Shadow(until_ms, each.shadow_kept["days"])
    return _ended(site, each, protocol, since_ms, until_ms)


def _ended(site: Site, each: Proposal, protocol: Protocol, since_ms: int, until_ms: int) -> Shadow:
    if protocol.hash != each.protocol_hash:
        msg = "le protocole a changé depuis, et la comparaison n’avait pas été gardée"
        raise WorkshopError(msg)
    answer = ask(site, of_proposal(site, each), since_ms, until_ms, live=True)
    if answer.since_ms >= until_ms:
        msg = "le journal ne remonte plus jusque-là, et la comparaison n’avait pas été gardée"
        raise WorkshopError(msg)
    # A log that has not been read as far as the end says more later.
    whole = answer.reach.last_ms >= until_ms
    last_ms = until_ms if whole else answer.reach.last_ms
    days = _each_day(site, answer, last_ms)
    if whole:
        site.proposals.keep_shadow(each.id, until_ms, days)
    return Shadow(last_ms, days)


def _each_day(site: Site, answer: Answer, last_ms: int) -> list[dict[str, Any]]:
    """Give every day, also one on which nobody sent anything: whether one had by then, a longer log does not say."""
    first, last = (
        datetime.fromtimestamp(ms / 1000, site.zone).date() for ms in (answer.since_ms, last_ms - 1)
    )
    names = [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]
    known = {day.day: day for day in answer.days}
    return [asdict(known.get(name, Day(name, 0, 0, 0, 0))) for name in names]


def _study(answer: Answer, enrolled: int) -> dict[str, object]:
    """Give what a proposal shows of its trial without the page of it."""
    gained, lost = answer.pieces["counts"] or (0, 0)
    return {
        "figures": answer.figures,
        "since_ms": answer.since_ms,
        "until_ms": answer.reach.last_ms,
        "patients": answer.patients,
        "enrolled": enrolled,
        "gained": gained,
        "lost": lost,
        "card": answer.pieces["card"],
    }
