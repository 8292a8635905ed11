"""Notices: what an account, or all of a role in a cell, must hear of.

A notice is written in the transaction of what it tells; the pages of those it is for show it. What was missed while
nobody looked is in the audit trail and in the state of the line itself: a notice is a knock on the door, not the news.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, or_, select

from triage import audit
from triage.work.tables import NOTICE

__all__ = ["newest", "since", "tell"]


def tell(
    connection: Connection,
    line: Mapping[str, Any],
    now_ms: int,
    cell: str,
    kind: str,
    *,
    role: str = "nurse",
    account: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write a notice about a line, in the caller's transaction: late in it, as it waits for others who tell or append.

    Parameters
    ----------
    line : mapping
        Columns of an episode.
    role : str
        Whose it is, where `account` is None.
    account : str, optional
        Whose it is alone.
    """
    audit.hold(connection)
    connection.execute(
        NOTICE.insert().values(
            t_ms=now_ms,
            cell=cell,
            role=role,
            account=account,
            kind=kind,
            episode_id=line["id"],
            patient=line["patient"],
            details=dict(details or {}),
        )
    )


def newest(engine: Engine) -> int:
    """Give the number of the newest notice; 0 where there is none."""
    with engine.connect() as connection:
        return connection.scalar(select(func.max(NOTICE.c.id))) or 0


def since(
    engine: Engine,
    number: int,
    *,
    account: str,
    role: str,
    cells: Sequence[str] | None,
    until: int | None = None,
    at_most: int = 100,
) -> list[dict[str, Any]]:
    """Give the notices after `number` for an account, oldest first; where it is `at_most` there may be more.

    Parameters
    ----------
    account, role : str
        Who looks.
    cells : sequence of str, optional
        Of which cells; all where not given.
    until : int, optional
        Up to this number; to the newest where not given.
    """
    query = (
        select(NOTICE)
        .where(
            NOTICE.c.id > number,
            or_(NOTICE.c.account == account, NOTICE.c.account.is_(None) & (NOTICE.c.role == role)),
        )
        .order_by(NOTICE.c.id)
        .limit(at_most)
    )
    if until is not None:
        query = query.where(NOTICE.c.id <= until)
    if cells is not None:
        query = query.where(NOTICE.c.cell.in_(cells))
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
