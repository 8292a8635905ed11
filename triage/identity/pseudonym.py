"""The id by which all else knows a patient: drawn at random, never made from anything of the person.

Sixteen characters of an alphabet of 32 without I, L, O and U (so that it can be said on the telephone and spells no
word), in fours: 80 bits. Of 70 million drawn apart from one another, two are the same with a chance of 2 in a thousand
million; within a register the primary key sees to it.
"""

import re
import secrets

__all__ = ["draw", "is_one"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS = 4
_FORM = re.compile(rf"[{_ALPHABET}]{{4}}(?:-[{_ALPHABET}]{{4}}){{{_GROUPS - 1}}}")


def draw() -> str:
    """Draw an id."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(_GROUPS))


def is_one(text: str) -> bool:
    """Tell whether `text` has the form of an id, so that it may be repeated in a message."""
    return _FORM.fullmatch(text) is not None
