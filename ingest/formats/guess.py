"""What the columns of a table that nobody described may be, by their names and their first rows."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ingest.formats.mapping import TimeRules
from ingest.formats.tables import PARQUET_ENDS, column_names, csv_pieces, parquet_pieces
from ingest.formats.times import Clocks, to_ms
from ingest.formats.typical import fitting_units
from ingest.formats.units import conversion, units_of
from ingest.formats.vocabulary import Vocabulary
from ingest.reasons import Reason

__all__ = ["Guess", "SignalGuess", "guess"]

SAMPLE_ROWS = 2000

_ROLES = {
    "patient": {
        "patient",
        "patients",
        "subject",
        "sujet",
        "participant",
        "usager",
        "person",
        "personne",
        "ipp",
        "id",
    },
    "time": {"time", "date", "datetime", "timestamp", "horodatage", "heure", "jour", "when"},
    "unit": {"unit", "units", "unite", "unites", "uom"},
    "value": {"value", "valeur", "result", "resultat"},
    "signal": {
        "signal",
        "parameter",
        "parametre",
        "type",
        "code",
        "mesure",
        "measure",
        "variable",
        "loinc",
        "item",
    },
}
"""Words in the names of columns, in the order in which columns are given away."""

_WORDS = {
    "weight": {"weight", "poids", "wt"},
    "systolic": {"systolic", "systolique", "sys", "syst", "sbp", "tas"},
    "diastolic": {"diastolic", "diastolique", "dia", "dias", "diast", "dbp", "tad", "pad"},
    "heart_rate": {"pulse", "pouls", "hr", "fc", "bpm", "cardiaque", "heart"},
    "spo2": {"spo2", "sao2", "saturation", "sat"},
    "temperature": {"temperature", "temp"},
    "glucose": {"glucose", "glycemie", "glycaemia", "glycemia"},
    "height": {"height", "taille"},
    "respiratory_rate": {"respiratory", "respiratoire", "rr", "fr"},
}

_FORMATS = tuple(
    f"{day}{clock}"
    for day in (
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d.%m.%Y",
        "%Y/%m/%d",
        "%d/%m/%y",
        "%m/%d/%y",
    )
    for clock in (" %H:%M:%S", " %H:%M", "")
)
_NUMBER = r"^\s*[+-]?\d+([.,]\d+)?\s*$"
_MOST = 0.9  # of a sample
_FEW = 12  # names of signals that are listed


@dataclass(slots=True)
class SignalGuess:
    """A signal: `name` and `ucum` of ours (empty: not known), its unit if the file says it, those it looks like."""

    written: str
    name: str
    ucum: str = ""
    unit: str = ""
    looks: list[str] = field(default_factory=list)
    median: float | None = None


@dataclass(slots=True)
class Guess:
    """What a table may be.

    `columns` by role, those that were found; `signals` in the order of the file; `wide` when each has a column of its
    own. `formats` are those of times that are not ISO 8601: more than one where the sample fits several.
    """

    path: Path
    columns: dict[str, str] = field(default_factory=dict)
    signals: list[SignalGuess] = field(default_factory=list)
    wide: bool = False
    decimal: str = "."
    formats: list[str] = field(default_factory=list)
    naive: bool = False
    days_only: bool = False
    no_time: bool = False
    units_missing: bool = False
    left_out: list[str] = field(default_factory=list)

    @property
    def useful(self) -> bool:
        """Whether there is a time and a signal that is known: else it is a table of something else."""
        return "time" in self.columns and any(each.name for each in self.signals)


def words(name: str) -> list[str]:
    """Split a name: ``Poids (kg)`` is poids, kg; ``WeightKg`` is weight, kg; ``SpO2`` is one word."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-zA-Z])", " ", name)
    plain = unicodedata.normalize("NFKD", spaced).encode("ascii", "ignore").decode().casefold()
    return re.findall(r"[a-z]+\d?|%|\d+", plain)


def guess(path: Path, separator: str, vocabulary: Vocabulary) -> Guess:
    """Look at a table's header and first rows.

    Raises
    ------
    FormatError
        The file cannot be read.
    """
    sample = _sample(path, separator)
    out = Guess(path)
    for role, known in _ROLES.items():
        free = [name for name in sample.columns if name not in out.columns.values()]
        exact = [name for name in free if len(words(name)) == 1 and words(name)[0] in known]
        near = [name for name in free if known & set(words(name)) and not _signal_of(name, free, vocabulary)]
        if exact or near:
            out.columns[role] = (exact or near)[0]
    if "signal" in out.columns and "value" in out.columns:
        _long(out, sample, vocabulary)
    else:
        for role in ("signal", "value", "unit"):
            out.columns.pop(role, None)
        _wide(out, sample, vocabulary)
    if "time" in out.columns:
        _times(out, sample[out.columns["time"]])
    return out


def _sample(path: Path, separator: str) -> pl.DataFrame:
    names = column_names(path, separator)
    parquet = path.name.lower().endswith(PARQUET_ENDS)
    pieces = parquet_pieces(path, names) if parquet else csv_pieces(path, names, separator)
    for piece in pieces:
        if len(piece.number):
            return pl.DataFrame(piece.columns).head(SAMPLE_ROWS)
    return pl.DataFrame(schema=dict.fromkeys(names, pl.String))


def _signal_of(name: str, beside: list[str], vocabulary: Vocabulary) -> str:
    """Name the signal that a column or a text is called by; empty where none is."""
    found = vocabulary.find(name)
    if found is not None:
        return found.name
    mine = set(words(name))
    # PAS beside PAD is pression artérielle systolique; alone it may be steps.
    if "pas" in mine and any("pad" in words(other) for other in beside):
        return "systolic"
    for signal, known in _WORDS.items():
        if known & mine:
            return signal
    return ""


def _pulse(name: str, others: set[str]) -> str:
    """Say of which device a pulse is, by what is measured beside it."""
    if name != "heart_rate":
        return name
    if "systolic" in others:
        return "heart_rate_cuff"
    return "heart_rate_oximeter" if "spo2" in others else name


def _numbers(column: pl.Series) -> tuple[pl.Series, bool]:
    """Give what are numbers, and whether they are written with a comma."""
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).drop_nulls(), False
    text = column.cast(pl.String).str.strip_chars()
    text = text.filter(text.str.contains(_NUMBER).fill_null(value=False))
    comma = bool(text.str.contains(",", literal=True).any())
    return text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).drop_nulls(), comma


def _is_numeric(column: pl.Series) -> bool:
    there = column.cast(pl.String).str.strip_chars().fill_null("") != ""
    return bool(there.sum()) and len(_numbers(column)[0]) >= _MOST * int(there.sum())


def _unit_of(name: str, ucum: str) -> str:
    """Find the unit in a column's name, its last word first; a signal that has one unit has that."""
    if len(units_of(ucum)) == 1:
        return ucum
    # As words (WeightKg), as they stand (Sys.mmHg.), and in brackets (mm Hg).
    pieces = [
        *words(name)[::-1],
        *re.split(r"[^\w°%/]+|_", name)[::-1],
        *re.findall(r"[(\[]([^)\]]+)[)\]]", name),
    ]
    # "1" is a unit of saturation, and a number in a name.
    return next(
        (piece for piece in pieces if not piece.isdigit() and conversion(piece, ucum) is not None), ""
    )


def _seen(written: str, name: str, column: pl.Series, vocabulary: Vocabulary) -> SignalGuess:
    values, _ = _numbers(column)
    entry = vocabulary.find(name) if name else None
    out = SignalGuess(written, name, entry.ucum if entry else "")
    if len(values):
        out.median = float(np.median(values.to_numpy()))
        out.looks = fitting_units(entry.name, entry.ucum, out.median) if entry else []
    return out


def _long(out: Guess, sample: pl.DataFrame, vocabulary: Vocabulary) -> None:
    value = sample[out.columns["value"]]
    out.decimal = "," if _numbers(value)[1] else "."
    texts = sample[out.columns["signal"]].cast(pl.String).str.strip_chars().fill_null("")
    unit = sample[out.columns["unit"]] if "unit" in out.columns else None
    out.units_missing = unit is None or bool(
        (unit.cast(pl.String).fill_null("").str.strip_chars() == "").any()
    )
    counted = Counter(texts.to_list()).most_common()
    known = {text: _signal_of(text, [other for other, _ in counted], vocabulary) for text, _ in counted}
    for text, _ in counted[: _FEW + len([t for t in known.values() if t])]:
        name = (
            _pulse(known[text], set(known.values()) - {known[text]})
            if vocabulary.find(text) is None
            else known[text]
        )
        out.signals.append(_seen(text, name, value.filter(texts == text), vocabulary))
        if len(units_of(out.signals[-1].ucum)) == 1:
            out.signals[-1].unit = out.signals[-1].ucum


def _wide(out: Guess, sample: pl.DataFrame, vocabulary: Vocabulary) -> None:
    free = [name for name in sample.columns if name not in out.columns.values()]
    named = {name: _signal_of(name, free, vocabulary) for name in free if _is_numeric(sample[name])}
    taken: set[str] = set()
    for column, found in named.items():
        name = _pulse(found, set(named.values()))
        if not name or name in taken:
            out.left_out.append(column)
            continue
        taken.add(name)
        each = _seen(column, name, sample[column], vocabulary)
        each.unit = _unit_of(column, each.ucum)
        out.signals.append(each)
        if _numbers(sample[column])[1]:
            out.decimal = ","
    out.left_out += [name for name in free if name not in named]
    out.wide = bool(out.signals)


def _times(out: Guess, column: pl.Series) -> None:
    there = column.drop_nulls()
    _, reason = to_ms(there, TimeRules(), Clocks())
    naive, bad = int((reason == Reason.NAIVE_TIME).sum()), int((reason == Reason.BAD_ROW).sum())
    if not len(there):
        return
    if bad <= (1 - _MOST) * len(there):
        out.naive = naive > 0
        _, of_day = to_ms(there, TimeRules(zone="UTC"), Clocks())
        out.days_only = int((of_day == Reason.NAIVE_TIME).sum()) > 0
        return
    text = there.cast(pl.String).str.strip_chars()
    fits = {form: len(text) - text.str.to_datetime(form, strict=False).null_count() for form in _FORMATS}
    if not text.str.contains(r"\d{4}").any():
        # A year of two digits would be one of the first century.
        fits = {form: count for form, count in fits.items() if "%Y" not in form}
    most = max(fits.values())
    if most < _MOST * len(text):
        out.no_time = True
        return
    out.formats = [form for form, count in fits.items() if count == most]
    out.naive = True
    out.days_only = "%H" not in out.formats[0]
