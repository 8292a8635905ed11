"""People: the one door to accounts, sessions, second factors, tokens and openings; and how somebody comes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, RowMapping, select, update

from triage import database, store
from triage.people import passwords
from triage.people.administration import Administration, end_all
from triage.people.kept import ACCOUNT, SUBJECT, account, find, note
from triage.people.openings import Openings
from triage.people.passwords import Attempts, BusyError, Passwords
from triage.people.person import PeopleError, Person, Refused, SignedIn, Why
from triage.people.seal import Seal
from triage.people.second_factor import SecondFactors, fail
from triage.people.sessions import ABSOLUTE_MS, IDLE_MS
from triage.people.tokens import Tokens

__all__ = ["Accounts", "People", "accounts"]


class Accounts(Administration, Tokens):
    """What needs no key: accounts and tokens, as the command line looks after them."""


@contextmanager
def accounts(url: str | Path, *, create: bool = True) -> Iterator[Accounts]:
    """Open the accounts of a queue, whose tables are brought to this version.

    Parameters
    ----------
    url : str or Path
    create : bool
        Whether to make an SQLite file that is not there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `triage.store.open`.
    """
    store.open(url, create=create).close()
    engine = database.connect(database.address(url))
    try:
        yield Accounts(engine)
    finally:
        engine.dispose()


class People(SecondFactors, Administration, Tokens, Openings):
    """Who may come in, and who is in. One of it for a process, for all threads.

    Every act writes its entry of the audit trail in its own transaction. `now_ms` is the wall clock, ms UTC.

    Parameters
    ----------
    engine : Engine
        Of `triage.database.connect`, tables at this version.
    seal : Seal
        What secrets of second factors are sealed with: `triage.people.seal.load`.
    passwords : Passwords, optional
        How passwords are hashed.
    attempts : Attempts, optional
        How often may be tried.
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
        attempts: Attempts | None = None,
        second_required: bool = True,
        idle_ms: int = IDLE_MS,
        absolute_ms: int = ABSOLUTE_MS,
    ) -> None:
        super().__init__(
            engine,
            seal,
            passwords=passwords,
            second_required=second_required,
            idle_ms=idle_ms,
            absolute_ms=absolute_ms,
        )
        self._attempts = attempts or Attempts()

    def sign_in(self, name: str, password: str, code: str, now_ms: int) -> SignedIn | Refused:
        """Let somebody in by name, password and, where the account has a second factor, its code.

        The answer does not tell which part was wrong, nor does its time: as much is computed and written for a name
        that there is not.

        Parameters
        ----------
        name, password : str
        code : str
            Of the second factor, or a recovery code; empty where there is none.
        now_ms : int
        """
        name = name.strip().lower()[:40]
        if not self._attempts.take(name):
            return Refused(Why.TOO_MANY)
        with self._engine.connect() as connection:
            seen = find(connection, name)
        hashed = seen["password"] if seen is not None and _usable(seen, now_ms) else None
        try:
            right = self._passwords.verify(hashed, password)
            # With the parameters of today, where the hash is older than they are.
            anew = (
                self._passwords.hash(password)
                if right and hashed and self._passwords.stale(hashed)
                else hashed
            )
        except BusyError:
            return Refused(Why.BUSY)
        with database.writing(self._engine) as connection:
            row = find(connection, name, lock=True)
            if row is None:
                # What was typed may be a password in the wrong field: it is not written down.
                note(connection, now_ms, "vigie", "sign-in refused", "", wrong="name")
                return Refused(Why.WRONG)
            known = right and row["password"] == hashed
            return self._judge(connection, row, code, now_ms, anew if known else None)

    def _judge(
        self, connection: Connection, row: RowMapping, code: str, now_ms: int, hashed: str | None
    ) -> SignedIn | Refused:
        """Decide about an account whose row is locked; `hashed` is its password's, where the right one was given."""
        name = row["name"]
        if not _usable(row, now_ms):
            # Others may have locked it while the password was looked at: then a right one comes too late.
            note(connection, now_ms, "vigie", "sign-in refused", name, wrong="not usable")
            return Refused(Why.LOCKED if row["locked_until_ms"] > now_ms else Why.WRONG)
        if hashed is None:
            return fail(connection, row, now_ms, "password")
        second = self._has(connection, name)
        if second and self._use(connection, name, code, now_ms) is None:
            return fail(connection, row, now_ms, "code")
        values = {"failures": 0, "locked_until_ms": 0, "password": hashed}
        connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(values))
        return self._in(connection, name, now_ms, second=second, by="password")

    def sign_in_subject(self, subject: str, now_ms: int, *, strong: bool) -> SignedIn | Refused:
        """Let somebody in whom the OpenID provider has vouched for: `triage.people.oidc.finish`.

        No account is made by this: an administrator has said which account the subject is of.

        Parameters
        ----------
        subject : str
        now_ms : int
        strong : bool
            The provider asked for two factors, so that no further one is asked here.
        """
        with database.writing(self._engine) as connection:
            wanted = subject if SUBJECT.fullmatch(subject) else ""
            query = select(ACCOUNT).where(ACCOUNT.c.subject == wanted).with_for_update()
            row = connection.execute(query).mappings().first()
            if row is None or row["disabled_ms"] is not None:
                note(
                    connection,
                    now_ms,
                    "vigie",
                    "sign-in refused",
                    row["name"] if row else "",
                    wrong="subject",
                )
                return Refused(Why.NO_ACCOUNT)
            return self._in(connection, row["name"], now_ms, second=strong, by="openid")

    def set_password(self, who: Person, old: str, new: str, now_ms: int) -> SignedIn | Refused:
        """Change one's own password; all sessions of the account end, and a new one begins.

        Raises
        ------
        PeopleError
            The new one is too easy, or is the old one; or it is a program that asks.
        """
        if not who.session:
            raise PeopleError(
                f"password of {who.name}: a program sets none", "Un programme ne change pas de mot de passe."
            )
        passwords.check(new, who.name)
        if new == old:
            raise PeopleError("password: it is the present one", "C’est le mot de passe actuel.")
        if not self._attempts.take(who.name):
            return Refused(Why.TOO_MANY)
        with self._engine.connect() as connection:
            seen = account(connection, who.name)
        try:
            right = _usable(seen, now_ms) and self._passwords.verify(seen["password"], old)
            hashed = self._passwords.hash(new) if right else ""
        except BusyError:
            return Refused(Why.BUSY)
        with database.writing(self._engine) as connection:
            row = account(connection, who.name, lock=True)
            if not _usable(row, now_ms):
                return Refused(Why.LOCKED)
            if not right or row["password"] != seen["password"]:
                return fail(connection, row, now_ms, "password", who.name)
            values = {"password": hashed, "once": False, "once_until_ms": None, "failures": 0}
            connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == who.name).values(values))
            end_all(connection, who.name)
            note(connection, now_ms, who.name, "password set", who.name)
            token = self._begin(connection, who.name, now_ms, second=who.second)
            return SignedIn(token, self._begun(connection, token))

    def _in(self, connection: Connection, name: str, now_ms: int, *, second: bool, by: str) -> SignedIn:
        token = self._begin(connection, name, now_ms, second=second)
        note(connection, now_ms, name, "signed in", name, by=by, second=second)
        return SignedIn(token, self._begun(connection, token))


def _usable(row: RowMapping, now_ms: int) -> bool:
    """Say whether somebody may come in by the password of this account now."""
    return (
        row["disabled_ms"] is None
        and row["password"] is not None
        and row["locked_until_ms"] <= now_ms
        and (row["once_until_ms"] is None or row["once_until_ms"] > now_ms)
    )
