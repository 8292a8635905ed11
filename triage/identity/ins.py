"""The INS, the national health identity: 13 characters, a control key of two digits, and the OID that says its kind.

Control key: 97 less the remainder of the number by 97. In a number of somebody born in Corsica 2A counts as 19 and
2B as 18 (INSEE, RNIPP). The key finds any single wrong digit and any two neighbours exchanged.
"""

import re

from triage.identity.errors import FieldError

__all__ = ["OIDS", "key", "mask", "read", "read_oid", "says_year"]

OIDS = {
    "NIR": "1.2.250.1.213.1.4.8",
    "NIA": "1.2.250.1.213.1.4.9",
    "TEST": "1.2.250.1.213.1.4.10",
    "DEMO": "1.2.250.1.213.1.4.11",
}
"""Kinds of INS by short name; the last two are for invented patients (FR Core)."""

_FORM = re.compile(r"[1-9][0-9]{4}(?:[0-9]{2}|2[AB])[0-9]{6}[0-9]{2}")
_BETWEEN = re.compile(r"[\s.\-]+")
_CORSICA = {"2A": "19", "2B": "18"}
_LEGAL = "15 characters: 13 of the number (2A and 2B stand for Corsica) and the key of two digits"


def key(number: str) -> int:
    """Give the control key, 1 to 97, of the 13 characters of a number."""
    department = number[5:7]
    return 97 - int(number[:5] + _CORSICA.get(department, department) + number[7:]) % 97


def mask(ins: str) -> str:
    """Give what may be said of a number outside the register: its last three characters."""
    return f"…{ins[-3:]}"


def read(text: str) -> str:
    """Read a number as it is typed; return its 15 characters.

    Raises
    ------
    FieldError
        Where it is none. Of the number no more is said than its last three characters.
    """
    ins = _BETWEEN.sub("", text).upper()
    if not _FORM.fullmatch(ins):
        known = f" that end in {ins[-3:]}" if ins[-3:].isdigit() else ""
        raise FieldError("ins", f"{len(ins)} characters{known} are no INS", _LEGAL)
    if key(ins[:13]) != int(ins[13:]):
        raise FieldError(
            "ins", f"{mask(ins)}: the control key does not fit the number", "the INS as INSi gave it"
        )
    return ins


def read_oid(text: str) -> str:
    """Read the kind of a number: an OID, or its short name.

    Raises
    ------
    FieldError
        Where it is none.
    """
    oid = OIDS.get(text.strip().upper(), text.strip().removeprefix("urn:oid:"))
    if oid not in OIDS.values():
        legal = ", ".join(f"{name} ({oid})" for name, oid in OIDS.items())
        raise FieldError("ins_oid", "no kind of INS", legal)
    return oid


def says_year(ins: str) -> int:
    """Give the last two digits of the year of birth that a number says."""
    return int(ins[1:3])
