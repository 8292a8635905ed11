"""The second factor of an account: set up, shown, and what helps who has lost it."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from triage import database
from triage.people import totp
from triage.people.administration import end_all
from triage.people.kept import ACCOUNT, FACTOR, RECOVERY, SESSION, account, note
from triage.people.lockout import locked_until_ms
from triage.people.person import PeopleError, Person, Refused, Why
from triage.people.sessions import Sessions

__all__ = ["Offer", "SecondFactors"]

OFFER_MS = 15 * 60_000
"""How long an offered secret may wait to be confirmed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret for an authenticator application: as an address, as the picture of it (SVG), and to be typed in."""

    address: str = field(repr=False)
    picture: str = field(repr=False)
    secret: str = field(repr=False)


class SecondFactors(Sessions):
    """Second factors, sealed with a key that the database does not have."""

    def offer_second(self, who: Person, now_ms: int) -> Offer:
        """Make a secret for somebody who is signed in; it counts once a code of it was shown.

        Raises
        ------
        PeopleError
            They have a second factor, and have not shown it in this session.
        """
        secret = totp.new_secret()
        offered = {"offered": self._sealed(who.name, secret), "offered_ms": now_ms}
        insert = (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert
        with database.writing(self._engine) as connection:
            self._may_set(connection, who)
            row = insert(FACTOR).values(account=who.name, step=0, **offered)
            connection.execute(row.on_conflict_do_update(index_elements=["account"], set_=offered))
        uri = totp.address(secret, who.name)
        return Offer(uri, totp.picture(uri), secret)

    def confirm_second(self, who: Person, code: str, now_ms: int) -> list[str]:
        """Take the offered secret for the account's; return recovery codes, which are shown this once.

        Other sessions of the account end.

        Raises
        ------
        PeopleError
            Nothing was offered in the last 15 minutes, or the code is not one of it.
        """
        codes = totp.new_recovery()
        with database.writing(self._engine) as connection:
            self._may_set(connection, who)
            row = self._factor(connection, who.name)
            if row is None or row["offered"] is None or now_ms - row["offered_ms"] > OFFER_MS:
                raise PeopleError(
                    f"second factor of {who.name}: none was offered in the last 15 minutes",
                    "Cette demande n’est plus valable. Recommencez.",
                )
            step = totp.step_of(self._opened(who.name, row["offered"]), code, now_ms, 0)
            if step is None:
                raise PeopleError(
                    f"second factor of {who.name}: not a code of the one that was offered",
                    "Ce code n’est pas le bon. Vérifiez l’heure du téléphone, puis tapez le code affiché.",
                )
            connection.execute(
                update(FACTOR)
                .where(FACTOR.c.account == who.name)
                .values(sealed=row["offered"], since_ms=now_ms, step=step, offered=None, offered_ms=None)
            )
            connection.execute(delete(RECOVERY).where(RECOVERY.c.account == who.name))
            hashes = [{"hash": totp.hash_of(each, who.name), "account": who.name} for each in codes]
            connection.execute(RECOVERY.insert(), hashes)
            connection.execute(update(SESSION).where(SESSION.c.hash == who.session).values(second=True))
            end_all(connection, who.name, but=who.session)
            note(connection, now_ms, who.name, "second factor set", who.name)
        return codes

    def show_second(self, who: Person, code: str, now_ms: int) -> Refused | None:
        """Let somebody show the second factor after they have signed in without; None where the code was right."""
        with database.writing(self._engine) as connection:
            row = account(connection, who.name, lock=True)
            if row["locked_until_ms"] > now_ms:
                return Refused(Why.LOCKED)
            used = self._use(connection, who.name, code, now_ms)
            if used is None:
                return fail(connection, row, now_ms, "code", who.name)
            connection.execute(update(SESSION).where(SESSION.c.hash == who.session).values(second=True))
            connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == who.name).values(failures=0))
            note(connection, now_ms, who.name, "second factor shown", who.name, by=used)
        return None

    def recovery_left(self, name: str) -> int:
        """Count the recovery codes of an account that were not used."""
        query = select(RECOVERY.c.hash).where(RECOVERY.c.account == name, RECOVERY.c.used_ms.is_(None))
        with self._engine.connect() as connection:
            return len(connection.execute(query).all())

    def _may_set(self, connection: Connection, who: Person) -> None:
        # Before the factor's: whoever signs in takes the two in this order.
        account(connection, who.name, lock=True)
        row = self._factor(connection, who.name)
        if not who.session or (row is not None and row["sealed"] is not None and not who.second):
            raise PeopleError(
                f"second factor of {who.name}: the present one was not shown in this session",
                "Montrez d’abord le code de votre second facteur actuel.",
            )

    def _has(self, connection: Connection, name: str) -> bool:
        row = self._factor(connection, name)
        return row is not None and row["sealed"] is not None

    def _use(self, connection: Connection, name: str, code: str, now_ms: int) -> str | None:
        """Use up a code; say which kind it was, or None where it is not good. The account's row is locked."""
        row = self._factor(connection, name)
        if row is None or row["sealed"] is None:
            return None
        step = totp.step_of(self._opened(name, row["sealed"]), code, now_ms, row["step"])
        if step is not None:
            later = (FACTOR.c.account == name) & (FACTOR.c.step < step)
            taken = connection.execute(update(FACTOR).where(later).values(step=step)).rowcount
            return "code" if taken else None
        mine = (RECOVERY.c.hash == totp.hash_of(code, name)) & RECOVERY.c.used_ms.is_(None)
        used = connection.execute(update(RECOVERY).where(mine).values(used_ms=now_ms)).rowcount
        return "recovery code" if used else None

    def _factor(self, connection: Connection, name: str) -> RowMapping | None:
        return connection.execute(select(FACTOR).where(FACTOR.c.account == name)).mappings().first()

    def _sealed(self, name: str, secret: str) -> str:
        # With the name inside, so that one account's cannot be put in another's place.
        return self._seal.close(f"{name}:{secret}")

    def _opened(self, name: str, sealed: str) -> str:
        try:
            of, _, secret = self._seal.open(sealed).partition(":")
        except PeopleError:
            of, secret = "", ""
        if of != name:
            msg = f"second factor of {name}: sealed with another key, or for another account; it must be set anew"
            raise PeopleError(
                msg, "Le second facteur de ce compte est à refaire. Demandez à votre administrateur."
            )
        return secret


def fail(connection: Connection, row: RowMapping, now_ms: int, what: str, by: str = "vigie") -> Refused:
    """Count a wrong attempt, and lock the account where it is one too many.

    Parameters
    ----------
    connection : Connection
    row : RowMapping
        The account's, locked by this transaction.
    now_ms : int
    what : str
        What was wrong, for the trail.
    by : str
        Who it was, where that is known: whoever gives a name and a wrong password may be anybody.
    """
    name = row["name"]
    failures = row["failures"] + 1
    until_ms = locked_until_ms(failures, now_ms)
    connection.execute(
        update(ACCOUNT).where(ACCOUNT.c.name == name).values(failures=failures, locked_until_ms=until_ms)
    )
    note(connection, now_ms, by, "sign-in refused", name, wrong=what, failures=failures)
    if until_ms:
        note(connection, now_ms, "vigie", "account locked", name, until_ms=until_ms)
    return Refused(Why.WRONG)
