"""What a program sends for each move, and how it is made."""

from typing import Annotated, Literal

from pydantic import Field

from triage.people.person import Person
from triage.web.api.shapes import Model, Text, Time, Version, ms
from triage.web.site import Site
from triage.work.desk import Line as Columns
from triage.work.states import Outcome, Reason, Whom

__all__ = [
    "Call",
    "Claim",
    "Close",
    "Escalate",
    "HandOver",
    "Move",
    "Mute",
    "Note",
    "One",
    "Release",
    "Reopen",
]

Account = Annotated[str, Field(max_length=40)]


class Move(Model):
    """A move on a line that was seen."""

    version: Version

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        raise NotImplementedError


class Claim(Move):
    """Take a line."""

    over: bool = Field(default=False, description="from whoever has it")

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.claim(episode, who.name, over=self.over, version=self.version)


class Release(Move):
    """Give a line back to the queue."""

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.release(episode, who.name, version=self.version)


class Call(Move):
    """Note a call."""

    outcome: Outcome
    back: Time | None = Field(None, description="when to call again, with its zone")

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        back_ms = None if self.back is None else ms(self.back)
        return site.desk.call(episode, who.name, self.outcome, back_ms, version=self.version)


class Escalate(Move):
    """Hand a line to the cardiologist or the SAMU."""

    to: Whom
    note: Text

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.escalate(episode, who.name, self.to, self.note, version=self.version)


class Mute(Move):
    """Put a line aside."""

    until: Time
    reason: Text

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.mute(episode, who.name, ms(self.until), self.reason, version=self.version)


class Close(Move):
    """Close a line."""

    reason: Reason
    text: Text = ""

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.close(episode, who.name, self.reason, self.text, version=self.version)


class Reopen(Move):
    """Put a closed line before the nurses again."""

    reason: Text

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.reopen(episode, who.name, self.reason, version=self.version)


class HandOver(Move):
    """Give one's own line to a colleague of the cell."""

    to: Account

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        site.colleague(who, episode, self.to)
        return site.desk.hand_over(episode, who.name, self.to, version=self.version)


class Note(Move):
    """Write something down about a line, whoever has it."""

    text: Text

    def make(self, site: Site, who: Person, episode: str) -> Columns:
        """Make the move."""
        return site.desk.note(episode, who.name, self.text, version=self.version)


class _One(Model):
    line: Annotated[str, Field(min_length=1, max_length=64)]


class OneClaim(_One, Claim):
    """Take this line."""

    do: Literal["claim"]


class OneRelease(_One, Release):
    """Give this line back."""

    do: Literal["release"]


class OneCall(_One, Call):
    """Note a call about this line."""

    do: Literal["call"]


class OneEscalate(_One, Escalate):
    """Hand this line on."""

    do: Literal["escalate"]


class OneMute(_One, Mute):
    """Put this line aside."""

    do: Literal["mute"]


class OneClose(_One, Close):
    """Close this line."""

    do: Literal["close"]


class OneReopen(_One, Reopen):
    """Reopen this line."""

    do: Literal["reopen"]


class OneHandOver(_One, HandOver):
    """Give this line to a colleague."""

    do: Literal["hand-over"]


class OneNote(_One, Note):
    """Write something down about this line."""

    do: Literal["note"]


One = Annotated[
    OneClaim | OneRelease | OneCall | OneEscalate | OneMute | OneClose | OneReopen | OneHandOver | OneNote,
    Field(discriminator="do"),
]
