"""Signatures of protocols in the audit trail: who wrote one, when, of which content; nobody changes that unseen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from rules import signature as signatures
from rules.protocol import Protocol
from rules.signature import Detached
from triage import audit, database
from triage.audit import Deed, Entry

__all__ = ["SIGNED", "proof", "sign"]

SIGNED: Final = "protocol signed"
"""What the trail calls it."""

_READ = 100


def sign(
    engine: Engine, path: Path, signature: Detached, by: str, now_ms: int, *, replace: bool = False
) -> Path:
    """Write a signature beside its protocol, and its entry of the trail; neither where either cannot be written.

    Parameters
    ----------
    engine : Engine
        Of a queue, tables at this version.
    path : Path
        The protocol's file.
    signature : Detached
    by : str
        Who writes it: ``shell:`` and a user of the machine.
    now_ms : int
        The clock, ms UTC.
    replace : bool
        Whether a signature that is there is replaced.

    Raises
    ------
    FileExistsError
        There is one, and it is not to be replaced.
    OSError
        It cannot be written.
    """
    with database.writing(engine) as connection:
        audit.append(connection, now_ms, [Deed(by, SIGNED, signature.protocol, details=_details(signature))])
        return signatures.write(path, signature, replace=replace)


def proof(engine: Engine, protocol: Protocol) -> tuple[bool, str]:
    """Say whether the trail is whole and has the entry of a protocol's signature, and what it says."""
    verified = audit.verify(engine)
    if verified.problem:
        return False, verified.problem
    given = protocol.signature
    entry = _entry(engine, given) if isinstance(given, Detached) else None
    if entry is None:
        return False, "no entry says that it was signed"
    at = datetime.fromtimestamp(entry.t_ms / 1000, UTC)
    said = f"entry {entry.id}, {at:%Y-%m-%dT%H:%M:%SZ}, by {entry.actor}"
    return True, f"{said}; the trail is whole, head {verified.head}"


def _entry(engine: Engine, signature: Detached) -> Entry | None:
    """Give the newest entry that says what a signature says, to the letter; None where there is none."""
    details = audit.text_of(_details(signature))
    before = None
    while found := audit.entries(engine, subject=signature.protocol, before=before, at_most=_READ):
        for each in found:
            if each.action == SIGNED and each.details == details:
                return each
        before = found[-1].id
    return None


def _details(signature: Detached) -> dict[str, Any]:
    return signature.model_dump(mode="json", exclude_none=True)
