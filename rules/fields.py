"""Types of the fields of a protocol: each knows how it is written in TOML and what is legal."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from rules.durations import Duration
from rules.durations import parse as parse_duration
from rules.levels import Level

__all__ = [
    "FORMS",
    "At",
    "Clock",
    "LevelName",
    "Line",
    "Mark",
    "Name",
    "Names",
    "Number",
    "Part",
    "SourceName",
    "Span",
    "SqlText",
    "Title",
    "Version",
    "as_tuple",
    "placeholders",
    "to_sign",
]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def placeholders(text: str) -> tuple[str, ...]:
    """Give the names between braces in a text for nurses, in order."""
    return tuple(_PLACEHOLDER.findall(text))


def _level(value: object) -> object:
    if isinstance(value, Level):
        return value
    if isinstance(value, str) and value in Level.__members__:
        return Level[value]
    msg = f"{value!r} is not a level; legal: {', '.join(Level.__members__)}"
    raise ValueError(msg)


def as_tuple(value: object) -> object:
    """Take a list of TOML as the tuple that a frozen piece keeps."""
    return tuple(value) if isinstance(value, list) else value


_NAME = r"^[a-z][a-z0-9_]{0,39}$"
_MARK = r"^(S[0-9]+b?|G|D|Thesis)( (S[0-9]+b?|G|D|Thesis))*$"
_SOURCE = r"^(S[0-9]+b?|Thesis)$"
_VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+$"
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_AT = r"^(day|step) ([1-9][0-9]{0,3})$"

FORMS = {
    _NAME: "a name of lower-case letters, digits and _, at most 40, such as gain_3d",
    _MARK: "one or several of S1 to S85, G, D, Thesis, parted by a space",
    _SOURCE: "one of S1 to S85, Thesis",
    _VERSION: "three numbers, such as 1.0.0",
    _CLOCK: "a local time, such as 08:00",
    _AT: "'day 6' or 'step 6'",
}
"""What is legal, in words, for each pattern."""

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Names = Annotated[tuple[Name, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=400, strip_whitespace=True)]
Title = Annotated[Line | None, Field(exclude_if=lambda title: title is None)]
"""What people call a part. Where there is none it is no part of the content: a signature from before titles holds."""
SqlText = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Mark = Annotated[str, StringConstraints(pattern=_MARK)]
"""Where a figure comes from, as in the clinical reference: sources S1 to S85, G general knowledge, D proposal."""
SourceName = Annotated[str, StringConstraints(pattern=_SOURCE)]
"""A mark of one source; G and D are none."""
Version = Annotated[str, StringConstraints(pattern=_VERSION)]
Clock = Annotated[str, StringConstraints(pattern=_CLOCK)]
At = Annotated[str, StringConstraints(pattern=_AT)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Span = Annotated[Duration, BeforeValidator(parse_duration), PlainSerializer(str)]
LevelName = Annotated[Level, BeforeValidator(_level), PlainSerializer(lambda level: level.name)]


class Part(BaseModel):
    """A piece of a protocol: frozen, and no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def to_sign(mark: str) -> bool:
    """Say whether a mark is general knowledge or a proposal, which a clinician must sign."""
    return bool({"G", "D"} & set(mark.split()))
