"""Readings and answers that come by the cell's pages: typed by a nurse on the telephone, or by a patient.

They take the way of any packet: a body is kept with its audit entry in one transaction, and goes to the engine's log
(`triage.work.outgoing`). What the decoder refuses of a device it refuses of these; the forms ask before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from ingest import packet
from ingest.signals import Signal, by_name
from triage import audit, database
from triage.audit import Deed
from triage.work import outgoing
from triage.work.cells import cell_of

__all__ = ["BY_NURSE", "BY_PATIENT", "ENTERED", "EntryError", "Typed", "enter", "number"]

BY_NURSE: Final = "cell-entry"
BY_PATIENT: Final = "cell-questionnaire"
"""Sources of the log's entries."""

ENTERED: Final[tuple[Signal, ...]] = tuple(
    by_name(name) for name in ("weight", "systolic", "diastolic", "heart_rate", "spo2", "temperature")
)
"""What a form asks for."""


class EntryError(ValueError):
    """What was typed is none, or not possible; the message, in French, says what is."""


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
    legal = f"de {signal.low:g} à {signal.high:g}\N{NO-BREAK SPACE}{signal.unit_fr}".replace(".", ",")
    whole, _, part = text.partition(".")
    if not (whole.isascii() and whole.isdecimal() and (not part or (part.isascii() and part.isdecimal()))):
        msg = f"{signal.label_fr}\N{NO-BREAK SPACE}: un nombre, {legal}"
        raise EntryError(msg)
    value = float(text)
    if not signal.low <= value <= signal.high:
        msg = f"{signal.label_fr}\N{NO-BREAK SPACE}: {text.replace('.', ',')} n’est pas possible ; {legal}"
        raise EntryError(msg)
    return value


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

        def bodies(name: str, given: int) -> bytes:
            numbered = given if number_of is None else number_of
            body = b""
            if typed.readings:
                body += packet.spot(patient, name, 2 * numbered, typed.t_ms, typed.readings)
            if typed.answers:
                body += packet.questionnaire(patient, name, 2 * numbered + 1, typed.t_ms, typed.answers)
            return body

        outgoing.put(connection, source, now_ms, bodies)
        cell = cell_of(connection, patient)
        details = {"source": source, "t_ms": typed.t_ms, "codes": sorted({*typed.readings, *typed.answers})}
        audit.append(connection, now_ms, [Deed(who, "entered", patient, cell, details)])
