"""A mapping for tables whose columns or signals are not known: a proposal to be read, with what is left to decide.

A unit is never decided by values: where no header says it the proposal has ``"?"``, which a replay refuses, and says
beside it what the values look like.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from ingest.formats.errors import FormatError
from ingest.formats.guess import Guess, SignalGuess, guess
from ingest.formats.longform import Table
from ingest.formats.mapping import Columns, Mapping
from ingest.formats.paths import find_paths
from ingest.formats.tables import column_names
from ingest.formats.units import conversion, legal_units
from ingest.formats.vocabulary import Vocabulary

__all__ = ["Suggestion", "suggest"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A mapping as TOML, ready to be saved; the files that it is for; what a person must decide before it is used."""

    text: str
    files: tuple[str, ...]
    to_decide: tuple[str, ...]


def suggest(
    paths: Iterable[Path], mapping: Mapping, vocabulary: Vocabulary, *, zone: str, given: str = ""
) -> Suggestion | None:
    """Propose a mapping for the tables that `mapping` does not fit; None where it fits all, or nothing is recognised.

    Parameters
    ----------
    paths : iterable of Path
    mapping : Mapping
        What was given.
    vocabulary : Vocabulary
    zone : str
        For times without an offset.
    given : str
        The text of the mapping that was given: what is proposed is added to it.

    Raises
    ------
    FormatError
        A file cannot be read.
    """
    tables = find_paths(paths).tables
    forms: dict[tuple[str, ...], list[Path]] = {}
    for path in tables:
        how = mapping.for_file(path.name)
        forms.setdefault((str(how), *column_names(path, how.separator)), []).append(path)
    # One file of each form is looked at: a year of a site may be a thousand files.
    guesses = [
        (guess(files[0], mapping.separator, vocabulary), files)
        for files in forms.values()
        if not _fits(files[0], mapping.for_file(files[0].name), vocabulary)
    ]
    guesses = [(each, files) for each, files in guesses if each.useful]
    if not guesses:
        return None
    one = len(guesses) == 1 and len(guesses[0][1]) == len(tables) and not given
    blocks, doubts = [], []
    for each, files in guesses:
        others = [path.name for path in tables if path not in files]
        for match in [""] if one else _patterns([path.name for path in files], others):
            lines, open_points = _block(each, zone, match)
            blocks.append("\n".join(lines))
            doubts += [f"{each.path.name}: {point}" for point in open_points]
    head = (
        f"{given.rstrip()}\n\n"
        if given
        else "# A proposal of vigie quality: read it, and decide what has a ?.\n"
    )
    names = tuple(path.name for _, files in guesses for path in files)
    return Suggestion(head + "\n\n".join(blocks) + "\n", names, tuple(dict.fromkeys(doubts)))


def _fits(path: Path, mapping: Mapping, vocabulary: Vocabulary) -> bool:
    """Say whether the mapping names columns that are there and a signal that is known, be it right or not."""
    table = Table(path, 0, mapping, vocabulary)
    try:
        table.check_columns()
    except FormatError:
        return False
    if mapping.values:
        return True
    seen = guess(path, mapping.separator, vocabulary)
    if seen.columns.get("signal") != mapping.columns.signal or not seen.signals:
        return True
    texts = [each.written for each in seen.signals]
    return any(vocabulary.find(mapping.signals.get(text, text)) for text in texts)


def _patterns(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Give one pattern for all files of a form, or else the name of each."""
    names = list(dict.fromkeys(names))
    if len(names) > 1:
        pattern = f"{_literal(_start(names))}*{_literal(_start([name[::-1] for name in names])[::-1])}"
        mine = all(fnmatchcase(name, pattern) for name in names)
        if mine and not any(fnmatchcase(name, pattern) for name in others):
            return [pattern]
    return [_literal(name) for name in names]


def _start(names: Sequence[str]) -> str:
    """Give the characters with which all names begin."""
    shared = zip(*names, strict=False)
    return "".join(c[0] for c in takewhile(lambda each: len(set(each)) == 1, shared))


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _quoted(text: str) -> str:
    # A JSON string is a basic string of TOML.
    return json.dumps(text, ensure_ascii=False)


def _block(each: Guess, zone: str, match: str) -> tuple[list[str], list[str]]:
    """Give the lines of one form, and what of it is to be decided."""
    doubts: list[str] = []
    lines = ["[[files]]", f"match = {_quoted(match)}"] if match else []
    if "patient" not in each.columns:
        lines.append('patient = ""  # no column names the patient: write whose readings these are')
        doubts.append("no column names the patient (patient)")
    if each.decimal != ".":
        lines.append('decimal = ","')
    usual = Columns()
    named = [
        f"{role} = {_quoted(name)}" for role, name in each.columns.items() if name != getattr(usual, role)
    ]
    if named:
        lines.append(f"columns = {{ {', '.join(named)} }}")
    time = _time(each, zone, doubts)
    if time:
        lines.append(f"time = {{ {', '.join(time)} }}")
        lines += _about_time(each)
    lines += _values(each, doubts) if each.wide else _signals(each, doubts)
    return lines, doubts


def _time(each: Guess, zone: str, doubts: list[str]) -> list[str]:
    out = []
    if each.formats:
        out.append(f"format = {_quoted(each.formats[0])}")
        if len(each.formats) > 1:
            doubts.append(f"times fit {' and '.join(each.formats)}: the first is written")
    if each.naive:
        out.append(f"zone = {_quoted(zone)}")
        doubts.append(f"times have no offset: {zone} is an assumption (zone)")
    if each.days_only:
        out.append('time_of_day = "08:00"')
        doubts.append("some times are dates alone: 08:00 is an assumption (time_of_day)")
    if each.no_time:
        doubts.append("how times are written was not recognised (time.format)")
    return out


def _about_time(each: Guess) -> list[str]:
    said = []
    if len(each.formats) > 1:
        said.append(f"the first rows fit {' and '.join(each.formats)}: say which")
    if each.naive:
        said.append("times have no offset: the zone is an assumption")
    if each.days_only:
        said.append("so is the time of day of dates alone")
    return [f"# {'; '.join(said)}"] if said else []


def _unit(each: SignalGuess, doubts: list[str]) -> tuple[str, str]:
    """Give the unit to write, and what is said beside it."""
    if each.unit:
        # What the header says counts; that values do not look like it is said.
        if each.looks and not _same_unit(each.unit, each.looks, each.ucum):
            doubts.append(
                f"{each.written}: the header says {each.unit}, values look like {' or '.join(each.looks)}"
            )
            return each.unit, f"  # but values look like {' or '.join(each.looks)} (median {each.median:g})"
        return each.unit, ""
    legal = ", ".join(legal_units(each.ucum))
    looks = f"values look like {' or '.join(each.looks)} (median {each.median:g}); " if each.looks else ""
    doubts.append(f"{each.written}: {looks}no unit is said; legal are {legal}")
    return "?", f"  # {looks}legal are {legal}"


def _same_unit(unit: str, looks: Sequence[str], ucum: str) -> bool:
    return any(conversion(unit, ucum) == conversion(other, ucum) for other in looks)


def _values(each: Guess, doubts: list[str]) -> list[str]:
    lines = ["values = ["]
    for one in each.signals:
        unit, beside = _unit(one, doubts)
        lines.append(
            f"    {{ column = {_quoted(one.written)}, signal = {_quoted(one.name)}, unit = {_quoted(unit)} }},{beside}"
        )
    lines.append("]")
    if each.left_out:
        lines.append(f"# not read: {', '.join(map(_quoted, each.left_out))}")
    return lines


def _signals(each: Guess, doubts: list[str]) -> list[str]:
    lines = []
    renamed = [one for one in each.signals if one.name and one.name != one.written]
    unknown = [one for one in each.signals if not one.name]
    if renamed:
        pairs = ", ".join(f"{_quoted(one.written)} = {_quoted(one.name)}" for one in renamed)
        lines.append(f"signals = {{ {pairs} }}")
    lines += [
        f"# signal {_quoted(one.written)} is not known: its rows go to quarantine unless signals names it"
        for one in unknown[:_SHOWN]
    ]
    if unknown:
        names = ", ".join(_quoted(one.written) for one in unknown[:_SHOWN])
        doubts.append(f"signals that are not known: {names}{' and more' if len(unknown) > _SHOWN else ''}")
    if each.units_missing:
        known = {one.name: one for one in each.signals if one.name}
        units = [(name, *_unit(one, doubts)) for name, one in sorted(known.items())]
        lines.append(f"units = {{ {', '.join(f'{name} = {_quoted(unit)}' for name, unit, _ in units)} }}")
        lines += [f"# {name}: {beside.strip(' #')}" for name, _, beside in units if beside]
    return lines
