"""Accounts as lines, for the command line."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from triage.people.administration import Listed
from triage.people.tokens import Token

__all__ = ["as_rows", "line"]


def line(account: Listed, now_ms: int) -> str:
    """Say how an account stands."""
    said = [str(account.role), *(f"cell {cell}" for cell in account.cells)]
    if account.disabled_ms is not None:
        said.append(f"disabled {_minute(account.disabled_ms)}")
    elif account.locked_until_ms > now_ms:
        said.append(f"locked until {_minute(account.locked_until_ms)}")
    if account.once:
        said.append("password given out, to be changed")
    if account.subject is not None:
        said.append("by OpenID Connect" if account.password else "by OpenID Connect only")
    if account.second:
        said.append("second factor")
    return f"{account.name}: {'; '.join(said)}"


def as_rows(accounts: list[Listed], tokens: list[Token]) -> list[dict[str, Any]]:
    """Give accounts with their tokens, for JSON; nothing that opens a door is in them."""
    return [
        asdict(account) | {"tokens": [asdict(token) for token in tokens if token.account == account.name]}
        for account in accounts
    ]


def _minute(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
