"""The life of alerts in plain Python, slow and obvious: every tick is gone through, nothing is scheduled.

Times are plain numbers. A verdict is True, False or None (undetermined).
"""

from dataclasses import dataclass, field

TECHNIQUE, ORANGE, ROUGE = 1, 2, 3
AHEAD = 300_000


@dataclass
class Rule:
    problem: int
    level: int
    group: int = 0  # not of a silence
    raise_ms: int = 0
    clear_ms: int = 0
    silence_ms: int = 0
    contact: int = 0


@dataclass
class Event:
    """Something that came: readings with the verdicts of each group that they set off, or an act of the cell."""

    slot: int
    clock: int
    t: int  # event time of the readings
    now: int  # newest event time of the patient
    contacts: frozenset = frozenset()  # contact clocks that the readings set
    verdicts: dict = field(default_factory=dict)  # rule -> (when, clear)
    close: int = -1


@dataclass
class Problem:
    level: int = 0
    latched: bool = False
    onset: int = 0
    opener: int = 0


class Patient:
    def __init__(
        self, rules, first, *, tick, again=10**9, close_at_recovery=False, outages=(), problems=1, contacts=1
    ):
        self.rules = rules
        self.tick = tick
        self.again = again
        self.close_at_recovery = close_at_recovery
        self.outages = outages
        self.phase = ["normal"] * len(rules)
        self.since = [0] * len(rules)
        self.problems = [Problem() for _ in range(problems)]
        self.contact = [first] * contacts
        self.reached = 0
        self.said = []

    # time

    def pass_time(self, clock, before):
        while self.reached + self.tick <= clock:
            self.reached += self.tick
            self.one_tick(self.reached, before)

    def one_tick(self, at, before):
        for r, rule in enumerate(self.rules):
            if rule.silence_ms:
                heard = self.contact[rule.contact] + self.deaf(self.contact[rule.contact], at)
                if self.phase[r] == "normal" and at - heard >= rule.silence_ms:
                    self.fire(r, heard + rule.silence_ms, at, at, before)
            elif self.phase[r] == "pending" and at - self.since[r] >= rule.raise_ms:
                self.fire(r, self.since[r], at, at, before)
            elif self.phase[r] == "recovering" and at - self.since[r] >= rule.clear_ms:
                self.recover(r, at, at, before)

    def deaf(self, since, until):
        return sum(max(0, min(until, b) - max(since, a)) for a, b in self.outages)

    # what comes

    def take(self, number, event):
        self.pass_time(event.clock, ("before", number))
        by = ("event", number)
        if event.close >= 0:
            self.close(event.close, event.t, event.now, event.clock, by)
        for c in event.contacts:
            self.contact[c] = max(self.contact[c], event.t)
        if event.contacts or event.verdicts:
            for r, rule in enumerate(self.rules):
                if rule.silence_ms and self.phase[r] == "firing":
                    heard = self.contact[rule.contact] + self.deaf(self.contact[rule.contact], event.clock)
                    if event.clock - heard < rule.silence_ms:
                        self.recover(r, event.now, event.clock, by)
        # What fires comes before what recovers.
        for firing in (True, False):
            for r in sorted(event.verdicts, key=lambda r: (self.rules[r].group, r)):
                when, clear = event.verdicts[r]
                if (when is True) == firing:
                    getattr(self, self.phase[r])(r, when, clear, event.now, event.clock, by)

    # what a verdict does, by the phase of its rule

    def normal(self, r, when, clear, t, clock, by):
        if when and self.rules[r].raise_ms == 0:
            self.fire(r, t, t, clock, by)
        elif when:
            self.phase[r], self.since[r] = "pending", t

    def pending(self, r, when, clear, t, clock, by):
        if when is False:
            self.phase[r] = "normal"
        elif when and t - self.since[r] >= self.rules[r].raise_ms:
            self.fire(r, self.since[r], t, clock, by)

    def firing(self, r, when, clear, t, clock, by):
        if clear and self.rules[r].clear_ms == 0:
            self.recover(r, t, clock, by)
        elif clear:
            self.phase[r], self.since[r] = "recovering", t
        elif when and t - self.since[r] >= self.again:
            self.since[r] = t
            self.say("evidence", r, t, clock, by)

    def recovering(self, r, when, clear, t, clock, by):
        if clear is False:
            self.phase[r], self.since[r] = "firing", t
            if when:
                self.say("evidence", r, t, clock, by)
        elif clear and t - self.since[r] >= self.rules[r].clear_ms:
            self.recover(r, t, clock, by)

    # what becomes of it

    def fire(self, r, onset, t, clock, by):
        rule = self.rules[r]
        problem = self.problems[rule.problem]
        self.phase[r], self.since[r] = "firing", t
        kind = "evidence"
        if problem.level == 0:
            problem.level, problem.opener = rule.level, r
            problem.onset = max(onset, problem.onset + 1)  # no two alerts of a problem begin at one time
            kind = "opened"
        elif rule.level > problem.level:
            problem.level = rule.level
            kind = "raised"
        problem.latched = False
        self.say(kind, r, t, clock, by)

    def recover(self, r, t, clock, by):
        self.phase[r] = "normal"
        problem = self.problems[self.rules[r].problem]
        others = [q for q, rule in enumerate(self.rules) if rule.problem == self.rules[r].problem]
        if problem.level == 0 or any(self.phase[q] in {"firing", "recovering"} for q in others):
            return
        if problem.level < ROUGE:
            self.say("recovered", r, t, clock, by)
            problem.level = 0
        elif self.close_at_recovery:
            self.say("closed", r, t, clock, by)
            problem.level = 0
        else:
            problem.latched = True
            self.say("latched", r, t, clock, by)

    def close(self, p, acted, t, clock, by):
        problem = self.problems[p]
        # An act older than the alert was about another one; clocks of devices may be so much ahead.
        if problem.level == 0 or acted < problem.onset - AHEAD:
            return
        self.say("closed", problem.opener, t, clock, by)
        problem.level, problem.latched = 0, False
        for r, rule in enumerate(self.rules):
            # A silence goes on after it was closed: it is said again only when there was a reading in between.
            if rule.problem == p and not (rule.silence_ms and self.phase[r] == "firing"):
                self.phase[r] = "normal"

    def say(self, kind, r, t, clock, by):
        problem = self.problems[self.rules[r].problem]
        self.said.append((kind, r, problem.opener, problem.level, problem.onset, t, clock, by))
