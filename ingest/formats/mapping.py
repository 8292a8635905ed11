"""How the columns of a table are read: a small TOML file, or options of the command line."""

import tomllib
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingest.formats.errors import FormatError

__all__ = [
    "Columns",
    "FileMapping",
    "Mapping",
    "Mappings",
    "TimeRules",
    "ValueColumn",
    "WfdbRules",
    "load_mapping",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Part):
    """Names of the columns in the file. A table in long form has one value a row, `signal` saying of what.

    `site` says where a row comes from, for the report on quality alone; empty: a column with a usual name, if any.
    """

    patient: str = "patient"
    time: str = "time"
    signal: str = "signal"
    value: str = "value"
    unit: str = "unit"
    site: str = ""


class ValueColumn(_Part):
    """A column of a wide table: all its values are of one signal in one unit."""

    column: str
    signal: str
    unit: str


class TimeRules(_Part):
    """How times are written.

    `format` is for times that are not ISO 8601, in the codes of strftime. `unit` is that of times given as a
    number; "auto" takes numbers under 1e11 for seconds, others for milliseconds (both are after 1973). `zone` is
    for times without an offset, `time_of_day` for dates without a time.
    """

    zone: str = ""
    format: str = ""
    unit: Literal["auto", "s", "ms"] = "auto"
    time_of_day: str = Field("", pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone:
            check_zone(zone)
        return zone


class WfdbRules(_Part):
    """`start` is the beginning of records whose header has no date, ISO 8601 with offset."""

    start: str = ""


class Mapping(_Part):
    """How tables are read.

    Parameters
    ----------
    patient : str
        One patient for the whole file, when no column names the patient.
    columns, time, wfdb
        See the classes.
    signals : dict
        Name in the file to ours, where the file uses neither our names nor LOINC codes.
    units : dict
        Our signal to the unit in which the file gives it, where it has no unit column or leaves it empty.
    values : list
        Columns of a wide table. When given, the file has no signal column.
    separator, decimal : str
        Of CSV. The separator is found in the first line when not given.
    """

    patient: str = ""
    columns: Columns = Columns()
    time: TimeRules = TimeRules()
    signals: dict[str, str] = {}
    units: dict[str, str] = {}
    values: tuple[ValueColumn, ...] = ()
    separator: str = Field("", pattern=r"^.?$")
    decimal: Literal[".", ","] = "."
    wfdb: WfdbRules = WfdbRules()

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.values and (self.signals or self.units):
            msg = "values (a wide table) and signals or units (a table in long form) exclude each other"
            raise ValueError(msg)
        if self.separator and self.separator == self.decimal:
            msg = f"separator and decimal are both {self.decimal!r}"
            raise ValueError(msg)
        return self

    def for_file(self, name: str) -> "Mapping":  # noqa: ARG002 - `Mappings` look at the name
        """Give the mapping of the file called `name`."""
        return self

    def with_zone(self, zone: str | None) -> Self:
        """Give the same mapping with `zone` for times without an offset where the mapping names none itself."""
        if zone is None or self.time.zone:
            return self
        check_zone(zone)
        return self.model_copy(update={"time": self.time.model_copy(update={"zone": zone})})

    def with_columns(self, **names: str | None) -> Self:
        """Give the same mapping with some columns named otherwise; None leaves a name as it is."""
        given = {key: name for key, name in names.items() if name is not None}
        return self.model_copy(update={"columns": self.columns.model_copy(update=given)}) if given else self


class FileMapping(Mapping):
    """A mapping for the files whose name matches `match`, with ``*`` and ``?`` as a shell has them."""

    match: str


class Mappings(Mapping):
    """A whole mapping file: `files` for files of their own form, the rest for all others."""

    files: tuple[FileMapping, ...] = ()

    def for_file(self, name: str) -> Mapping:
        """Give the first mapping of `files` that matches `name`, or the general one."""
        for mapping in self.files:
            if fnmatch(name, mapping.match):
                return mapping
        return self

    def with_zone(self, zone: str | None) -> Self:
        """Give the same mappings with `zone` wherever one names none itself."""
        general = super().with_zone(zone)
        return general.model_copy(update={"files": tuple(part.with_zone(zone) for part in general.files)})


def check_zone(zone: str) -> None:
    """Raise FormatError unless `zone` is the name of a time zone."""
    try:
        ZoneInfo(zone)
    except (KeyError, OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        close = get_close_matches(zone, sorted(available_timezones()), 3) or ["Europe/Paris", "UTC"]
        msg = f"time zone {zone!r} is not known; names like {', '.join(close)} are legal"
        raise FormatError(msg) from None


def load_mapping(path: Path) -> Mappings:
    """Read a mapping from a TOML file.

    Raises
    ------
    FormatError
        The file cannot be read, is not TOML, or has a key or a value that is not legal; the message names it.
    """
    try:
        return Mappings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from None
    except ValidationError as error:
        faults = [
            (".".join(map(str, e["loc"])) or "file", _said(e["type"], e["msg"])) for e in error.errors()
        ]
        msg = f"{path}: {'; '.join(f'{where}: {what}' for where, what in faults)}"
        raise FormatError(msg) from None


def _said(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such key; see docs/replay.md for the legal ones"
    return message
