"""The cell's policy of answering: limits of each level, hours of work, on-call rotation, how long a deed may rest.

A cell writes it as TOML (`read`); the policy in force when an episode opens is frozen into it, so that a change
moves no open line.
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rules.durations import parse
from rules.errors import close_names
from rules.levels import Level

__all__ = ["Hours", "Policy", "PolicyError", "Rotation", "read"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FARTHEST_DAYS = 400
_MOST_WEEKS = 26  # of work, for a limit; more is a slip of whoever wrote the hours


class PolicyError(Exception):
    """A policy is wrong; each line of the message names the file, the key, and what is legal."""


Ms = Annotated[int, Field(gt=0)]
Span = tuple[int, int]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hours(_Model):
    """When the cell is at work.

    Parameters
    ----------
    zone : str
        IANA name.
    week : tuple of 7 tuples
        From Monday: spans of minutes after midnight, local time, in order.
    holidays : str
        Country whose public holidays are days off, with a subdivision after a hyphen: ``FR``, ``FR-57``. Empty: none.
    closed : tuple of date
        More days off.
    """

    zone: str = "Europe/Paris"
    week: tuple[tuple[Span, ...], ...] = Field(min_length=7, max_length=7)
    holidays: str = "FR"
    closed: tuple[date, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"{given!r}: legal are names of the IANA table, such as Europe/Paris"
            raise ValueError(msg) from None
        return given

    @field_validator("holidays")
    @classmethod
    def _country(cls, given: str) -> str:
        try:
            _days_off(given, 2026)
        except (NotImplementedError, AttributeError) as error:
            msg = f"{given!r}: legal are a country and a subdivision of it, such as FR or FR-57, or nothing"
            raise ValueError(msg) from error
        return given

    @model_validator(mode="after")
    def _some(self) -> Self:
        spans = [span for day in self.week for span in day]
        if not spans or any(not 0 <= a < b <= 1440 for a, b in spans):
            msg = "week: legal are spans within a day, such as 08:00-18:00, at least one in the week"
            raise ValueError(msg)
        return self

    @property
    def week_ms(self) -> int:
        """Work of a week without days off, ms."""
        return MINUTE_MS * sum(b - a for day in self.week for a, b in day)

    def spans(self, day: date) -> tuple[Span, ...]:
        """Give the spans of work of a day, in ms UTC."""
        if day in self.closed or day in _days_off(self.holidays, day.year):
            return ()
        zone = ZoneInfo(self.zone)
        return tuple((_utc_ms(day, a, zone), _utc_ms(day, b, zone)) for a, b in self.week[day.weekday()])

    def at_work(self, t_ms: int) -> bool:
        """Whether the cell is at work."""
        return any(a <= t_ms < b for a, b in self.spans(self._day(t_ms)))

    def after(self, t_ms: int, work_ms: int) -> int:
        """Give the moment at which `work_ms` of work have passed since `t_ms`.

        Raises
        ------
        ValueError
            It is more than a year away: `read` takes no such policy.
        """
        day = self._day(t_ms)
        left = work_ms
        farthest = _FARTHEST_DAYS + 7 * len(
            self.closed
        )  # of one day of work a week, each of these puts it off by one
        for _ in range(farthest):
            for a, b in self.spans(day):
                start = max(a, t_ms)
                if start < b:
                    if left <= b - start:
                        return start + left
                    left -= b - start
            day += timedelta(days=1)
        msg = f"hours: no {work_ms / HOUR_MS:g} hours of work within {farthest} days"
        raise ValueError(msg)

    def _day(self, t_ms: int) -> date:
        return datetime.fromtimestamp(t_ms / 1000, ZoneInfo(self.zone)).date()


class Rotation(_Model):
    """Who of a role is on call: each in turn for `days` days from `start`, changing at that local hour."""

    role: Literal["nurse", "cardiologist"]
    people: tuple[str, ...] = Field(min_length=1)
    start: datetime
    days: int = Field(7, ge=1)
    zone: str = "Europe/Paris"

    @field_validator("start")
    @classmethod
    def _aware(cls, given: datetime) -> datetime:
        if given.tzinfo is None:
            msg = f"{given.isoformat()} has no zone; legal is such as {given.isoformat()}+01:00"
            raise ValueError(msg)
        return given

    def whom(self, t_ms: int) -> str | None:
        """Give the account that is on call at `t_ms`; None before the rotation begins."""
        zone = ZoneInfo(self.zone)
        since = _local(t_ms, zone) - self.start.astimezone(zone).replace(tzinfo=None)
        turns = since // timedelta(days=self.days)
        return None if turns < 0 else self.people[turns % len(self.people)]


class Policy(_Model):
    """How long things may take, in milliseconds of the receipt clock; None is no limit.

    Notes
    -----
    ROUGE: mean answer in COVIDOM, 4 minutes (clinical reference, section 1). All others are working choices of this
    software, for the cell to set.
    """

    rouge_ms: Ms | None = 4 * MINUTE_MS
    rouge_next_ms: Ms = 9 * MINUTE_MS
    """When the next role is called; again and again so long after, while nobody takes it."""
    orange_ms: Ms | None = 60 * MINUTE_MS
    orange_next_ms: Ms = 120 * MINUTE_MS
    technique_ms: Ms | None = None
    technique_next_ms: Ms = DAY_MS
    """What has no limit is looked at again so often."""
    around_the_clock: tuple[Literal["ROUGE", "ORANGE", "TECHNIQUE"], ...] = ("ROUGE",)
    """Levels whose limits go on outside the hours of work."""
    hours: Hours | None = None
    """None: at work always."""

    claim_ms: Ms = 10 * MINUTE_MS
    """A claim on which nothing happens goes back to the queue."""
    conclude_ms: Ms = 30 * MINUTE_MS
    """A patient was reached: so long to say what came of it."""
    call_back_ms: Ms = 15 * MINUTE_MS
    """No answer, or a message left: called again so much later, where nobody says when."""
    cardiologist_ms: Ms = 30 * MINUTE_MS
    samu_ms: Ms = 10 * MINUTE_MS
    mute_rouge_ms: Ms = 4 * HOUR_MS
    """The longest mute of a ROUGE."""
    mute_ms: Ms = 7 * DAY_MS
    """The longest mute of any other."""
    rotations: tuple[Rotation, ...] = ()

    def limit_ms(self, level: Level) -> int | None:
        """Give the longest time to an answer at `level`."""
        limit: int | None = getattr(self, f"{Level(level).name.lower()}_ms")
        return limit

    def next_ms(self, level: Level) -> int:
        """Give the time after which the next role hears of what nobody answers at `level`."""
        after: int = getattr(self, f"{Level(level).name.lower()}_next_ms")
        return after

    def due_ms(self, level: Level, clock_ms: int) -> int | None:
        """Give the time by which what reached `level` at `clock_ms` must be answered."""
        limit = self.limit_ms(level)
        return None if limit is None else self.after(level, clock_ms, limit)

    def after(self, level: Level, clock_ms: int, span_ms: int) -> int:
        """Give the time that is `span_ms` later, counting hours of work where the level has such."""
        if self.hours is None or Level(level).name in self.around_the_clock:
            return clock_ms + span_ms
        return self.hours.after(clock_ms, span_ms)

    def longest_mute_ms(self, level: Level) -> int:
        """Give the longest time for which a line of `level` may be muted."""
        return self.mute_rouge_ms if level == Level.ROUGE else self.mute_ms

    def on_call(self, role: str, t_ms: int) -> str | None:
        """Give the account of `role` that is on call; None where nobody is named."""
        found = (rotation.whom(t_ms) for rotation in self.rotations if rotation.role == role)
        return next((who for who in found if who is not None), None)

    def as_dict(self) -> dict[str, Any]:
        """Give the policy as it is frozen into an episode: what differs from the defaults, and all limits."""
        limits = {"rouge_ms", "orange_ms", "technique_ms"}
        whole = self.model_dump(mode="json")
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in whole.items() if name in limits or name in changed}

    @classmethod
    def from_dict(cls, frozen: Mapping[str, Any]) -> Self:
        """Read a frozen policy back; what came after it was frozen takes its default."""
        return cls(**frozen)


# As a cell writes it ---------------------------------------------------------------------------------------

_DURATIONS = {name for name in Policy.model_fields if name.endswith("_ms")}


def read(path: Path | None) -> Policy:
    """Read a policy as a cell writes it; the usual one where there is no file.

    ::

        rouge = "4m"                       # and rouge_next, orange, claim, ...: the fields of `Policy` without _ms
        technique = "none"
        around_the_clock = ["ROUGE"]

        [hours]
        zone = "Europe/Paris"
        holidays = "FR"
        closed = [2026-12-24]
        monday = ["08:00-12:30", "13:30-18:00"]

        [[rotations]]
        role = "cardiologist"
        people = ["dr.martin", "dr.petit"]
        start = 2026-01-05T08:00:00+01:00
        days = 7

    Raises
    ------
    PolicyError
        With every key that is wrong.
    OSError
        The file cannot be read.
    """
    if path is None:
        return Policy()
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: is not TOML: {error}"
        raise PolicyError(msg) from error
    wrong: list[str] = []
    legal = {name.removesuffix("_ms") for name in Policy.model_fields}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in legal:
            wrong.append(f"{path}: {name}: there is no such key; {close_names(name, sorted(legal))}")
        elif f"{name}_ms" in _DURATIONS:
            try:
                values[f"{name}_ms"] = None if value == "none" else parse(value).ms
            except ValueError as error:
                wrong.append(f"{path}: {name}: {error}")
        elif name == "hours":
            values[name] = _hours(value, path, wrong)
        else:
            values[name] = value
    if wrong:
        raise PolicyError("\n".join(wrong))
    try:
        policy = Policy(**values)
    except ValidationError as error:
        lines = [
            f"{path}: {_place(each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        ]
        raise PolicyError("\n".join(lines)) from error
    if too_long := list(_too_long(policy)):
        raise PolicyError("\n".join(f"{path}: {each}" for each in too_long))
    return policy


def _too_long(policy: Policy) -> Iterator[str]:
    """Find limits that the hours of work do not hold."""
    if policy.hours is None:
        return
    most_ms = _MOST_WEEKS * policy.hours.week_ms
    for level in Level:
        for name in (f"{level.name.lower()}_ms", f"{level.name.lower()}_next_ms"):
            limit = getattr(policy, name)
            if level.name not in policy.around_the_clock and limit is not None and limit > most_ms:
                yield (
                    f"{name.removesuffix('_ms')}: {limit / HOUR_MS:g} h are counted in hours of work, and a week has "
                    f"{policy.hours.week_ms / HOUR_MS:.3g} of them; legal is what {_MOST_WEEKS} weeks hold"
                )


def _hours(given: Any, path: Path, wrong: list[str]) -> dict[str, Any]:  # noqa: ANN401 - as it stands in the file
    if not isinstance(given, dict):
        wrong.append(f"{path}: hours: legal is a table")
        return {}
    week = []
    for day in DAYS:
        try:
            spans = given.get(day, [])
            week.append(tuple(_span(text) for text in ([spans] if isinstance(spans, str) else spans)))
        except (TypeError, ValueError) as error:
            wrong.append(f"{path}: hours.{day}: {error}; legal are spans such as '08:00-18:00'")
    return {"week": tuple(week), **{name: value for name, value in given.items() if name not in DAYS}}


def _span(text: str) -> Span:
    begins, mark, ends = text.partition("-")
    if not mark:
        msg = f"{text!r} has no end"
        raise ValueError(msg)
    return _minutes(begins), _minutes(ends)


def _minutes(text: str) -> int:
    hours, mark, minutes = text.strip().partition(":")
    if not (mark and hours.isdecimal() and minutes.isdecimal() and int(minutes) < 60):
        msg = f"{text!r} is no time of day"
        raise ValueError(msg)
    return 60 * int(hours) + int(minutes)


def _place(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in where).removesuffix("_ms")


def _local(t_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(t_ms / 1000, zone).replace(tzinfo=None)


@lru_cache(4096)
def _utc_ms(day: date, minute: int, zone: ZoneInfo) -> int:
    wanted = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
    return round(wanted.timestamp() * 1000)


@lru_cache(64)
def _days_off(country: str, year: int) -> frozenset[date]:
    if not country:
        return frozenset()
    code, _, part = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))
