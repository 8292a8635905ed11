"""Tokens with which programs act as an account, until a date. Shown once, kept as a hash."""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from triage import database
from triage.people.kept import (
    ACCOUNT,
    API_TOKEN,
    MINUTE_MS,
    Kept,
    account,
    administrator,
    digest,
    new_token,
    note,
    person,
)
from triage.people.person import PeopleError, Person, Scope

__all__ = ["MOST_DAYS", "PREFIX", "Token", "Tokens"]

PREFIX: Final = "vg_"
"""What a token begins with, so that one that is lost in a text can be searched for."""

MOST_DAYS: Final = 366
DAY_MS: Final = 86_400_000

_NAME = re.compile(r"[a-z0-9._-]{1,40}")
_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")

_HOLDERS = (
    select(
        *(ACCOUNT.c[name] for name in ("name", "display", "role", "cells", "disabled_ms")),
        *(API_TOKEN.c[name] for name in ("hash", "scope", "until_ms", "revoked_ms", "used_ms")),
    )
    .select_from(API_TOKEN)
    .join(ACCOUNT, ACCOUNT.c.name == API_TOKEN.c.account)
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed; times are ms UTC, `used_ms` to the minute."""

    account: str
    name: str
    scope: Scope
    created_ms: int
    created_by: str
    until_ms: int
    revoked_ms: int | None
    used_ms: int | None


class Tokens(Kept):
    """Tokens of programs."""

    def make_token(self, name: str, label: str, scope: Scope, days: int, by: str, now_ms: int) -> str:
        """Make a token for an account; return it, which is shown this once.

        Parameters
        ----------
        name : str
            Of the account.
        label : str
            What the token is called: 1 to 40 of a-z, 0-9, '.', '_', '-'.
        scope : Scope
        days : int
            How long it is good.
        by : str
            An administrator, the account itself, or ``shell:`` and a user of the machine.
        now_ms : int

        Raises
        ------
        PeopleError
        """
        if not _NAME.fullmatch(label):
            raise PeopleError(
                f"token {label[:40]!r}: legal names are 1 to 40 of a-z, 0-9, '.', '_', '-'",
                "Le nom du jeton a de 1 à 40 caractères : a-z, 0-9, point, tiret.",
            )
        if not 1 <= days <= MOST_DAYS:
            raise PeopleError(
                f"token {label}: {days} days; legal are 1 to {MOST_DAYS}",
                f"Un jeton est valable de 1 à {MOST_DAYS} jours.",
            )
        token = PREFIX + new_token()
        values = {
            "hash": digest(token),
            "account": name,
            "name": label,
            "scope": scope.value,
            "created_ms": now_ms,
            "created_by": by,
            "until_ms": now_ms + days * DAY_MS,
        }
        try:
            with database.writing(self._engine) as connection:
                if by != name:
                    administrator(connection, by)
                if account(connection, name)["disabled_ms"] is not None:
                    raise PeopleError(f"account {name}: it is disabled", "Ce compte est désactivé.")
                connection.execute(API_TOKEN.insert().values(values))
                note(connection, now_ms, by, "token made", name, token=label, scope=scope.value, days=days)
        except IntegrityError as error:
            raise PeopleError(
                f"account {name}: there is a token {label} already, in force or not",
                "Ce compte a déjà eu un jeton de ce nom.",
            ) from error
        return token

    def revoke_token(self, name: str, label: str, by: str, now_ms: int) -> None:
        """Let a token open nothing any more.

        Raises
        ------
        PeopleError
        """
        one = (API_TOKEN.c.account == name) & (API_TOKEN.c.name == label)
        with database.writing(self._engine) as connection:
            if by != name:
                administrator(connection, by)
            found = connection.execute(select(API_TOKEN.c.revoked_ms).where(one)).first()
            if found is None:
                raise PeopleError(
                    f"account {name}: there is no token {label[:40]!r}", "Ce jeton n’existe pas."
                )
            if found.revoked_ms is None:
                connection.execute(update(API_TOKEN).where(one).values(revoked_ms=now_ms))
                note(connection, now_ms, by, "token revoked", name, token=label)

    def tokens(self, name: str | None = None) -> list[Token]:
        """List tokens, of one account or of all."""
        query = select(API_TOKEN).order_by(API_TOKEN.c.account, API_TOKEN.c.name)
        if name is not None:
            query = query.where(API_TOKEN.c.account == name)
        with self._engine.connect() as connection:
            return [
                Token(
                    row["account"],
                    row["name"],
                    Scope(row["scope"]),
                    row["created_ms"],
                    row["created_by"],
                    row["until_ms"],
                    row["revoked_ms"],
                    row["used_ms"],
                )
                for row in connection.execute(query).mappings()
            ]

    def by_token(self, token: str, now_ms: int) -> Person | None:
        """Say as whom a program acts; None where its token is none, over, revoked, or of a disabled account."""
        if not _TOKEN.fullmatch(token):
            return None
        with self._engine.connect() as connection:
            row = connection.execute(_HOLDERS.where(API_TOKEN.c.hash == digest(token))).mappings().first()
        if row is None or row["disabled_ms"] is not None or row["revoked_ms"] is not None:
            return None
        if row["until_ms"] <= now_ms:
            return None
        if row["used_ms"] is None or now_ms - row["used_ms"] >= MINUTE_MS:
            with database.writing(self._engine) as connection:
                used = update(API_TOKEN).where(API_TOKEN.c.hash == row["hash"])
                connection.execute(used.values(used_ms=now_ms))
        return person(row, second=True, scope=Scope(row["scope"]))
