"""A list of patients as CSV, as a hospital's software or a spreadsheet writes it.

The first line names the columns, in French or in English (`person.FIELDS`), in any order; they are parted by commas,
semicolons or tabs. Everything that is wrong is found before anything is said, and said without what was there.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.progress import SILENT, Progress
from rules.errors import Mistake
from triage.identity import ins
from triage.identity.admission import Entry
from triage.identity.person import FIELDS, Care, Person, column, read_fields

__all__ = ["Listed", "read"]

_NAMES = {name: field.name for field in FIELDS for name in (field.name, *field.also)}
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Listed:
    """What a file says: the entries with the line that each begins on, and the mistakes in the order of lines."""

    entries: list[Entry]
    lines: list[int]
    mistakes: list[Mistake]


def read(path: Path, known: Sequence[str], progress: Progress = SILENT) -> Listed:
    """Read a list of patients.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte order mark.
    known : sequence of str
        Ids of the protocols that there are.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    lines = _Lines(str(path), known)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        lines.wrong(0, "", "the text is not UTF-8", "UTF-8; a spreadsheet saves it as CSV UTF-8")
        return lines.listed
    first, _, _ = text.partition("\n")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=first.count), strict=True)
    try:
        if not lines.header(next(rows, [])):
            return lines.listed
        last = rows.line_num
        progress.step("read", len(text.splitlines()) - last, "lines")
        for row in rows:
            lines.take(last + 1, row)
            progress.advance(rows.line_num - last)
            last = rows.line_num
    except csv.Error as error:
        lines.wrong(rows.line_num, "", f"is no CSV ({error})", 'fields that hold the delimiter between "')
    return lines.listed


class _Lines:
    """The lines of the file, checked one by one."""

    def __init__(self, file: str, known: Sequence[str]) -> None:
        self.listed = Listed([], [], [])
        self._file = file
        self._known = known
        self._names: list[str] = []
        self._seen: dict[str, int] = {}

    def wrong(self, line: int, key: str, what: str, legal: str) -> None:
        """Note a mistake."""
        self.listed.mistakes.append(Mistake(self._file, line, key, what, legal))

    def header(self, given: Sequence[str]) -> bool:
        """Read the names of the columns; return whether the lines can be read."""
        legal = ", ".join(field.name for field in FIELDS)
        names = [_NAMES.get(column(name), "") for name in given]
        for at, name in enumerate(names, 1):
            if not name:
                # Where there is no header, this is somebody's name.
                self.wrong(1, f"column {at}", "has an unknown name", legal)
            elif name in names[: at - 1]:
                self.wrong(1, name, "two columns are called so", "each once")
        for field in FIELDS:
            if field.needed and field.name not in names:
                also = " or ".join((field.name, *field.also))
                self.wrong(1, field.name, "the column is missing", f"a column {also}")
        self._names = names
        return not self.listed.mistakes

    def take(self, line: int, row: Sequence[str]) -> None:
        """Take a line."""
        if not any(map(str.strip, row)):
            return
        if len(row) != len(self._names):
            self.wrong(line, "", f"{len(row)} fields", f"{len(self._names)}, as in the first line")
            return
        values, wrong = read_fields(dict(zip(self._names, row, strict=True)), self._known)
        for each in wrong:
            self.wrong(line, each.field, each.wrong, each.legal)
        number = values.get("ins")
        if number is not None:
            before = self._seen.setdefault(number, line)
            if before != line:
                self.wrong(
                    line, "ins", f"{ins.mask(number)} is on line {before} already", "one line a patient"
                )
                return
        if not wrong:
            entry = Entry(Person.of(values), Care.of(values), frozenset(self._names))
            self.listed.entries.append(entry)
            self.listed.lines.append(line)
