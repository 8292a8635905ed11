"""What the nurses look at: the lines of a view in their order, filtered, and how many there are in each.

Walls between cells are part of each query: a line of another cell is not there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Select, and_, case, func, or_, select, tuple_
from sqlalchemy.orm import Session

from rules.levels import Level
from triage.order import BY_URGENCY
from triage.tables import Alert, Episode, Transition
from triage.work.cells import NO_CELL
from triage.work.states import State
from triage.work.tables import FOLLOWED

__all__ = [
    "MOST",
    "Counts",
    "CursorError",
    "Filters",
    "Page",
    "Row",
    "View",
    "changed_since",
    "counts",
    "newest",
    "news",
    "of_patient",
    "page",
    "row",
    "rows",
    "some",
]

MOST: Final = 100
"""Lines of one page."""

Query = Select[*tuple[Any, ...]]

_CELL = func.coalesce(FOLLOWED.c.cell, NO_CELL)


class View(StrEnum):
    """A tab of the queue; the value is its path."""

    WAITING = "a-traiter"
    MINE = "moi"
    SILENT = "sans-donnees"
    MUTED = "sourdine"
    CLOSED = "cloturees"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for.

    Parameters
    ----------
    view : View
    cells : sequence of str
        Whose patients may be seen.
    who : str
        The account, for what is its own.
    level, protocol : optional
        Only such.
    text : str
        Words that the patient's pseudonym, the sentence or the problem hold, each of them.
    before_ms : int, optional
        Of the closed: only those that ended before.
    """

    view: View
    cells: Sequence[str]
    who: str = ""
    level: Level | None = None
    protocol: str = ""
    text: str = ""
    before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line with the cell of its patient."""

    line: Episode
    cell: str


class CursorError(ValueError):
    """What should say where a list goes on does not."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and where it goes on: `after` is "" at the end."""

    rows: list[Row]
    after: str


@dataclass(slots=True)
class Counts:
    """How many lines each view has, and each level and protocol of those that wait."""

    views: dict[View, int] = field(default_factory=dict)
    levels: dict[Level, int] = field(default_factory=dict)
    protocols: dict[str, int] = field(default_factory=dict)


def rows(engine: Engine, filters: Filters, at_most: int = MOST) -> list[Row]:
    """Give the lines of a view, who is called next first; of the closed, the newest first."""
    return _rows(engine, _in_order(filters).limit(at_most))


def page(engine: Engine, filters: Filters, at_most: int = MOST, after: str = "") -> Page:
    """Give the lines of a view in the order of `rows`, from where `after` of an earlier page says.

    A line that moves within the order between two pages may be in both, or in none.

    Raises
    ------
    CursorError
        `after` is of no page of this view.
    """
    query = _in_order(filters)
    if after:
        query = query.where(_beyond(filters.view, after))
    found = _rows(engine, query.limit(at_most + 1))
    more = len(found) > at_most
    return Page(found[:at_most], _cursor(filters.view, found[at_most - 1].line) if more else "")


def some(engine: Engine, episodes: Sequence[str], cells: Sequence[str]) -> list[Row]:
    """Give those of some lines that are of these cells, in the order of `rows`."""
    query = _joined().where(Episode.id.in_(episodes), _CELL.in_(cells))
    return _rows(engine, query.order_by(*BY_URGENCY))


def row(engine: Engine, episode: str, cells: Sequence[str] | None = None) -> Row | None:
    """Give one line, open or ended; None where there is none of that id, in these cells where some are given."""
    query = _joined().where(Episode.id == episode)
    if cells is not None:
        query = query.where(_CELL.in_(cells))
    return next(iter(_rows(engine, query)), None)


def of_patient(engine: Engine, patient: str, at_most: int = MOST) -> list[Row]:
    """Give the lines of a patient, the open ones first, then the newest."""
    query = (
        _joined()
        .where(Episode.patient == patient)
        .order_by(Episode.ended_ms.is_not(None), Episode.onset_ms.desc())
        .limit(at_most)
    )
    return _rows(engine, query)


Group = tuple[Level, str, View, str | None, int]
"""Level, protocol, view, owner and number of some open lines."""


def grouped(engine: Engine, cells: Sequence[str]) -> list[Group]:
    """Count the open lines of some cells, by all that `counted` tells apart."""
    keys = (Episode.level, Episode.protocol, _VIEW.label("view"), Episode.owner)
    query = (
        select(*keys, func.count())
        .outerjoin(FOLLOWED, FOLLOWED.c.patient == Episode.patient)
        .where(_open(), _CELL.in_(cells))
        .group_by(*keys)
    )
    with engine.connect() as connection:
        return [(Level(row[0]), row[1], View(row[2]), row[3], row[4]) for row in connection.execute(query)]


def counted(groups: Sequence[Group], who: str) -> Counts:
    """Sum what `grouped` gives, for an account."""
    out = Counts(dict.fromkeys(View, 0), dict.fromkeys(sorted(Level, reverse=True), 0))
    for level, protocol, view, owner, count in groups:
        out.views[view] += count
        if owner == who:
            out.views[View.MINE] += count
        if view is View.WAITING:
            out.levels[level] += count
            out.protocols[protocol] = out.protocols.get(protocol, 0) + count
    return out


def counts(engine: Engine, filters: Filters) -> Counts:
    """Count the lines of all views, for the account and the cells of `filters`; its text and level do not matter."""
    return counted(grouped(engine, filters.cells), filters.who)


# What is new ---------------------------------------------------------------------------------------------------


def newest(engine: Engine) -> int:
    """Give the number of the engine's newest row: what a page shows is of then."""
    with engine.connect() as connection:
        return connection.scalar(select(func.max(Transition.id))) or 0


def news(engine: Engine, filters: Filters, since: int, at_most: int = 1000) -> dict[str, Level]:
    """Give the lines of a view that opened or rose since row `since`, with their level: at most `at_most` of them."""
    fresh = (
        select(Alert.episode_id)
        .join(Transition, Transition.alert_id == Alert.id)
        .where(Transition.id > since, Transition.kind.in_(["opened", "raised"]))
        .distinct()
    )
    query = _of(replace(filters, before_ms=None)).where(Episode.id.in_(fresh)).limit(at_most)
    columns: Query = query.with_only_columns(Episode.id, Episode.level)
    with engine.connect() as connection:
        return {episode: Level(level) for episode, level in connection.execute(columns)}


def changed_since(engine: Engine, since: int, at_most: int = 500) -> list[str]:
    """Give the ids of the lines that the engine's rows after `since` speak of."""
    query = (
        select(Alert.episode_id)
        .join(Transition, Transition.alert_id == Alert.id)
        .where(Transition.id > since, Alert.episode_id.is_not(None))
        .distinct()
        .limit(at_most)
    )
    with engine.connect() as connection:
        return [str(episode) for episode in connection.scalars(query)]


# How -----------------------------------------------------------------------------------------------------------


def _joined() -> Query:
    return select(Episode, _CELL.label("cell")).outerjoin(FOLLOWED, FOLLOWED.c.patient == Episode.patient)


def _open() -> ColumnElement[bool]:
    return Episode.ended_ms.is_(None)


_MUTED = Episode.state == State.MUTED
# Without data, but for what has become ROUGE: that is to be called like any other.
_SILENT = and_(Episode.silent, Episode.level < Level.ROUGE)
_CLOSED = Episode.ended_ms.is_not(None)
_IN = {
    View.CLOSED: _CLOSED,
    View.MUTED: and_(~_CLOSED, _MUTED),
    View.SILENT: and_(~_CLOSED, ~_MUTED, _SILENT),
    View.WAITING: and_(~_CLOSED, ~_MUTED, ~_SILENT),
}


_VIEW = case((_MUTED, View.MUTED.value), (_SILENT, View.SILENT.value), else_=View.WAITING.value)


# No limit comes last, as in `triage.order`.
_NEVER: Final = 1 << 62
_ENDED_AFTER = re.compile(r"([0-9]{1,18})\.([!-~]{1,64})")
_URGENT_AFTER = re.compile(r"([123])\.([0-9]{1,19})\.(-?[0-9]{1,18})\.([!-~]{1,64})")


def _in_order(filters: Filters) -> Query:
    if filters.view is View.CLOSED:
        return _of(filters).order_by(Episode.ended_clock_ms.desc(), Episode.id)
    return _of(filters).order_by(*BY_URGENCY)


def _cursor(view: View, line: Episode) -> str:
    if view is View.CLOSED:
        return f"{line.ended_clock_ms}.{line.id}"
    due = _NEVER if line.due_ms is None else line.due_ms
    return f"{line.level}.{due}.{line.onset_ms}.{line.id}"


def _beyond(view: View, after: str) -> ColumnElement[bool]:
    """Say which lines come after a cursor, in the order of `_in_order`."""
    found = (_ENDED_AFTER if view is View.CLOSED else _URGENT_AFTER).fullmatch(after)
    *numbers, episode = found.groups() if found is not None else [str(_NEVER + 1)]
    first, *rest = (int(each) for each in numbers) if found is not None else (_NEVER + 1,)
    if max(first, *rest, 0) > _NEVER:
        msg = f"after {after[:80]!r}: is of no page of this view; legal is what a page gave as next"
        raise CursorError(msg)
    if view is View.CLOSED:
        ended = Episode.ended_clock_ms
        return or_(ended < first, and_(ended == first, Episode.id > episode))
    key = tuple_(func.coalesce(Episode.due_ms, _NEVER), Episode.onset_ms, Episode.id)
    return or_(Episode.level < first, and_(Episode.level == first, key > tuple_(*rest, episode)))


def _of(filters: Filters) -> Query:
    query = _joined().where(_CELL.in_(filters.cells))
    if filters.view is View.MINE:
        query = query.where(_open(), Episode.owner == filters.who)
    else:
        query = query.where(_IN[filters.view])
    if filters.level is not None:
        query = query.where(Episode.level == filters.level)
    if filters.protocol:
        query = query.where(Episode.protocol == filters.protocol)
    if filters.before_ms is not None:
        query = query.where(Episode.ended_clock_ms < filters.before_ms)
    words = filters.text.split()[:5]
    if words:
        query = query.join(Transition, Transition.id == Episode.shown_id)
    for word in words:
        places = (Episode.patient, Episode.problem, Transition.sentence)
        query = query.where(or_(*(place.icontains(word, autoescape=True) for place in places)))
    return query


def _rows(engine: Engine, query: Query) -> list[Row]:
    with Session(engine, expire_on_commit=False) as session:
        return [Row(line, cell) for line, cell in session.execute(query)]
