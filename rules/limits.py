"""Limits that persons set: default of the protocol < programme < cell < patient, each within its sane range.

The book is a TOML file of entries, each with author, date and reason:

    [[patient]]
    patient = "P0001"
    protocol = "insuffisance_cardiaque"
    limit = "dry_weight_kg"
    value = 74.5
    author = "Dr A. Martin"
    date = 2026-11-02
    reason = "poids de sortie d'hospitalisation"

``[[cell]]`` has ``cell`` instead of ``patient``; ``[[programme]]`` has neither. Several entries for one limit are its
history: the one with the newest date is in force.
"""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rules.errors import close_names
from rules.lines import Path as KeyPath
from rules.model import LimitEntry, Protocol
from rules.reading import Reader, read_text

__all__ = ["TO_COMPLETE", "Change", "LimitBook", "words_of"]

TO_COMPLETE = "à compléter"
"""What a proposed book says where a person has to: who decided, when and why. A book with it is refused."""

_SCOPES = ("programme", "cell", "patient")
_FRENCH = {"programme": "programme", "cell": "cellule", "patient": "patient"}


@dataclass(frozen=True, slots=True)
class Change:
    """A limit that a person set: for the whole programme, for the cell or for the patient called `subject`."""

    scope: str
    subject: str  # empty for the programme
    entry: LimitEntry

    @property
    def origin(self) -> str:
        """French words for where the value comes from."""
        entry = self.entry
        return words_of(self.scope, self.subject, entry.author, entry.date, entry.reason)


def words_of(scope: str, subject: str, author: str, date: dt.date, reason: str) -> str:
    """Say in French where a limit comes from: whose it is, who set it, when and why."""
    whose = f" {subject}" if scope == "cell" and subject else ""
    return f"{_FRENCH[scope]}{whose}, {author}, {date:%d/%m/%Y} : {reason}"


class LimitBook:
    """Limits in force.

    Parameters
    ----------
    protocols : sequence of Protocol
        Whose limits may be set.
    changes : iterable of Change
        Already checked; read them with `load`.
    """

    def __init__(self, protocols: Sequence[Protocol], changes: Iterable[Change] = ()) -> None:
        self._protocols = {protocol.id: protocol for protocol in protocols}
        self._changes: dict[tuple[str, str, str, str], Change] = {}
        for change in sorted(changes, key=lambda change: change.entry.date):
            self._changes[change.scope, change.subject, change.entry.protocol, change.entry.limit] = change

    @classmethod
    def load(cls, path: Path, protocols: Sequence[Protocol]) -> Self:
        """Read and check a book.

        Raises
        ------
        ProtocolError
            With every mistake, each with its line and what is legal.
        """
        return cls.loads(read_text(path), str(path), protocols)

    @classmethod
    def loads(cls, text: str, file: str, protocols: Sequence[Protocol]) -> Self:
        """Read and check a book's text; `file` is what mistakes call it. Raises as `load`."""
        reader = _BookReader(text, file, {protocol.id: protocol for protocol in protocols})
        changes = reader.read()
        if reader.mistakes:
            raise reader.error()
        return cls(protocols, changes)

    def over(self, protocols: Sequence[Protocol]) -> "LimitBook":
        """Give the same changes over other protocols of the same ids, which have the same limits."""
        return LimitBook(protocols, self._changes.values())

    def replaced(self, changes: Iterable[Change]) -> "LimitBook":
        """Give the book with `changes`, already checked, in place of its own of the same limits, whatever the dates."""
        kept = self._changes | {
            (each.scope, each.subject, each.entry.protocol, each.entry.limit): each for each in changes
        }
        return LimitBook(tuple(self._protocols.values()), kept.values())

    def resolve(
        self, protocol: str, limit: str, cell: str | None = None, patient: str | None = None
    ) -> tuple[float, str]:
        """Give the value in force and where it comes from, in French.

        Returns
        -------
        value : float
            In the limit's unit. NaN where there is no default and nobody set one.
        origin : str

        Raises
        ------
        KeyError
            There is no such protocol or limit.
        """
        declared = self._protocols[protocol].limits[limit]
        for scope, subject in (("patient", patient), ("cell", cell), ("programme", "")):
            change = None if subject is None else self._changes.get((scope, subject, protocol, limit))
            if change is not None:
                return change.entry.value, change.origin
        if declared.default is None:
            return math.nan, "non fixée"
        return declared.default, f"défaut du protocole [{declared.mark}]"

    def of_patient(self, protocol: str, limit: str, patient: str) -> bool:
        """Say whether a limit is set for this patient alone."""
        return ("patient", patient, protocol, limit) in self._changes

    def own(self) -> frozenset[tuple[str, str]]:
        """(protocol, limit) of what is not the default for somebody."""
        return frozenset((protocol, limit) for _, _, protocol, limit in self._changes)

    def subjects(self, scope: str) -> tuple[str, ...]:
        """Cells or patients that have a limit of their own."""
        return tuple(sorted({subject for where, subject, _, _ in self._changes if where == scope}))

    @property
    def digest(self) -> str:
        """Hash of what is in force, 16 hexadecimal digits; the order of the file does not change it."""
        return self.digest_of(self.own())

    def digest_of(self, limits: Collection[tuple[str, str]]) -> str:
        """Give the hash of what is in force of some limits, each as (protocol, limit)."""
        content = [
            [scope, subject, change.entry.model_dump(mode="json")]
            for (scope, subject, protocol, limit), change in sorted(self._changes.items())
            if (protocol, limit) in limits
        ]
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


class _BookReader(Reader):
    """One book being read."""

    def __init__(self, text: str, file: str, protocols: Mapping[str, Protocol]) -> None:
        super().__init__(text, file)
        self.protocols = protocols

    def read(self) -> list[Change]:
        """Read and check every entry."""
        out: list[Change] = []
        dates: set[tuple[str, str, str, str, dt.date]] = set()
        for scope, entries in self.raw.items():
            if scope not in _SCOPES:
                self.add((scope,), f"unknown key {scope!r}", close_names(scope, _SCOPES))
            elif not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                self.add((scope,), "is not an array of tables", f"[[{scope}]]")
            else:
                for index, entry in enumerate(entries):
                    change = self._change(scope, entry, (scope, index))
                    if change is None:
                        continue
                    key = (
                        scope,
                        change.subject,
                        change.entry.protocol,
                        change.entry.limit,
                        change.entry.date,
                    )
                    if key in dates:
                        self.add(
                            (scope, index), "the same limit is set twice on one date", "one entry a date"
                        )
                    dates.add(key)
                    out.append(change)
        return out

    def _change(self, scope: str, raw: Mapping[str, Any], path: KeyPath) -> Change | None:
        subject = "" if scope == "programme" else raw.get(scope)
        fields = {key: value for key, value in raw.items() if scope == "programme" or key != scope}
        if not isinstance(subject, str) or (scope != "programme" and not subject):
            wrong = "is missing" if subject is None else f"{subject!r} is not a name"
            self.add((*path, scope), wrong, "text between quotes")
            subject = None
        if not self._completed(fields, path):
            return None
        entry = self.model(LimitEntry, fields, path)
        if entry is None or not self._in_range(entry, path) or subject is None:
            return None
        return Change(scope, subject, entry)

    def _completed(self, fields: Mapping[str, Any], path: KeyPath) -> bool:
        """Say whether a person has taken an entry over; one mistake an entry, as a proposed book has hundreds."""
        said = {key: str(fields.get(key)).strip().lower() for key in ("author", "date", "reason")}
        left = [key for key, words in said.items() if words == TO_COMPLETE]
        if left:
            self.add(
                (*path, left[0]),
                f"{', '.join(left)} left {TO_COMPLETE!r}: a proposal that nobody has taken over",
                "who decided it, on which date and why; or no such entry",
            )
        return not left

    def _in_range(self, entry: LimitEntry, path: KeyPath) -> bool:
        if entry.protocol not in self.protocols:
            legal = close_names(entry.protocol, self.protocols)
            self.add((*path, "protocol"), f"unknown protocol {entry.protocol!r}", legal)
            return False
        limits = self.protocols[entry.protocol].limits
        if entry.limit not in limits:
            self.add((*path, "limit"), f"unknown limit {entry.limit!r}", close_names(entry.limit, limits))
            return False
        limit = limits[entry.limit]
        if not limit.min <= entry.value <= limit.max:
            self.add(
                (*path, "value"),
                f"{entry.value:g} {limit.unit} is outside the range of {entry.limit}",
                f"{limit.min:g} to {limit.max:g} {limit.unit}",
            )
            return False
        return True
