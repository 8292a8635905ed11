"""What is said of a mistake in a protocol or in a book of limits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = ["ConditionError", "Mistake", "ProtocolError", "close_names"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: where it is, what is wrong, what would have been legal."""

    file: str
    line: int  # 1-based; 0 when the mistake is about the whole file
    key: str  # dotted path, such as rules[2].when
    wrong: str
    legal: str = ""

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.line else self.file
        legal = f"; legal: {self.legal}" if self.legal else ""
        return f"{at}: {self.key}: {self.wrong}{legal}" if self.key else f"{at}: {self.wrong}{legal}"


class ProtocolError(ValueError):
    """All the mistakes of one file, or of several files that do not go together.

    Parameters
    ----------
    mistakes : sequence of Mistake
        At least one, in the order of the file.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class ConditionError(ValueError):
    """A condition that is not in the language: what is wrong, and what is legal."""

    def __init__(self, wrong: str, legal: str = "") -> None:
        self.wrong = wrong
        self.legal = legal
        super().__init__(f"{wrong}; legal: {legal}" if legal else wrong)


def close_names(name: str, names: Iterable[str], *, most: int = 12) -> str:
    """List what `name` may have been: the close names, or all of them where they are few and none is close."""
    known = sorted(set(names))
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(each) for each in close) + "?"
    shown = ", ".join(known[:most])
    return f"{shown} and {len(known) - most} more" if len(known) > most else shown or "none is declared"
