"""From what the operator names (protocols, limits, enrolment) to a program and a roster.

The one way, for live running, replay, the demonstration and the tests.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from engine import enrolment as enrolments
from engine.line import Line
from engine.program import Options, Program
from engine.protocols import load_all
from engine.roster import Member, Roster
from ingest.decode import Decoder
from ingest.signals import plausible_ranges
from rules.limits import LimitBook
from rules.protocol import Protocol

__all__ = ["Loaded", "compose", "load"]


@dataclass(frozen=True)
class Loaded:
    """What a line is made of."""

    program: Program
    roster: Roster

    @cached_property
    def items(self) -> dict[int, tuple[float, float]]:
        """Questionnaire items of the protocols: code to lowest and highest answer."""
        return {i.code: i.range for protocol in self.program.protocols for i in protocol.items.values()}

    @property
    def item_codes(self) -> dict[str, int]:
        """Code of each questionnaire item, by name."""
        return {i.name: i.code for protocol in self.program.protocols for i in protocol.items.values()}

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what comes out: protocols, options, kernels, limits, enrolment."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.program.hash} {self.roster.book.digest}\n".encode())
        for patient, member in sorted(self.roster.members.items()):
            digest.update(
                f"{patient} {member.protocols} {member.zone} {member.cell} {member.limits}\n".encode()
            )
        return digest.hexdigest()

    def decoder(self) -> Decoder:
        """Make a decoder that knows the protocols' questionnaires."""
        return Decoder(*plausible_ranges(self.items))

    def line(self, *, shards: int = 1, time_basis: str = "arrival") -> Line:
        """Make a line, at its beginning."""
        return Line(self.program, shards=shards, roster=self.roster, time_basis=time_basis)


def load(
    protocols: Sequence[str | Path],
    *,
    limits: Path | None = None,
    enrolment: Path | Mapping[str, enrolments.Enrolled] | None = None,
    at_ms: int | None = None,
    zone: str = "Europe/Paris",
    options: Options | None = None,
) -> Loaded:
    """Read what the operator names.

    Parameters
    ----------
    protocols : sequence
        Files, or names of shipped protocols.
    limits : Path, optional
        A book of limits (`rules.limits`).
    enrolment : Path or mapping of str to Enrolled, optional
        See `engine.enrolment`. Without one, and for patients that are not in it, all protocols apply.
    at_ms : int, optional
        Follow-ups that were over by then (ms UTC) have no protocol any more; for a line that runs live. Without it
        each lasts as long as the readings do, for a replay.
    zone : str
        Of the patients that the enrolment gives no zone.
    options : Options, optional
        Their `zones` are replaced by what `zone` and the enrolment say.

    Raises
    ------
    ProtocolError
        With every mistake of the file at fault.
    OSError
        A file cannot be read.
    ValueError
        The protocols do not go together, or `zone` is none.
    """
    loaded = load_all(protocols)
    book = LimitBook.load(limits, loaded) if limits else None
    enrolled = _enrolled(enrolment, [each.id for each in loaded])
    zones = (zone, *sorted({each.zone for each in enrolled.values() if each.zone} - {zone}))
    index = {each.id: p for p, each in enumerate(loaded)}
    members = {
        patient: Member(
            tuple(sorted(index[name] for name in each.at(at_ms))),
            zones.index(each.zone or zone),
            each.cell,
        )
        for patient, each in enrolled.items()
    }
    return compose(loaded, book, members, replace(options or Options(), zones=zones))


def _enrolled(
    enrolment: Path | Mapping[str, enrolments.Enrolled] | None, protocols: Sequence[str]
) -> Mapping[str, enrolments.Enrolled]:
    if enrolment is None:
        return {}
    if isinstance(enrolment, Path):
        return enrolments.read(enrolment, protocols)
    enrolments.check(enrolment, protocols)
    return enrolment


def compose(
    protocols: Sequence[Protocol],
    book: LimitBook | None = None,
    members: dict[str, Member] | None = None,
    options: Options | None = None,
) -> Loaded:
    """Make a program and a roster of what has been read already; a member's own limits get their place too."""
    index = {each.id: p for p, each in enumerate(protocols)}
    own = {(index[protocol], name) for protocol, name in (book.own() if book else ())}
    own |= {key for member in (members or {}).values() for key in member.limits}
    program = Program(protocols, options, own)
    return Loaded(program, Roster(program, members, book))
