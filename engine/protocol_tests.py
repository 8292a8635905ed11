"""A protocol's own tests, run through the real line: packets in, alerts out, compared with what is expected.

Each test is one patient in a line of its own. The packets of a moment are decoded and processed one by one, so that a
rule that begins to fire is told from one that goes on: only the first counts, as `rules.model.RuleTest` says. A silence
of signals that the test does not speak of at all is no matter of that test.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from engine.line import Line, Processed
from engine.load import compose
from engine.program import DAY_MS, Options, Program
from engine.roster import Member, Roster
from ingest import packet
from ingest.decode import Decoder
from ingest.reasons import Reason
from ingest.signals import SIGNALS, Kind, by_name, plausible_ranges
from kernels import lifecycle
from rules import series
from rules.alerts import Happening
from rules.evaluate import FALSE, TRUE, Column
from rules.evaluate import Program as Verdicts
from rules.levels import Level
from rules.protocol import Protocol, RuleTest

__all__ = ["Result", "run"]

_PATIENT = "test"
_SOURCE = "test"
_ZONE = ZoneInfo("Europe/Paris")
_WORDS = {TRUE: "true", FALSE: "false"}
_BEGINS = (Happening.OPENED, Happening.RAISED, Happening.EVIDENCE)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test; `faults` is empty when it passed."""

    name: str
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.faults

    def __str__(self) -> str:
        head = f"{'ok' if self.passed else 'FAILED':6} {self.name}"
        return "\n".join([head, *(f"       {fault}" for fault in self.faults)])


def run(protocol: Protocol) -> list[Result]:
    """Run all tests of `protocol`, in their order."""
    # Limits that some test sets have a column; where a test does not set one it has its default.
    names = sorted({name for test in protocol.tests for name in test.limits})
    defaults = {(0, name): _known(protocol.limits[name].default) for name in names}
    # Proof that goes on is no new beginning; what the series leave out is silence of the patient, not of the line.
    options = Options(deaf_after_ms=0, again_ms=100_000 * DAY_MS, zones=(_ZONE.key,))
    member = Member((0,), limits=defaults)
    program = compose([protocol], members={_PATIENT: member}, options=options).program
    verdicts = _Recorded(program)
    results = []
    for test in protocol.tests:
        limits = defaults | {(0, name): value for name, value in test.limits.items()}
        roster = Roster(program, {_PATIENT: Member((0,), limits=limits)})
        verdicts.forget()
        with Line(program, roster=roster, time_basis="event") as line:
            onsets = _Play(protocol, test, line).onsets()
        beside = _beside(protocol, test)
        found = [onset for onset in onsets if onset.rule not in beside]
        results.append(Result(test.name, (*_compare(test, found), *verdicts.faults(test))))
    return results


def _beside(protocol: Protocol, test: RuleTest) -> set[str]:
    """Non-transmission rules of which the test has no signal."""
    silences = [each for each in protocol.non_transmission if not set(each.signals) & set(test.series)]
    return {rule for each in silences for rule, _, _ in each.stages}


def _known(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True, slots=True)
class _Onset:
    """A rule that began to fire, on which day, at which moment (the one before, where time alone did it)."""

    rule: str
    level: str
    day: int
    step: int


def _compare(test: RuleTest, found: list[_Onset]) -> Iterator[str]:
    """Pair what was expected with what happened; say what is left of either."""
    left = list(found)
    for each in test.expect:
        kind, number = each.place
        same = [
            onset
            for onset in left
            if (onset.rule, onset.level) == (each.rule, each.level.name) and getattr(onset, kind) == number
        ]
        if same:
            left.remove(same[0])
        else:
            yield f"{each.rule} ({each.level.name}) at {each.at}: expected, did not begin to fire"
    for onset in left:
        place = f"day {onset.day}, step {onset.step}"
        yield f"{onset.rule} ({onset.level}) at {place}: began to fire, not expected"


class _Recorder(Verdicts):
    """Conditions that remember what they said last."""

    __slots__ = ("last",)

    def __init__(self, inner: Verdicts) -> None:
        super().__init__(inner.nodes)
        self.last: npt.NDArray[np.int8] | None = None

    def run(self, columns: Mapping[str, Column], n: int) -> npt.NDArray[np.int8]:
        """Evaluate as usual."""
        out = super().run(columns, n)
        if n:
            self.last = out[:, -1].copy()
        return out


class _Recorded:
    """Last verdicts of all rules of a program: those of a group at the last reading that asked for it."""

    def __init__(self, program: Program) -> None:
        self._of: dict[str, tuple[_Recorder, int]] = {}
        for group in program.groups:
            if group.verdicts is None:
                continue
            recorder = _Recorder(group.verdicts)
            group.verdicts = recorder
            self._of |= {program.rule_rows[r].id: (recorder, i) for i, r in enumerate(group.rules)}

    def forget(self) -> None:
        """Begin a test."""
        for recorder, _ in self._of.values():
            recorder.last = None

    def faults(self, test: RuleTest) -> Iterator[str]:
        """Say which verdicts are not as the test expects."""
        for rule, expected in test.verdicts.items():
            recorder, row = self._of[rule]
            found = "undetermined"
            if recorder.last is not None:
                found = _WORDS.get(int(recorder.last[row]), found)
            if found != expected:
                yield f"verdict of {rule}: {found}, expected {expected}"


class _Play:
    """One test on its way through a line."""

    def __init__(self, protocol: Protocol, test: RuleTest, line: Line) -> None:
        self._test = test
        self._line = line
        self._items = {name: item.code for name, item in protocol.items.items()}
        low, high = plausible_ranges({item.code: item.range for item in protocol.items.values()})
        for signal in SIGNALS:
            # What the ECG kernels give is written as a series like the others; no device may send it.
            if signal.kind is Kind.DERIVED:
                low[signal.code], high[signal.code] = signal.low, signal.high
        self._decoder = Decoder(low, high)
        self._offset = 0
        self._rows = {row.id: r for r, row in enumerate(line.program.rule_rows)}

    def onsets(self) -> list[_Onset]:
        """Play the series; give each rule that begins to fire."""
        parsed = {name: series.parse(text) for name, text in self._test.series.items()}
        moments = [_moment(self._test, k) for k in range(max(each.length for each in parsed.values()))]
        at: dict[int, dict[str, float]] = defaultdict(dict)
        for name, each in parsed.items():
            for step, value in each.points:
                at[step][name] = value
        found: list[tuple[str, str, int]] = []
        for step, t_ms in enumerate(moments):
            # Time first, so that what it does is not taken for what the packet does.
            found += self._begun(self._take(t_ms, b""))
            for body in self._bodies(step, t_ms, at[step]):
                before = self._phases()
                rows = self._begun(self._take(t_ms, body))
                found += [row for row in rows if before[self._rows[row[0]]] < lifecycle.FIRING]
        dates = [_date(t_ms) for t_ms in moments]
        return [
            _Onset(rule, level, (_date(t) - dates[0]).days + 1, int(np.searchsorted(moments, t, "right")))
            for rule, level, t in found
        ]

    def _bodies(self, step: int, t_ms: int, values: Mapping[str, float]) -> Iterator[bytes]:
        readings = {by_name(name).code: value for name, value in values.items() if name not in self._items}
        answers = {self._items[name]: value for name, value in values.items() if name in self._items}
        if readings:
            yield packet.spot(_PATIENT, "devices", step, t_ms, readings)
        if answers:
            yield packet.questionnaire(_PATIENT, "answers", step, t_ms, answers)

    def _take(self, t_ms: int, body: bytes) -> Processed:
        batch, refused = self._decoder.decode(
            [(self._offset, t_ms, _SOURCE, body)], clock_ms=t_ms, next_offset=self._offset
        )
        self._offset += 1
        if len(refused):
            reason = Reason(int(refused.reason[0])).name
            msg = f"test {self._test.name!r}: readings are refused ({reason}); legal: what a device may send"
            raise ValueError(msg)
        return self._line.process(batch, refused)

    def _phases(self) -> npt.NDArray[np.uint8]:
        state = self._line.shards[0].state
        if not state.used:
            return np.zeros(len(self._rows), np.uint8)
        phases: npt.NDArray[np.uint8] = state.alerts.phase[0].copy()
        return phases

    def _begun(self, done: Processed) -> list[tuple[str, str, int]]:
        """Rules of the rows that may be a beginning: id, level of the rule, event time."""
        levels = {row.id: Level(row.level).name for row in self._line.program.rule_rows}
        rows = done.alerts.select("rule", "kind", "t_ms").iter_rows()
        return [(rule, levels[rule], t_ms) for rule, kind, t_ms in rows if kind in _BEGINS]


def _moment(test: RuleTest, step: int) -> int:
    """Time of a step, ms UTC: steps of days keep the hour of the local clock."""
    hour, minute = map(int, test.at.split(":"))
    start = datetime(test.start.year, test.start.month, test.start.day, hour, minute)  # noqa: DTZ001 - of the zone, below
    if test.step.in_days:
        local = (start + timedelta(days=step * test.step.count)).replace(tzinfo=_ZONE)
        return round(local.timestamp() * 1000)
    return round(start.replace(tzinfo=_ZONE).timestamp() * 1000) + step * test.step.ms


def _date(t_ms: int) -> date:
    return datetime.fromtimestamp(t_ms / 1000, _ZONE).date()
