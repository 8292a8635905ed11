import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_oracle import AHEAD, Event, Patient, Rule

from kernels import lifecycle

KINDS = {
    lifecycle.OPENED: "opened",
    lifecycle.RAISED: "raised",
    lifecycle.EVIDENCE: "evidence",
    lifecycle.RECOVERED: "recovered",
    lifecycle.LATCHED: "latched",
    lifecycle.CLOSED: "closed",
}
PHASES = ("normal", "pending", "firing", "recovering")
SMALL = {
    "event": np.int32, "slot": np.int32, "rule": np.int16, "opener": np.int16, "kind": np.uint8, "level": np.uint8,
    "phase": np.uint8, "latched": np.uint8, "programmes": np.uint64,
}  # fmt: skip


def at_of(lengths):
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


class Kernel:
    """The state machine of the kernels, fed with the same rules and events as the oracle."""

    def __init__(
        self, rules, first, *, tick, again=10**9, close_at_recovery=False, outages=(), problems=1, contacts=1
    ):
        self.rules = rules
        groups = 1 + max((rule.group for rule in rules), default=0)
        members = [
            [r for r, rule in enumerate(rules) if rule.group == g and not rule.silence_ms]
            for g in range(groups)
        ]
        of_problem = [[r for r, rule in enumerate(rules) if rule.problem == p] for p in range(problems)]
        n = len(rules)
        self.members = members
        self.arrays = lifecycle.Rules(
            problem=np.array([rule.problem for rule in rules], np.int16),
            level=np.array([rule.level for rule in rules], np.uint8),
            raise_ms=np.array([rule.raise_ms for rule in rules], np.int64),
            clear_ms=np.array([rule.clear_ms for rule in rules], np.int64),
            silence_ms=np.array([rule.silence_ms for rule in rules], np.int64),
            silent=np.array([r for r, rule in enumerate(rules) if rule.silence_ms], np.int64),
            contact=np.array([rule.contact for rule in rules], np.int16),
            group_at=at_of([len(m) for m in members]),
            group_rule=np.array([r for m in members for r in m], np.int64),
            # Bits 0.. are groups, bits 32.. contact clocks: an event sets off what it says it does.
            group_mask=np.array([1 << g for g in range(groups)], np.uint64),
            group_protocol=np.zeros(groups, np.int64),
            protocol=np.zeros(n, np.int64),
            verdict_at=np.zeros(groups, np.int64),
            room=np.zeros(groups, np.int64),
            problem_at=at_of([len(m) for m in of_problem]),
            problem_rule=np.array([r for m in of_problem for r in m], np.int64),
            contact_mask=np.array([1 << (32 + c) for c in range(contacts)], np.uint64),
            options=np.array([tick, again, int(close_at_recovery)], np.int64),
        )
        patients = len(first)
        shapes = {"phase": n, "since": n, "contact": contacts, "level": problems, "latched": problems}
        shapes |= {"onset": problems, "opener": problems}
        self.alerts = lifecycle.Alerts(
            *(
                np.zeros((patients, shapes[name]) if name in shapes else patients, SMALL.get(name, np.int64))
                for name in lifecycle.Alerts._fields
            )
        )
        self.alerts.programmes[:] = 1
        self.alerts.contact[:] = np.array(first)[:, None]
        self.outages = np.array(outages, np.int64).reshape(-1, 2)
        self.said = [[] for _ in first]

    def batch(self, events, end, number=0, room=0):
        """Take events (grouped by patient here, as a shard does), then let time pass for all to `end`."""
        order = sorted(range(len(events)), key=lambda i: events[i].slot)
        events = [events[i] for i in order]
        groups = range(len(self.members))
        touched = [{self.rules[r].group for r in event.verdicts} for event in events]
        rows = [[e for e in range(len(events)) if g in touched[e]] for g in groups]
        cells = [(events[e], r) for g in groups for r in self.members[g] for e in rows[g]]
        when = np.array([self.code(event, r, 0) for event, r in cells], np.int8)
        clear = np.array([self.code(event, r, 1) for event, r in cells], np.int8)
        counts = np.array([len(rows[g]) for g in groups], np.int64)
        rules = self.arrays._replace(
            verdict_at=at_of([len(self.members[g]) * len(rows[g]) for g in groups])[:-1], room=counts
        )
        mask = [
            sum(1 << g for g in touched[e]) | sum(1 << (32 + c) for c in event.contacts)
            for e, event in enumerate(events)
        ]
        margin = 2 * len(self.rules) + 2
        out = lifecycle.Transitions(
            *(
                np.zeros(max(room, margin), SMALL.get(name, np.int64))
                for name in lifecycle.Transitions._fields
            )
        )
        column = {
            "slot": np.array([event.slot for event in events], np.int32),
            "mask": np.array(mask, np.uint64),
            "t": np.array([event.t for event in events], np.int64),
            "now": np.array([event.now for event in events], np.int64),
            "clock": np.array([event.clock for event in events], np.int64),
            "close": np.array([event.close for event in events], np.int16),
        }
        cursor = np.zeros(len(self.members), np.int64)
        done = 0
        while done < len(events):
            done, n = lifecycle.walk(
                done,
                len(events),
                cursor,
                *column.values(),
                when,
                clear,
                rules,
                self.alerts,
                self.outages,
                out,
                margin,
            )
            self.collect(out, n, [number + i for i in order])
        done = 0
        while done < len(self.said):
            done, n = lifecycle.idle_ticks(
                done, len(self.said), end, rules, self.alerts, self.outages, out, margin
            )
            self.collect(out, n, order)

    @staticmethod
    def code(event, rule, which):
        verdict = event.verdicts[rule][which]
        return -1 if verdict is None else int(verdict)

    def collect(self, out, n, numbers):
        for i in range(n):
            e = int(out.event[i])
            by = ("event", numbers[e]) if e >= 0 else ("before", numbers[-2 - e]) if e < -1 else ("idle",)
            self.said[out.slot[i]].append(
                (
                    KINDS[int(out.kind[i])], int(out.rule[i]), int(out.opener[i]), int(out.level[i]),
                    int(out.onset_ms[i]), int(out.t_ms[i]), int(out.clock_ms[i]), by,
                )
            )  # fmt: skip


TICK = 10
VERDICT = st.sampled_from((True, True, False, False, None))


@st.composite
def rule_sets(draw):
    problems = draw(st.integers(1, 3))
    rules = [
        Rule(
            problem=draw(st.integers(0, problems - 1)),
            level=draw(st.integers(1, 3)),
            group=draw(st.integers(0, 2)),
            raise_ms=draw(st.sampled_from((0, 0, 15, 40))),
            clear_ms=draw(st.sampled_from((0, 0, 15, 40))),
        )
        for _ in range(draw(st.integers(1, 5)))
    ]
    rules += [
        Rule(
            problem=draw(st.integers(0, problems - 1)),
            level=draw(st.integers(2, 3)),
            silence_ms=draw(st.sampled_from((25, 60, 110))),
            contact=draw(st.integers(0, 1)),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    return rules, problems


@st.composite
def lives(draw):
    """Rules, when each patient was first heard of, events in order of arrival, outages of the line."""
    rules, problems = draw(rule_sets())
    patients = draw(st.integers(1, 3))
    clock = 1000
    first = [clock] * patients
    newest = [0] * patients
    events, outages = [], []
    for _ in range(draw(st.integers(0, 14))):
        before = clock
        clock += draw(st.sampled_from((0, 0, 1, 4, 9, 17, 35, 90)))
        if clock - before > 30 and draw(st.booleans()):
            outages.append((before, clock))
        slot = draw(st.integers(0, patients - 1))
        t = clock - draw(st.sampled_from((0, 0, 0, 3, 30, 80, -5)))
        if draw(st.integers(0, 6)) == 0:
            close = draw(st.integers(0, problems - 1))
            t -= draw(st.sampled_from((0, 0, AHEAD - 10, AHEAD + 10)))
            events.append(Event(slot, clock, t, max(t, newest[slot]), close=close))
            continue
        newest[slot] = max(newest[slot], t)
        groups = draw(st.sets(st.integers(0, 2), max_size=2))
        contacts = frozenset(draw(st.sets(st.integers(0, 1), max_size=2)))
        verdicts = {
            r: draw(st.tuples(VERDICT, VERDICT).filter(lambda pair: not (pair[0] and pair[1])))
            for r, rule in enumerate(rules)
            if rule.group in groups and not rule.silence_ms
        }
        if verdicts or contacts:
            events.append(Event(slot, clock, t, newest[slot], contacts, verdicts))
    end = clock + draw(st.sampled_from((0, 5, 60, 200)))
    options = {
        "tick": TICK,
        "again": draw(st.sampled_from((10**9, 20))),
        "close_at_recovery": draw(st.booleans()),
        "outages": outages,
        "problems": problems,
        "contacts": 2,
    }
    return rules, first, events, end, options


def expected(rules, first, events, end, options):
    patients = [Patient(rules, begin, **options) for begin in first]
    for number, event in enumerate(events):
        patients[event.slot].take(number, event)
    for patient in patients:
        patient.pass_time(end, ("idle",))
    return patients


def forget(said):
    """Rows without what brought them: a tick is idle or before an event, as the batches are cut."""
    return [row[:-1] for row in said]


@settings(max_examples=400)
@given(lives(), st.sampled_from((0, 1, 3, 500)))
def test_walk_is_the_oracle(life, room):
    rules, first, events, end, options = life
    kernel = Kernel(rules, first, **options)
    kernel.batch(events, end, room=room)
    for slot, patient in enumerate(expected(*life)):
        assert kernel.said[slot] == patient.said
        assert [PHASES[code] for code in kernel.alerts.phase[slot]] == patient.phase
        assert kernel.alerts.level[slot].tolist() == [problem.level for problem in patient.problems]
        assert kernel.alerts.latched[slot].tolist() == [problem.latched for problem in patient.problems]
        assert kernel.alerts.contact[slot].tolist() == patient.contact


@settings(max_examples=200)
@given(lives(), st.lists(st.integers(0, 14), max_size=4))
def test_batches_do_not_matter(life, cuts):
    rules, first, events, end, options = life
    kernel = Kernel(rules, first, **options)
    places = sorted({min(place, len(events)) for place in cuts} | {0, len(events)})
    for a, b in zip(places, [*places[1:], len(events)], strict=True):
        if a < b:
            kernel.batch(events[a:b], events[b - 1].clock, number=a)
    kernel.batch([], end)
    assert [forget(said) for said in kernel.said] == [forget(patient.said) for patient in expected(*life)]


# Sentences of the documentation, one test each; the oracle could be wrong in the same way as the kernel.


def say(rules, events, end=0, **options):
    kernel = Kernel(rules, [1000], **{"tick": TICK, "problems": 2, **options})
    kernel.batch(events, end or events[-1].clock)
    return [(kind, rule, level, onset, clock) for kind, rule, _, level, onset, _, clock, _ in kernel.said[0]]


def heard(clock, when, clear=None, rule=0):
    clear = (not when if when is not None else None) if clear is None else clear
    return Event(0, clock, clock, clock, frozenset(), {rule: (when, clear)})


ORANGE, ROUGE = 2, 3


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=12),
    st.integers(-10, 300),
    st.integers(-10, 300),
)
def test_deaf_time_is_what_one_would_add_up(gaps, since, until):
    outages, at = [], 0
    for heard, deaf in gaps:
        outages.append((at + heard, at + heard + deaf))
        at += heard + deaf
    table = np.array(outages, np.int64).reshape(-1, 2)
    plain = sum(max(0, min(until, b) - max(since, a)) for a, b in outages)
    assert lifecycle._deaf(since, until, table) == plain


def test_orange_ends_by_itself_and_rouge_latches():
    assert say([Rule(0, ORANGE)], [heard(1000, True), heard(1050, False)]) == [
        ("opened", 0, ORANGE, 1000, 1000),
        ("recovered", 0, ORANGE, 1000, 1050),
    ]
    events = [heard(1000, True), heard(1050, False), heard(1100, False)]
    assert say([Rule(0, ROUGE)], events) == [
        ("opened", 0, ROUGE, 1000, 1000),
        ("latched", 0, ROUGE, 1000, 1050),
    ]


def test_only_a_person_closes_rouge():
    events = [heard(1000, True), heard(1050, False), Event(0, 1060, 1060, 1060, close=0), heard(1070, True)]
    assert say([Rule(0, ROUGE)], events) == [
        ("opened", 0, ROUGE, 1000, 1000),
        ("latched", 0, ROUGE, 1000, 1050),
        ("closed", 0, ROUGE, 1000, 1060),
        ("opened", 0, ROUGE, 1070, 1070),
    ]


def test_a_level_is_never_lowered_while_open():
    rules = [Rule(0, ORANGE), Rule(0, ROUGE, group=1)]
    events = [heard(1000, True), heard(1010, True, rule=1), heard(1020, False, rule=1), heard(1030, False)]
    assert say(rules, events) == [
        ("opened", 0, ORANGE, 1000, 1000),
        ("raised", 1, ROUGE, 1000, 1010),
        ("latched", 0, ROUGE, 1000, 1030),
    ]


@pytest.mark.parametrize("phase", ["normal", "pending", "firing", "recovering"])
def test_undetermined_changes_nothing(phase):
    rules = [Rule(0, ORANGE, raise_ms=50, clear_ms=50)]
    events = {
        "normal": [heard(1000, False)],
        "pending": [heard(1000, True)],
        "firing": [heard(1000, True), heard(1050, True)],
        "recovering": [heard(1000, True), heard(1050, True), heard(1060, False)],
    }[phase]
    kernel = Kernel(rules, [1000], tick=TICK)
    kernel.batch(events, events[-1].clock)
    before = [column.copy() for column in kernel.alerts]
    kernel.batch([heard(events[-1].clock, None)], events[-1].clock)
    assert PHASES[kernel.alerts.phase[0, 0]] == phase
    for old, new in zip(before, kernel.alerts, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_delay_needs_no_further_reading():
    assert say([Rule(0, ORANGE, raise_ms=35)], [heard(1000, True)], end=1100) == [
        ("opened", 0, ORANGE, 1000, 1040)
    ]
    assert say([Rule(0, ORANGE, raise_ms=35)], [heard(1000, True), heard(1030, False)], end=1100) == []


def test_silence_counts_from_the_last_reading_and_not_while_the_line_was_deaf():
    rules = [Rule(0, ORANGE, silence_ms=100), Rule(0, ROUGE, silence_ms=200)]
    reading = Event(0, 1000, 1000, 1000, frozenset({0}))
    assert say(rules, [reading], end=1400) == [
        ("opened", 0, ORANGE, 1100, 1100),
        ("raised", 1, ROUGE, 1100, 1200),
    ]
    assert say(rules, [reading], end=1400, outages=[(1050, 1350)]) == [("opened", 0, ORANGE, 1400, 1400)]


def test_a_silence_that_was_closed_is_said_again_only_after_a_reading():
    rules = [Rule(0, ORANGE, silence_ms=100)]
    reading, again = (Event(0, clock, clock, clock, frozenset({0})) for clock in (1000, 1300))
    close = Event(0, 1150, 1150, 1150, close=0)
    assert [row[0] for row in say(rules, [reading, close], end=1900)] == ["opened", "closed"]
    kinds = [(row[0], row[-1]) for row in say(rules, [reading, close, again], end=1900)]
    assert kinds == [("opened", 1100), ("closed", 1150), ("opened", 1400)]


def test_an_act_that_is_older_than_the_alert_was_about_another_one():
    late = Event(0, 1020, 999 - AHEAD, 1010, close=0)
    assert [row[0] for row in say([Rule(0, ROUGE)], [heard(1000, True), late])] == ["opened"]
    just = Event(0, 1020, 1000 - AHEAD, 1010, close=0)
    assert [row[0] for row in say([Rule(0, ROUGE)], [heard(1000, True), just])] == ["opened", "closed"]


def test_a_rule_that_takes_over_does_not_end_the_alert():
    rules = [Rule(0, ORANGE), Rule(0, ROUGE, group=1)]
    both = Event(0, 1010, 1010, 1010, frozenset(), {0: (False, True), 1: (True, False)})
    assert [row[0] for row in say(rules, [heard(1000, True), both])] == ["opened", "raised"]


def test_two_alerts_of_a_problem_never_share_an_onset():
    events = [heard(1000, True), heard(1000, False), heard(1000, True)]
    onsets = [row[3] for row in say([Rule(0, ORANGE)], events) if row[0] == "opened"]
    assert onsets == [1000, 1001]
