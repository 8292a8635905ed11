"""Accounts, as an administrator looks after them: made, changed, disabled, given a new password."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, select, update
from sqlalchemy.exc import IntegrityError

from triage import database
from triage.people import passwords
from triage.people.kept import (
    ACCOUNT,
    FACTOR,
    NAME,
    RECOVERY,
    SESSION,
    SUBJECT,
    Kept,
    account,
    administrator,
    note,
)
from triage.people.person import PeopleError, Role

__all__ = ["Administration", "Listed", "NewAccount"]

ONCE_MS: Final = 72 * 3_600_000
"""How long a password that was given out is good."""

_CARE = {Role.NURSE, Role.CARDIOLOGIST}


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account is to be.

    Parameters
    ----------
    name : str
        2 to 40 of a-z, 0-9, '.', '_', '-'. Never changed.
    role : Role
    cells : sequence of str
        Whose patients a nurse or a cardiologist sees; none for the other roles.
    display : str
        How it is shown; the name where nothing is said.
    subject : str, optional
        What the OpenID provider calls this person.

    Raises
    ------
    PeopleError
    """

    name: str
    role: Role
    cells: Sequence[str] = ()
    display: str = ""
    subject: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no account may be."""
        if not NAME.fullmatch(self.name):
            raise PeopleError(
                f"account {self.name[:40]!r}: legal are 2 to 40 of a-z, 0-9, '.', '_', '-'",
                "Le nom du compte a de 2 à 40 caractères : a-z, 0-9, point, tiret.",
            )
        if (self.role in _CARE) != bool(self.cells):
            legal = "at least one cell" if self.role in _CARE else "no cell, since this role sees no patient"
            raise PeopleError(
                f"account {self.name}: cells of a role {self.role}: legal is {legal}",
                "Un soignant a au moins une cellule ; les autres rôles n’en ont pas.",
            )
        if len(set(self.cells)) < len(self.cells) or not all(map(_one_line, self.cells)):
            raise PeopleError(
                f"account {self.name}: cells: each once, 1 to 80 printable characters",
                "Chaque cellule une seule fois, de 1 à 80 caractères.",
            )
        if self.display and not _one_line(self.display):
            raise PeopleError(
                f"account {self.name}: display name: legal are 1 to 80 printable characters",
                "Le nom affiché a de 1 à 80 caractères.",
            )
        if self.subject is not None and not SUBJECT.fullmatch(self.subject):
            raise PeopleError(
                f"account {self.name}: subject: legal are 1 to 255 printable ASCII characters",
                "L’identifiant OpenID n’est pas valable.",
            )


@dataclass(frozen=True, slots=True)
class Listed:
    """An account as it is listed; times are ms UTC."""

    name: str
    display: str
    role: Role
    cells: tuple[str, ...]
    second: bool
    """It has a second factor."""
    password: bool
    once: bool
    """Its password was given out and is to be changed."""
    locked_until_ms: int
    disabled_ms: int | None
    created_ms: int
    created_by: str
    subject: str | None


class Administration(Kept):
    """What an administrator does. `by` is an administrator's account, or ``shell:`` and a user of the machine."""

    def create(self, new: NewAccount, by: str, now_ms: int, *, password: bool = True) -> str:
        """Make an account; return the password to be given out, which is shown this once.

        Parameters
        ----------
        new : NewAccount
        by : str
        now_ms : int
        password : bool
            False for who comes by OpenID Connect only.

        Raises
        ------
        PeopleError
            There is one of this name or subject, or `by` is no administrator.
        BusyError
        """
        given = passwords.invent() if password else ""
        values = {
            "name": new.name,
            "display": new.display or new.name,
            "role": new.role.value,
            "cells": list(new.cells),
            "password": self._passwords.hash(given) if password else None,
            "once": password,
            "once_until_ms": now_ms + ONCE_MS if password else None,
            "failures": 0,
            "locked_until_ms": 0,
            "disabled_ms": None,
            "created_ms": now_ms,
            "created_by": by,
            "subject": new.subject,
        }
        try:
            with database.writing(self._engine) as connection:
                administrator(connection, by)
                connection.execute(ACCOUNT.insert().values(values))
                said = {"role": new.role.value, "cells": list(new.cells), "openid": new.subject is not None}
                note(connection, now_ms, by, "account created", new.name, **said)
        except IntegrityError as error:
            raise _taken(new.name) from error
        return given

    def change(self, new: NewAccount, by: str, now_ms: int) -> None:
        """Bring an account to `new`; what it may do changes with its next request.

        Raises
        ------
        PeopleError
            There is none of this name, another has the subject, or `by` is no administrator.
        """
        values: dict[str, Any] = {
            "display": new.display or new.name,
            "role": new.role.value,
            "cells": list(new.cells),
            "subject": new.subject,
        }
        try:
            with database.writing(self._engine) as connection:
                administrator(connection, by)
                before = account(connection, new.name, lock=True)
                changed = {name: value for name, value in values.items() if before[name] != value}
                if not changed:
                    return
                connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == new.name).values(changed))
                # The subject may be a number of a national register: that it changed is said, not what it is.
                said = {
                    name: [before[name], value]
                    for name, value in changed.items()
                    if name in {"role", "cells"}
                }
                note(connection, now_ms, by, "account changed", new.name, fields=sorted(changed), **said)
        except IntegrityError as error:
            raise _taken(new.name) from error

    def disable(self, name: str, by: str, now_ms: int) -> None:
        """Let nobody in by this account any more; whoever is in is out."""
        with database.writing(self._engine) as connection:
            administrator(connection, by)
            before = account(connection, name, lock=True)
            end_all(connection, name)
            if before["disabled_ms"] is None:
                connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(disabled_ms=now_ms))
                note(connection, now_ms, by, "account disabled", name)

    def reset(self, name: str, by: str, now_ms: int, *, second: bool = False) -> str:
        """Give a new password out and unlock the account, enabled again if it was not; whoever is in is out.

        Parameters
        ----------
        name, by : str
        now_ms : int
        second : bool
            Whether the second factor is taken away too, for who has lost it with all recovery codes.
        """
        given = passwords.invent()
        hashed = self._passwords.hash(given)
        with database.writing(self._engine) as connection:
            administrator(connection, by)
            account(connection, name, lock=True)
            connection.execute(
                update(ACCOUNT)
                .where(ACCOUNT.c.name == name)
                .values(
                    password=hashed,
                    once=True,
                    once_until_ms=now_ms + ONCE_MS,
                    failures=0,
                    locked_until_ms=0,
                    disabled_ms=None,
                )
            )
            if second:
                connection.execute(delete(RECOVERY).where(RECOVERY.c.account == name))
                connection.execute(delete(FACTOR).where(FACTOR.c.account == name))
            end_all(connection, name)
            note(connection, now_ms, by, "account reset", name, second_factor_removed=second)
        return given

    def unlock(self, name: str, by: str, now_ms: int) -> None:
        """Let somebody try again at once."""
        with database.writing(self._engine) as connection:
            administrator(connection, by)
            account(connection, name, lock=True)
            free = {"failures": 0, "locked_until_ms": 0}
            connection.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(free))
            note(connection, now_ms, by, "account unlocked", name)

    def accounts(self) -> list[Listed]:
        """Give all accounts, by name."""
        has = exists().where(FACTOR.c.account == ACCOUNT.c.name, FACTOR.c.sealed.is_not(None))
        query = select(ACCOUNT, has.label("second")).order_by(ACCOUNT.c.name)
        with self._engine.connect() as connection:
            return [
                Listed(
                    row["name"],
                    row["display"],
                    Role(row["role"]),
                    tuple(row["cells"]),
                    bool(row["second"]),
                    row["password"] is not None,
                    row["once"],
                    row["locked_until_ms"],
                    row["disabled_ms"],
                    row["created_ms"],
                    row["created_by"],
                    row["subject"],
                )
                for row in connection.execute(query).mappings()
            ]


def end_all(connection: Connection, name: str, but: str = "") -> None:
    """End the sessions of an account, but the one with the hash `but`."""
    connection.execute(delete(SESSION).where(SESSION.c.account == name, SESSION.c.hash != but))


def _taken(name: str) -> PeopleError:
    return PeopleError(
        f"account {name}: there is one of this name, or another has this subject",
        "Ce nom de compte ou cet identifiant OpenID est déjà pris.",
    )


def _one_line(value: str) -> bool:
    return 1 <= len(value) <= 80 and value.isprintable() and value == value.strip()
