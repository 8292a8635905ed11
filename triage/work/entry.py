"""Readings and answers that come by the cell's pages: typed by a nurse on the telephone, or by a patient.

They take the way of any packet: a body is kept with its audit entry in one transaction, and goes to the engine's log
(`triage.work.outgoing`). What the decoder refuses of a device it refuses of these; the forms ask before.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, select

from ingest import packet
from ingest.signals import MILLI, Signal, by_name
from rules.model import Item
from rules.protocol import Protocol
from triage import audit, database
from triage.audit import ENTRY, HEAD, Deed
from triage.work import outgoing
from triage.work.cells import cell_of
from triage.work.outgoing import Draft

__all__ = [
    "BY_NURSE",
    "BY_PATIENT",
    "ENTERED",
    "EntryError",
    "RepeatedError",
    "Typed",
    "answer",
    "enter",
    "enter_once",
    "far",
    "items_of",
    "number",
    "possible",
    "when",
]

BY_NURSE: Final = "cell-entry"
BY_PATIENT: Final = "cell-questionnaire"
"""Sources of the log's entries."""

ENTERED: Final[tuple[Signal, ...]] = tuple(
    by_name(name) for name in ("weight", "systolic", "diastolic", "heart_rate", "spo2", "temperature")
)
"""What a form asks for."""

FAR: Final = 0.15
"""A value that is further than this share from the patient's last one is asked about once more."""

AHEAD_MS: Final = 300_000
BACK_MS: Final = 7 * 86_400_000


class EntryError(ValueError):
    """What was typed is none, or not possible; the message, in French, says what is."""


class RepeatedError(EntryError):
    """The key of what was typed is that of something else."""

    def __init__(self) -> None:
        super().__init__("cette clé a déjà servi à une autre saisie : donnez-en une nouvelle")


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed, of one moment.

    Parameters
    ----------
    readings, answers : mapping of int to float
        Value by code of the signal or of the question.
    t_ms : int
        When it was measured, ms UTC.
    """

    readings: Mapping[int, float]
    answers: Mapping[int, float]
    t_ms: int


def number(text: str, signal: Signal) -> float | None:
    """Read a value with a decimal comma or point; None where nothing is typed.

    Raises
    ------
    EntryError
        It is no number, or not one that is possible.
    """
    text = text.strip().replace("\N{NO-BREAK SPACE}", "").replace(" ", "").replace(",", ".")
    if not text:
        return None
    whole, _, part = text.partition(".")
    if not (whole.isascii() and whole.isdecimal() and (not part or (part.isascii() and part.isdecimal()))):
        msg = f"{signal.label_fr}\N{NO-BREAK SPACE}: un nombre, {_legal(signal)}"
        raise EntryError(msg)
    return possible(float(text), signal)


def possible(value: float, signal: Signal) -> float:
    """Give a value back where it is possible.

    Raises
    ------
    EntryError
        It is not; the message says what is.
    """
    if not signal.low <= value <= signal.high:
        said = f"{value:.12g}".replace(".", ",")
        msg = f"{signal.label_fr}\N{NO-BREAK SPACE}: {said} n’est pas possible ; {_legal(signal)}"
        raise EntryError(msg)
    # A reading is a whole number of thousandths: what is finer would be rounded on its way.
    if round(value * MILLI) / MILLI != value:
        msg = f"{signal.label_fr}\N{NO-BREAK SPACE}: trois décimales au plus"
        raise EntryError(msg)
    return value


def answer(value: int, item: Item) -> float:
    """Give the answer to a question where it is one.

    Raises
    ------
    EntryError
        It is none; the message says what is.
    """
    low, high = item.range
    if not low <= value <= high:
        msg = f"{item.label} : une réponse de {low:g} à {high:g}"
        raise EntryError(msg)
    return float(value)


def when(t_ms: int, now_ms: int) -> int:
    """Give a moment back where it is one of the last days.

    Raises
    ------
    EntryError
    """
    if not now_ms - BACK_MS <= t_ms <= now_ms + AHEAD_MS:
        msg = "une heure des 7 derniers jours"
        raise EntryError(msg)
    return t_ms


def far(readings: Mapping[int, float], last: Mapping[int, float]) -> list[str]:
    """Say, in French, which readings are far from the patient's last ones; both by code of the signal."""
    said = []
    for signal in ENTERED:
        value, before = readings.get(signal.code), last.get(signal.code)
        if value is not None and before is not None and abs(value - before) > FAR * abs(before):
            figures = f"{value:g}, la dernière fois {before:g}\N{NO-BREAK SPACE}{signal.unit_fr}".replace(
                ".", ","
            )
            said.append(f"{signal.label_fr}\N{NO-BREAK SPACE}: {figures}")
    return said


def items_of(protocols: Iterable[Protocol]) -> list[Item]:
    """Give the questions of some protocols, each once."""
    return list({item.code: item for protocol in protocols for item in protocol.items.values()}.values())


def _legal(signal: Signal) -> str:
    return f"de {signal.low:g} à {signal.high:g}\N{NO-BREAK SPACE}{signal.unit_fr}".replace(".", ",")


def enter(
    engine: Engine,
    patient: str,
    typed: Typed,
    *,
    source: str,
    who: str,
    now_ms: int,
    number_of: int | None = None,
) -> None:
    """Keep what was typed for the engine's log, with its entry in the audit trail.

    Parameters
    ----------
    engine : Engine
    patient : str
    typed : Typed
    source : str
        BY_NURSE or BY_PATIENT.
    who : str
        Account, or what stands for the patient.
    now_ms : int
    number_of : int, optional
        Number of the packets, where the same thing sent twice must be one.
    """
    with database.writing(engine) as connection:
        _keep(connection, patient, typed, source, who, now_ms, number_of, {})


def enter_once(engine: Engine, patient: str, typed: Typed, key: str, *, who: str, now_ms: int) -> bool:
    """Keep what a program sends for a nurse, once for each key of hers; give whether it was new.

    Parameters
    ----------
    engine : Engine
    patient : str
    typed : Typed
    key : str
        The program's own name for this entry.
    who : str
        Account.
    now_ms : int

    Raises
    ------
    RepeatedError
        The key came with something else before.
    """
    digest = hashlib.sha256(json.dumps([who, patient, key]).encode()).hexdigest()
    what = hashlib.sha256(repr((sorted(typed.readings.items()), sorted(typed.answers.items()))).encode())
    known = {"key": digest[:32], "what": what.hexdigest()[:32]}
    with database.writing(engine) as connection:
        # Of two that come at once one waits here for the other, and finds it below. What follows waits for nobody.
        connection.execute(select(HEAD.c.entry).with_for_update()).one()
        before = connection.execute(
            select(ENTRY.c.details).where(
                ENTRY.c.subject == patient,
                ENTRY.c.actor == who,
                ENTRY.c.action == "entered",
                ENTRY.c.details.contains(known["key"], autoescape=True),
            )
        ).scalar()
        if before is not None:
            if json.loads(before).get("what") != known["what"]:
                raise RepeatedError
            return False
        _keep(connection, patient, typed, BY_NURSE, who, now_ms, None, known)
    return True


def _keep(
    connection: Connection,
    patient: str,
    typed: Typed,
    source: str,
    who: str,
    now_ms: int,
    number_of: int | None,
    more: Mapping[str, str],
) -> None:
    def bodies(name: str, given: int) -> bytes:
        numbered = given if number_of is None else number_of
        body = b""
        if typed.readings:
            body += packet.spot(patient, name, 2 * numbered, typed.t_ms, typed.readings)
        if typed.answers:
            body += packet.questionnaire(patient, name, 2 * numbered + 1, typed.t_ms, typed.answers)
        return body

    outgoing.put(connection, source, now_ms, [Draft(patient, typed.t_ms, bodies)])
    cell = cell_of(connection, patient)
    codes = sorted({*typed.readings, *typed.answers})
    details = {"source": source, "t_ms": typed.t_ms, "codes": codes, **more}
    audit.append(connection, now_ms, [Deed(who, "entered", patient, cell, details)])
