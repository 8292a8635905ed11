"""Asking who somebody is: on a terminal field by field, else as JSON.

Not as options of a command: every user of the machine sees those, and the shell writes them down.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from triage.identity.errors import RegisterError
from triage.identity.person import FIELDS, read_fields

__all__ = ["from_json", "from_person"]


def from_person(
    ask: Callable[[str], str], say: Callable[[str], None], known: Sequence[str], *, changes: bool = False
) -> dict[str, Any]:
    """Ask for each field until it is legal.

    Parameters
    ----------
    ask : callable
        Takes the question, in French, gives the answer.
    say : callable
        Takes what is wrong with an answer.
    known : sequence of str
        Ids of the protocols that there are.
    changes : bool
        Whether an empty answer leaves a field as it is, and the cell is not asked for: a transfer changes it.
    """
    values: dict[str, Any] = {}
    for field in FIELDS:
        if changes and field.name == "cell":
            continue
        while field.name not in values:
            text = ask(field.question)
            if changes and not text.strip():
                break
            read, wrong = read_fields({field.name: text}, known, {field.name})
            for each in wrong:
                say(f"{each.wrong}; legal: {each.legal}")
            values |= read
    return values


def from_json(text: str, known: Sequence[str], *, changes: bool = False) -> dict[str, Any]:
    """Read the fields from a JSON object of texts; of `changes`, those that are there.

    Raises
    ------
    RegisterError
        With everything that is wrong.
    """
    names = [field.name for field in FIELDS if not (changes and field.name == "cell")]
    legal = ", ".join(names)
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        msg = f"standard input is no JSON object of texts; legal names are {legal}"
        raise RegisterError(msg)
    unknown = len(given.keys() - set(names))
    if unknown:
        msg = f"{unknown} of the names on standard input cannot be used; legal are {legal}"
        raise RegisterError(msg)
    values, wrong = read_fields(given, known, given if changes else None)
    if wrong:
        raise RegisterError("\n".join(map(str, wrong)))
    return values
