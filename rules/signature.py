"""Who answers for a protocol: a statement in a file beside it, bound to the protocol's content by its hashes.

``poids.toml`` is signed by ``poids.toml.signature``, which names a person, a role, a date, the content and until when
it holds. It is a statement and no cryptographic signature: whoever may write the file may write a name into it. What it
is good for: a figure that is changed afterwards leaves the protocol unsigned, and both hashes are said. An entry of the
audit trail (`triage.signing`) says moreover who wrote it and when, and cannot be changed unseen.
"""

import datetime as dt
import json
import os
import tempfile
from enum import Enum
from pathlib import Path

from pydantic import ValidationError

from rules.errors import Mistake, ProtocolError
from rules.fields import Name, Version
from rules.model import UNSIGNED, Protocol, Signature
from rules.reading import Reader, read_text

__all__ = [
    "Detached",
    "Standing",
    "attached",
    "file_of",
    "made",
    "problem",
    "read",
    "standing",
    "statement",
    "write",
]

_SUFFIX = ".signature"
_HEAD = "# Who answers for the content of {file}; an edit of it makes this void. Written by vigie protocol sign.\n"


class Detached(Signature):
    """A signature in a file of its own: it says of which protocol it is, for who reads it."""

    protocol: Name
    version: Version


class Standing(Enum):
    """How a protocol stands on a date."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    ALTERED = "altered"
    """Its content is not what was signed."""
    EARLY = "not yet valid"
    EXPIRED = "expired"


def file_of(path: Path) -> Path:
    """Give the file in which the signature of the protocol at `path` is."""
    return path.with_name(path.name + _SUFFIX)


def read(path: Path) -> Detached:
    """Read a signature.

    Raises
    ------
    ProtocolError
        It cannot be read, or is none; with every mistake.
    """
    reader = Reader(read_text(path), str(path))
    found = reader.model(Detached, reader.raw, ())
    if found is None:
        raise reader.error()
    return found


def attached(protocol: Protocol, path: Path) -> Protocol:
    """Give the protocol that was read at `path` the signature that is beside it, if any.

    A signature of another content is kept too: then the protocol is not `signed`, and `standing` says altered.

    Raises
    ------
    ProtocolError
        The signature cannot be read, or there is one in the protocol's file too.
    """
    beside = file_of(path)
    if not beside.exists():
        return protocol
    found = read(beside)
    if protocol.signature != UNSIGNED:
        legal = f"signature = {UNSIGNED!r} in the file, or no {beside.name}"
        raise ProtocolError([Mistake(str(path), 0, "signature", f"{beside.name} signs it too", legal)])
    return protocol.model_copy(update={"signature": found})


def made(
    protocol: Protocol,
    name: str,
    role: str,
    date: dt.date,
    valid_from: dt.date | None = None,
    valid_until: dt.date | None = None,
) -> Detached:
    """Make the signature of a protocol's content as it is.

    Raises
    ------
    ValueError
        A name or a role is empty or too long, the validity ends before it begins or before `date`, or the protocol's
        own file holds a signature; the message says which.
    """
    if protocol.signature != UNSIGNED and not isinstance(protocol.signature, Detached):
        msg = f"{protocol.id}: the signature is in the protocol's file; legal there: signature = {UNSIGNED!r}"
        raise ValueError(msg)
    if valid_until is not None and valid_until < date:
        msg = f"valid_until {valid_until}: is over; legal: {date} or later"
        raise ValueError(msg)
    try:
        return Detached(
            protocol=protocol.id,
            version=protocol.version,
            name=name,
            role=role,
            date=date,
            hash=protocol.hash,
            digest=protocol.digest,
            valid_from=valid_from,
            valid_until=valid_until,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(map(str, first["loc"])) or "signature"
        msg = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise ValueError(msg) from None


def write(path: Path, signature: Detached, *, replace: bool = False) -> Path:
    """Write the signature of the protocol at `path` beside it, whole or not at all; return its file.

    Raises
    ------
    FileExistsError
        There is one, and it is not to be replaced.
    OSError
        It cannot be written.
    """
    beside = file_of(path)
    if beside.exists() and not replace:
        msg = f"{beside}: is there already; --replace puts another in its place"
        raise FileExistsError(msg)
    given = signature.model_dump(exclude_none=True)
    lines = [f"{name} = {_toml(value)}\n" for name, value in given.items()]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{beside.name}.") as folder:
        unfinished = Path(folder) / beside.name
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(_HEAD.format(file=path.name) + "".join(lines))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(beside)
    return beside


def standing(protocol: Protocol, today: dt.date) -> Standing:
    """Say how a protocol stands on a local date."""
    given = protocol.signature
    if not isinstance(given, Signature):
        return Standing.UNSIGNED
    if not protocol.signed:
        return Standing.ALTERED
    if given.valid_from is not None and today < given.valid_from:
        return Standing.EARLY
    if given.valid_until is not None and today > given.valid_until:
        return Standing.EXPIRED
    return Standing.SIGNED


def statement(protocol: Protocol, today: dt.date | None = None) -> str:
    """Say in French who answers for a protocol; on `today`, whether the signature holds on that date too."""
    given = protocol.signature
    if not isinstance(given, Signature):
        return f"Non signé : {len(protocol.to_sign)} éléments à signer par un clinicien."
    who = f"{given.name}, {given.role}, le {given.date:%d/%m/%Y}"
    if not protocol.signed:
        then, now = _hashes(given, protocol)
        return f"Modifié depuis la signature de {who}, donc non signé : signé {then}, à présent {now}."
    text = f"Signé par {who}{_validity(given)}"
    if today is not None:
        text += {Standing.EARLY: " : pas encore valable", Standing.EXPIRED: " : périmé"}.get(
            standing(protocol, today), ""
        )
    return f"{text}."


def problem(protocol: Protocol, today: dt.date) -> str:
    """Say in one line for an operator why nobody answers for a protocol on a date; empty where somebody does."""
    name = f"protocol {protocol.id} {protocol.version}"
    given = protocol.signature
    match standing(protocol, today):
        case Standing.SIGNED:
            return ""
        case Standing.ALTERED if isinstance(given, Signature):
            then, now = _hashes(given, protocol)
            return f"{name} was altered after {given.name} signed it: signed {then}, now {now}"
        case Standing.EARLY if isinstance(given, Signature):
            return f"{name} is signed, but valid from {given.valid_from} only"
        case Standing.EXPIRED if isinstance(given, Signature):
            return f"{name} is signed, but was valid until {given.valid_until} only"
        case _:
            return f"{name} is unsigned: nobody answers for its figures"


def _hashes(given: Signature, protocol: Protocol) -> tuple[str, str]:
    """Give what was signed and what there is, in the hash that tells them apart."""
    if given.hash == protocol.hash and given.digest is not None:
        return given.digest, protocol.digest
    return given.hash, protocol.hash


def _validity(given: Signature) -> str:
    first, last = given.valid_from, given.valid_until
    if first and last:
        return f", valable du {first:%d/%m/%Y} au {last:%d/%m/%Y}"
    if first:
        return f", valable à partir du {first:%d/%m/%Y}"
    return f", valable jusqu'au {last:%d/%m/%Y}" if last else ""


def _toml(value: str | dt.date) -> str:
    if isinstance(value, dt.date):
        return value.isoformat()
    # What JSON escapes, TOML reads the same; it wants DEL escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
