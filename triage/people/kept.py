"""What all parts of `People` share: the database, and what is asked of an account's row."""

import hashlib
import re
import secrets
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, select

from triage import audit
from triage.people import tables
from triage.people.passwords import Passwords
from triage.people.person import PeopleError, Person, Role
from triage.tables import Base

__all__ = [
    "ACCOUNT",
    "API_TOKEN",
    "FACTOR",
    "MINUTE_MS",
    "OPENING",
    "RECOVERY",
    "SESSION",
    "Kept",
    "new_token",
]

assert tables.Account.__tablename__ == "account"  # noqa: S101 - read so that the tables are declared
ACCOUNT = Base.metadata.tables["account"]
FACTOR = Base.metadata.tables["second_factor"]
RECOVERY = Base.metadata.tables["recovery"]
SESSION = Base.metadata.tables["session"]
API_TOKEN = Base.metadata.tables["api_token"]
OPENING = Base.metadata.tables["opening"]

MINUTE_MS: Final = 60_000

NAME: Final = re.compile(r"[a-z0-9._-]{2,40}")
"""Of an account. Other texts are not looked for: a database may refuse what is no text to it, such as NUL."""

SUBJECT: Final = re.compile(r"[!-~]{1,255}")
"""What an OpenID provider may call somebody."""

SHELL: Final = "shell:"
"""Before the name of who acts from the command line: whoever may read the database needs no account."""


class Kept:
    """People in a database.

    Parameters
    ----------
    engine : Engine
        Of `triage.database.connect`, tables at this version.
    passwords : Passwords, optional
        How passwords are hashed.
    """

    def __init__(self, engine: Engine, passwords: Passwords | None = None) -> None:
        self._engine = engine
        self._passwords = passwords or Passwords()


def find(connection: Connection, name: str, *, lock: bool = False) -> RowMapping | None:
    """Read the row of an account, whatever was typed as its name."""
    query = select(ACCOUNT).where(ACCOUNT.c.name == (name if NAME.fullmatch(name) else ""))
    return connection.execute(query.with_for_update() if lock else query).mappings().first()


def account(connection: Connection, name: str, *, lock: bool = False) -> RowMapping:
    """Read the row of an account.

    Raises
    ------
    PeopleError
        Where there is none.
    """
    row = find(connection, name, lock=lock)
    if row is None:
        msg = f"account {name[:40]!r}: there is none of this name"
        raise PeopleError(msg, "Ce compte n’existe pas.")
    return row


def administrator(connection: Connection, by: str) -> None:
    """Refuse who may not look after accounts.

    Raises
    ------
    PeopleError
    """
    if by.startswith(SHELL):
        return
    row = find(connection, by)
    if row is None or row["disabled_ms"] is not None or row["role"] != Role.ADMINISTRATOR:
        msg = f"{by[:40]!r}: only an administrator looks after accounts"
        raise PeopleError(msg, "Seul un administrateur peut faire cela.")


def person(row: RowMapping, **more: Any) -> Person:  # noqa: ANN401 - fields of Person
    """Make a person of an account's row."""
    return Person(row["name"], row["display"], Role(row["role"]), tuple(row["cells"]), **more)


def note(
    connection: Connection,
    now_ms: int,
    actor: str,
    action: str,
    subject: str,
    **details: Any,  # noqa: ANN401 - JSON values
) -> None:
    """Write one entry of the audit trail: the last thing that a transaction does.

    The end of the trail is locked from here on. Who held it and then waited for a row would wait for ever, if who has
    that row waits for the trail.
    """
    audit.append(connection, now_ms, [audit.Deed(actor, action, subject, "", details)])


def new_token() -> str:
    """Make 256 random bits, in 43 characters that may stand in a header or a cookie."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Hash a token: random as it is, it needs no slow hash."""
    return hashlib.sha256(token[:256].encode(errors="replace")).hexdigest()
