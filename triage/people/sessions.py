"""Sessions: who is signed in, how long that lasts, and how it ends.

A session ends 30 minutes after the last request, 12 hours after it began, when its person signs out, when the
password is changed or the account disabled, whichever is first; nothing brings it back.
"""

from typing import Final

from sqlalchemy import Connection, Engine, RowMapping, delete, or_, select, update

from triage import database
from triage.people.kept import ACCOUNT, FACTOR, MINUTE_MS, SESSION, Kept, digest, new_token, note, person
from triage.people.passwords import Passwords
from triage.people.person import Must, Person
from triage.people.seal import Seal

__all__ = ["ABSOLUTE_MS", "IDLE_MS", "Sessions"]

IDLE_MS: Final = 30 * MINUTE_MS
ABSOLUTE_MS: Final = 12 * 60 * MINUTE_MS

_PEOPLE = (
    select(
        *(ACCOUNT.c[name] for name in ("name", "display", "role", "cells", "once", "disabled_ms")),
        *(SESSION.c[name] for name in ("hash", "seen_ms", "idle_until_ms", "until_ms", "second", "csrf")),
        FACTOR.c.since_ms.is_not(None).label("enrolled"),
    )
    .select_from(SESSION)
    .join(ACCOUNT, ACCOUNT.c.name == SESSION.c.account)
    .outerjoin(FACTOR, FACTOR.c.account == SESSION.c.account)
)


class Sessions(Kept):
    """Who is signed in.

    Parameters
    ----------
    engine, passwords
        See `Kept`.
    seal : Seal
        What secrets of second factors are sealed with.
    second_required : bool
        Whether everybody must have a second factor before anything else.
    idle_ms, absolute_ms : int
        How long a session lasts without a request, and at all.
    """

    def __init__(
        self,
        engine: Engine,
        seal: Seal,
        *,
        passwords: Passwords | None = None,
        second_required: bool = True,
        idle_ms: int = IDLE_MS,
        absolute_ms: int = ABSOLUTE_MS,
    ) -> None:
        super().__init__(engine, passwords)
        if not MINUTE_MS < idle_ms <= absolute_ms:
            msg = f"session: idle {idle_ms} ms, in all {absolute_ms} ms; legal: 60000 < idle <= in all"
            raise ValueError(msg)
        self._seal = seal
        self._second_required = second_required
        self._idle_ms = idle_ms
        self._absolute_ms = absolute_ms

    def who(self, token: str, now_ms: int, *, touch: bool = True) -> Person | None:
        """Say who is signed in by a token; one query by a primary key.

        Parameters
        ----------
        token : str
        now_ms : int
        touch : bool
            Whether this counts as a sign of life, written down once a minute at most. Not where a page asks by
            itself: a session must end on a screen that nobody looks at.

        Returns
        -------
        Person or None
            None where the session is over, or there never was one.
        """
        with self._engine.connect() as connection:
            row = connection.execute(_PEOPLE.where(SESSION.c.hash == digest(token))).mappings().first()
        if row is None or row["disabled_ms"] is not None:
            return None
        if min(row["idle_until_ms"], row["until_ms"]) <= now_ms:
            return None
        if touch and now_ms - row["seen_ms"] >= MINUTE_MS:
            with database.writing(self._engine) as connection:
                # Where it has ended meanwhile there is no row to change: nothing begins again.
                connection.execute(
                    update(SESSION)
                    .where(SESSION.c.hash == row["hash"], SESSION.c.seen_ms < now_ms)
                    .values(seen_ms=now_ms, idle_until_ms=now_ms + self._idle_ms)
                )
        return self._person(row)

    def sign_out(self, token: str, now_ms: int) -> None:
        """End a session; of one that is over already nothing is said."""
        with database.writing(self._engine) as connection:
            ended = delete(SESSION).where(SESSION.c.hash == digest(token)).returning(SESSION.c.account)
            name = connection.scalar(ended)
            if name is not None:
                note(connection, now_ms, name, "signed out", name)

    def sweep(self, now_ms: int) -> int:
        """Remove what is left of sessions that are over; return how many."""
        over = or_(SESSION.c.until_ms <= now_ms, SESSION.c.idle_until_ms <= now_ms)
        with database.writing(self._engine) as connection:
            return connection.execute(delete(SESSION).where(over)).rowcount

    def _begin(self, connection: Connection, name: str, now_ms: int, *, second: bool) -> str:
        """Begin a session; return its token."""
        token = new_token()
        connection.execute(
            SESSION.insert().values(
                hash=digest(token),
                account=name,
                created_ms=now_ms,
                seen_ms=now_ms,
                idle_until_ms=now_ms + self._idle_ms,
                until_ms=now_ms + self._absolute_ms,
                second=second,
                csrf=new_token(),
            )
        )
        return token

    def _begun(self, connection: Connection, token: str) -> Person:
        """Give who was signed in just now, in the same transaction."""
        row = connection.execute(_PEOPLE.where(SESSION.c.hash == digest(token))).mappings().one()
        return self._person(row)

    def _person(self, row: RowMapping) -> Person:
        must = None
        if row["enrolled"] and not row["second"]:
            must = Must.CODE
        elif row["once"]:
            must = Must.PASSWORD
        elif self._second_required and not row["second"]:
            must = Must.ENROL
        return person(row, second=row["second"], must=must, csrf=row["csrf"], session=row["hash"])
