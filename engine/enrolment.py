"""Who is enrolled: a CSV file of patients with their cell, their protocols and their zone.

    patient,cell,programmes,zone
    P0001,Cellule Nord,insuffisance_cardiaque+covidom,Europe/Paris
    P0002,,covidom,

An empty cell is none, an empty zone the usual one. Columns may be in any order, and `cell` and `zone` may be missing.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from rules.errors import Mistake, ProtocolError, close_names

__all__ = ["Enrolled", "read"]

_COLUMNS = ("patient", "cell", "programmes", "zone")
_NEEDED = ("patient", "programmes")
_ID = re.compile(r"[!-~]{1,40}")
_MOST_MISTAKES = 20


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A line of the file."""

    programmes: tuple[str, ...]
    cell: str | None = None
    zone: str | None = None


def read(path: Path, protocols: Sequence[str]) -> dict[str, Enrolled]:
    """Read an enrolment.

    Parameters
    ----------
    path : Path
    protocols : sequence of str
        Ids of the protocols in use.

    Raises
    ------
    ProtocolError
        With the mistakes, each with its line and what is legal.
    OSError
        The file cannot be read.
    """
    lines = _Lines(str(path), protocols)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if lines.header(rows.fieldnames or ()):
                for row in rows:
                    lines.take(rows.line_num, row)
                    if len(lines.mistakes) >= _MOST_MISTAKES:
                        break
    except (UnicodeDecodeError, csv.Error) as error:
        lines.wrong(0, "", f"is not CSV in UTF-8 ({error})", f"a first line {','.join(_COLUMNS)}")
    if lines.mistakes:
        raise ProtocolError(lines.mistakes)
    return lines.enrolled


class _Lines:
    """The lines of the file, checked one by one."""

    def __init__(self, file: str, protocols: Sequence[str]) -> None:
        self.mistakes: list[Mistake] = []
        self.enrolled: dict[str, Enrolled] = {}
        self._file = file
        self._protocols = protocols
        self._zones: dict[str, bool] = {}

    def wrong(self, line: int, key: str, what: str, legal: str) -> None:
        """Note a mistake."""
        self.mistakes.append(Mistake(self._file, line, key, what, legal))

    def header(self, names: Sequence[str]) -> bool:
        """Check the names of the columns; return whether the lines can be read."""
        for name in names:
            if name not in _COLUMNS:
                self.wrong(1, "", f"unknown column {name!r}", ", ".join(_COLUMNS))
        for name in _NEEDED:
            if name not in names:
                self.wrong(1, "", f"column {name!r} is missing", ", ".join(_COLUMNS))
        return not self.mistakes

    def take(self, line: int, row: Mapping[str, str]) -> None:
        """Take a line."""
        if None in row or None in row.values():
            self.wrong(line, "", "too many or too few fields", "as many as in the first line")
            return
        patient = row["patient"].strip()
        enrolled = _enrolled(row)
        if not _ID.fullmatch(patient):
            legal = "1 to 40 printable ASCII characters without space"
            self.wrong(line, "patient", f"{patient!r} is no id", legal)
        elif patient in self.enrolled:
            self.wrong(line, "patient", f"{patient!r} is there twice", "one line a patient")
        for name in enrolled.programmes:
            if name not in self._protocols:
                legal = close_names(name, self._protocols)
                self.wrong(line, "programmes", f"unknown protocol {name!r}", legal)
        zone = enrolled.zone
        if zone is not None and not self._zones.setdefault(zone, _is_zone(zone)):
            self.wrong(line, "zone", f"{zone!r} is no time zone", "names such as Europe/Paris")
        self.enrolled[patient] = enrolled


def _enrolled(row: Mapping[str, str]) -> Enrolled:
    names = tuple(dict.fromkeys(name.strip() for name in row["programmes"].split("+")))
    return Enrolled(names, row.get("cell", "").strip() or None, row.get("zone", "").strip() or None)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
