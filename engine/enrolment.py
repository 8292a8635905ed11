"""Who is enrolled: a CSV file of patients with their cell, their protocols and their zone.

    patient,cell,programmes,zone,from,until
    P0001,Cellule Nord,insuffisance_cardiaque+covidom,Europe/Paris,2026-03-01T08:00:00.000Z,
    P0002,,covidom,,,

An empty cell is none, an empty zone the usual one, an empty `until` a follow-up that goes on. Columns may be in any
order, and all but `patient` and `programmes` may be missing. Who the patients are is not in it: the register of
patients (`triage.identity`) knows.
"""

import csv
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rules.errors import Mistake, ProtocolError, close_names

__all__ = ["Enrolled", "check", "is_zone", "read", "write"]

_COLUMNS = ("patient", "cell", "programmes", "zone", "from", "until")
_NEEDED = ("patient", "programmes")
_ID = re.compile(r"[!-~]{1,40}")
_MOST_MISTAKES = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A line of the file: ids of protocols, name of the cell, and from when until when (ms UTC) they apply.

    Who is no longer followed keeps a line: a patient without one is followed by every protocol.
    """

    programmes: tuple[str, ...]
    cell: str | None = None
    zone: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None

    def at(self, t_ms: int | None) -> tuple[str, ...]:
        """Give the protocols in force at `t_ms`: none once the follow-up is over. None: as if it never ended.

        One that begins later is in force already: what a patient sends before is no reason to be silent.
        """
        over = t_ms is not None and self.until_ms is not None and self.until_ms <= t_ms
        return () if over else self.programmes


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


def check(enrolled: Mapping[str, Enrolled], protocols: Sequence[str]) -> None:
    """Check that the protocols and zones of an enrolment that was not read from a file can be used.

    Raises
    ------
    ProtocolError
        With the mistakes, each with the patient's id.
    """
    mistakes = []
    for patient, each in enrolled.items():
        for name in each.programmes:
            if name not in protocols:
                what = f"unknown protocol {name!r}"
                mistakes.append(Mistake("enrolment", 0, patient, what, close_names(name, protocols)))
        if each.zone is not None and not is_zone(each.zone):
            what = f"{each.zone!r} is no time zone"
            mistakes.append(Mistake("enrolment", 0, patient, what, "names such as Europe/Paris"))
    if mistakes:
        raise ProtocolError(mistakes[:_MOST_MISTAKES])


def write(path: Path, enrolled: Mapping[str, Enrolled]) -> None:
    """Write an enrolment, whole or not at all; `read` gives it back.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unfinished = Path(folder) / path.name
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(_COLUMNS)
            for patient, each in sorted(enrolled.items()):
                times = (_text(each.from_ms), _text(each.until_ms))
                programmes = "+".join(each.programmes)
                lines.writerow((patient, each.cell or "", programmes, each.zone or "", *times))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)


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
        enrolled = self._enrolled(line, row)
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
        if zone is not None and not self._zones.setdefault(zone, is_zone(zone)):
            self.wrong(line, "zone", f"{zone!r} is no time zone", "names such as Europe/Paris")
        self.enrolled[patient] = enrolled

    def _enrolled(self, line: int, row: Mapping[str, str]) -> Enrolled:
        names = tuple(dict.fromkeys(name.strip() for name in row["programmes"].split("+")))
        cell, zone = (row.get(name, "").strip() or None for name in ("cell", "zone"))
        times = [self._time(line, name, row.get(name, "").strip()) for name in ("from", "until")]
        return Enrolled(names, cell, zone, *times)

    def _time(self, line: int, name: str, text: str) -> int | None:
        if not text:
            return None
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            read = None
        if read is None or read.tzinfo is None:
            legal = "ISO 8601 with its zone, such as 2026-03-01T08:00:00Z, or nothing"
            self.wrong(line, name, f"{text!r} is no time", legal)
            return None
        return (read - _EPOCH) // _MS


def _text(t_ms: int | None) -> str:
    if t_ms is None:
        return ""
    return f"{(_EPOCH + t_ms * _MS).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def is_zone(name: str) -> bool:
    """Tell whether the time zone database knows `name`."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
