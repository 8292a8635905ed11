"""The life of an alert, as a pure state machine over verdicts and time.

A *rule* is normal, pending (true, but not yet for as long as its delay), firing, or recovering (its clearing
condition holds, but not yet for as long as the clear delay). A *problem* of a patient is closed or open at a
level; the first rule that fires opens it, rules of a higher level raise it, nothing lowers it while it is open.
When the last of its rules has recovered, TECHNIQUE and ORANGE end by themselves and ROUGE latches: it stays
open until a person closes it.

==============  =====================  =======================================================
rule            verdict                becomes
==============  =====================  =======================================================
normal          when                   pending, or firing without delay
pending         when for the delay     firing
pending         not when               normal
firing          clear                  recovering, or normal without delay
recovering      clear for the delay    normal
recovering      not clear              firing
any             undetermined           as it was: no data is neither an alert nor a recovery
==============  =====================  =======================================================

Time passes in ticks, multiples of ``tick_ms`` of the line's clock, the same whatever the batches: before a row
of a patient, all ticks up to the clock of that row are gone through for that patient; at the end of a batch for
all others that have something due. Silence (non-transmission) is measured from the event time of the last
reading to the tick, less the time in which the line itself was deaf.
"""

from typing import NamedTuple

import numpy as np

from kernels._jit import jit, jit_inline
from kernels._types import I8, I16, I32, I64, U8, U64, Int
from kernels.prefetch import prefetch

__all__ = [
    "CLOSED",
    "EVIDENCE",
    "FIRING",
    "LATCHED",
    "NEVER",
    "NORMAL",
    "OPENED",
    "PENDING",
    "RAISED",
    "RECOVERED",
    "RECOVERING",
    "ROUGE",
    "Alerts",
    "Rules",
    "Transitions",
    "idle_ticks",
    "walk",
]

# Of NumPy's type, because Numba compiles a function anew for each literal that it is called with.
NORMAL, PENDING, FIRING, RECOVERING = (np.int64(phase) for phase in range(4))
OPENED, RAISED, EVIDENCE, RECOVERED, LATCHED, CLOSED = (np.int64(kind) for kind in range(1, 7))
ROUGE = np.int64(3)
NEVER = np.int64(2**62)
_AHEAD_MS = np.int64(300_000)
_FALSE, _TRUE = np.int64(0), np.int64(1)
_AFTER = np.int64(-1)  # the event of a tick after the batch

_AHEAD = 8  # events ahead at which a patient's alert state is asked for


class Rules(NamedTuple):
    """The rules as arrays; non-transmission rules have ``silence_ms > 0`` and belong to no group."""

    problem: I16
    level: U8
    raise_ms: I64
    clear_ms: I64
    silence_ms: I64
    silent: I64  # the non-transmission rules
    contact: I16  # which contact clock a non-transmission rule reads
    group_at: I64  # rules of group g are group_rule[group_at[g] : group_at[g + 1]]
    group_rule: I64
    group_mask: U64
    group_protocol: I64
    protocol: I64  # of each rule
    verdict_at: I64  # of group g in the verdict buffers
    room: I64  # of group g: verdict of its i-th rule on block row k is at verdict_at + i * room + k
    problem_at: I64
    problem_rule: I64
    contact_mask: U64
    options: I64  # tick_ms, again_ms, close_at_recovery


class Alerts(NamedTuple):
    """Alert state of each patient."""

    programmes: U64  # protocols that the patient is followed by, one bit each
    phase: U8  # capacity x rules
    since: I64  # pending or recovering since; firing: last evidence
    level: U8  # capacity x problems, 0 = closed
    latched: U8
    onset: I64
    opener: I16  # rule that opened the problem
    contact: I64  # capacity x contact clocks, event time of the last reading
    due: I64  # tick at which something may happen without a reading
    now: I64  # newest event time of the patient at the last reading that rules saw


class Transitions(NamedTuple):
    """What changed, one row a change."""

    event: I32  # e: by event e; -1: by a tick after the batch; -2 - e: by a tick before event e
    slot: I32
    rule: I16
    opener: I16
    kind: U8
    level: U8
    onset_ms: I64
    t_ms: I64
    clock_ms: I64
    now_ms: I64  # newest event time of the patient, as the rule saw it


@jit
def _ceil(time: Int, tick: Int) -> Int:
    return -((-time) // tick) * tick


@jit_inline
def _follows(programmes: np.uint64, protocol: Int) -> bool:
    """Whether a patient is followed by a protocol."""
    return bool((programmes >> np.uint64(protocol)) & np.uint64(1))


@jit_inline
def _deaf(since: Int, until: Int, outages: I64) -> Int:
    """Milliseconds of ``[since, until]`` in which the line took nothing in; `outages` one after the other."""
    # A log without heartbeats has thousands of them: the first that ends after `since` is found by halves.
    low, high = np.int64(0), np.int64(outages.shape[0])
    while low < high:
        middle = (low + high) // 2
        if outages[middle, 1] <= since:
            low = middle + 1
        else:
            high = middle
    total = np.int64(0)
    for i in range(low, outages.shape[0]):
        if outages[i, 0] >= until:
            break
        first = max(since, outages[i, 0])
        last = min(until, outages[i, 1])
        if last > first:
            total += last - first
    return total


@jit
def _emit(
    out: Transitions,
    n: Int,
    kind: Int,
    slot: Int,
    rule: Int,
    problem: Int,
    event: Int,
    t: Int,
    clock: Int,
    alerts: Alerts,
) -> Int:
    out.event[n] = event
    out.now_ms[n] = alerts.now[slot]
    out.slot[n] = slot
    out.rule[n] = rule
    out.opener[n] = alerts.opener[slot, problem]
    out.kind[n] = kind
    out.level[n] = alerts.level[slot, problem]
    out.onset_ms[n] = alerts.onset[slot, problem]
    out.t_ms[n] = t
    out.clock_ms[n] = clock
    return n + 1


@jit
def _fires(
    slot: Int,
    rule: Int,
    onset: Int,
    event: Int,
    t: Int,
    clock: Int,
    rules: Rules,
    alerts: Alerts,
    out: Transitions,
    n: Int,
) -> Int:
    problem = np.int64(rules.problem[rule])
    alerts.phase[slot, rule] = FIRING
    alerts.since[slot, rule] = t
    kind = EVIDENCE
    if alerts.level[slot, problem] == 0:
        alerts.level[slot, problem] = rules.level[rule]
        # Two episodes of a problem never share an onset, hence never an id, even when late readings end one
        # and begin the next at the same event time.
        alerts.onset[slot, problem] = max(onset, alerts.onset[slot, problem] + 1)
        alerts.opener[slot, problem] = rule
        kind = OPENED
    elif rules.level[rule] > alerts.level[slot, problem]:
        alerts.level[slot, problem] = rules.level[rule]
        kind = RAISED
    alerts.latched[slot, problem] = 0
    return _emit(out, n, kind, slot, rule, problem, event, t, clock, alerts)


@jit
def _recovers(
    slot: Int,
    rule: Int,
    event: Int,
    t: Int,
    clock: Int,
    rules: Rules,
    alerts: Alerts,
    out: Transitions,
    n: Int,
) -> Int:
    problem = np.int64(rules.problem[rule])
    alerts.phase[slot, rule] = NORMAL
    for i in range(rules.problem_at[problem], rules.problem_at[problem + 1]):
        if alerts.phase[slot, rules.problem_rule[i]] >= FIRING:
            return n
    if alerts.level[slot, problem] == 0:
        return n
    if alerts.level[slot, problem] < ROUGE:
        n = _emit(out, n, RECOVERED, slot, rule, problem, event, t, clock, alerts)
        alerts.level[slot, problem] = 0
    elif rules.options[2]:
        n = _emit(out, n, CLOSED, slot, rule, problem, event, t, clock, alerts)
        alerts.level[slot, problem] = 0
    else:
        alerts.latched[slot, problem] = 1
        n = _emit(out, n, LATCHED, slot, rule, problem, event, t, clock, alerts)
    return n


@jit
def _step(
    slot: Int,
    rule: Int,
    when: Int,
    clear: Int,
    onset: Int,
    event: Int,
    t: Int,
    clock: Int,
    rules: Rules,
    alerts: Alerts,
    out: Transitions,
    n: Int,
) -> Int:
    """Take one verdict of one rule: `when` and `clear` are 1 true, 0 false, -1 undetermined."""
    phase = alerts.phase[slot, rule]
    tick = rules.options[0]
    if phase == NORMAL:
        if when == 1:
            if rules.raise_ms[rule] == 0:
                return _fires(slot, rule, onset, event, t, clock, rules, alerts, out, n)
            alerts.phase[slot, rule] = PENDING
            alerts.since[slot, rule] = t
            due = _ceil(max(t + rules.raise_ms[rule], clock + 1), tick)
            alerts.due[slot] = min(alerts.due[slot], due)
    elif phase == PENDING:
        if when == 0:
            alerts.phase[slot, rule] = NORMAL
        elif when == 1 and t - alerts.since[slot, rule] >= rules.raise_ms[rule]:
            since = alerts.since[slot, rule]
            return _fires(slot, rule, since, event, t, clock, rules, alerts, out, n)
    elif phase == FIRING:
        if clear == 1:
            if rules.clear_ms[rule] == 0:
                return _recovers(slot, rule, event, t, clock, rules, alerts, out, n)
            alerts.phase[slot, rule] = RECOVERING
            alerts.since[slot, rule] = t
            due = _ceil(max(t + rules.clear_ms[rule], clock + 1), tick)
            alerts.due[slot] = min(alerts.due[slot], due)
        elif when == 1 and event >= 0 and t - alerts.since[slot, rule] >= rules.options[1]:
            alerts.since[slot, rule] = t
            problem = np.int64(rules.problem[rule])
            return _emit(out, n, EVIDENCE, slot, rule, problem, event, t, clock, alerts)
    elif clear == 0:
        alerts.phase[slot, rule] = FIRING
        alerts.since[slot, rule] = t
        if when == 1 and event >= 0:
            problem = np.int64(rules.problem[rule])
            return _emit(out, n, EVIDENCE, slot, rule, problem, event, t, clock, alerts)
    elif clear == 1 and t - alerts.since[slot, rule] >= rules.clear_ms[rule]:
        return _recovers(slot, rule, event, t, clock, rules, alerts, out, n)
    return n


@jit
def _tick(
    slot: Int, at: Int, event: Int, rules: Rules, alerts: Alerts, outages: I64, out: Transitions, n: Int
) -> Int:
    """Let one patient's time pass to the tick `at`, and set when to look again."""
    tick = rules.options[0]
    due = NEVER
    for rule in range(len(rules.level)):
        phase = alerts.phase[slot, rule]
        silence = rules.silence_ms[rule]
        if not _follows(alerts.programmes[slot], rules.protocol[rule]):
            continue
        if silence > 0:
            contact = alerts.contact[slot, rules.contact[rule]]
            deaf = _deaf(contact, at, outages)
            silent = at - contact - deaf >= silence
            if phase == NORMAL and silent:
                onset = contact + silence + deaf
                n = _step(slot, rule, _TRUE, _FALSE, onset, event, at, at, rules, alerts, out, n)
            elif phase == NORMAL:
                due = min(due, contact + silence + deaf)
        elif phase == PENDING:
            if at - alerts.since[slot, rule] >= rules.raise_ms[rule]:
                n = _step(slot, rule, _TRUE, _FALSE, at, event, at, at, rules, alerts, out, n)
            else:
                due = min(due, alerts.since[slot, rule] + rules.raise_ms[rule])
        elif phase == RECOVERING:
            if at - alerts.since[slot, rule] >= rules.clear_ms[rule]:
                n = _step(slot, rule, _FALSE, _TRUE, at, event, at, at, rules, alerts, out, n)
            else:
                due = min(due, alerts.since[slot, rule] + rules.clear_ms[rule])
    alerts.due[slot] = NEVER if due >= NEVER else _ceil(max(due, at + 1), tick)
    return n


@jit
def _close(
    slot: Int,
    problem: Int,
    event: Int,
    acted: Int,
    t: Int,
    clock: Int,
    rules: Rules,
    alerts: Alerts,
    out: Transitions,
    n: Int,
) -> Int:
    """A person closes a problem: its rules start again from normal.

    An act that is older than the alert was about another one: sent again, it must not close this one. A device's
    clock may be five minutes ahead of the cell's, and with it the onset.
    """
    if alerts.level[slot, problem] == 0 or acted < alerts.onset[slot, problem] - _AHEAD_MS:
        return n
    opener = np.int64(alerts.opener[slot, problem])
    n = _emit(out, n, CLOSED, slot, opener, problem, event, t, clock, alerts)
    alerts.level[slot, problem] = 0
    alerts.latched[slot, problem] = 0
    for i in range(rules.problem_at[problem], rules.problem_at[problem + 1]):
        rule = rules.problem_rule[i]
        if rules.silence_ms[rule] == 0 or alerts.phase[slot, rule] != FIRING:
            alerts.phase[slot, rule] = NORMAL
    return n


@jit
def walk(
    first: Int,
    last: Int,
    cursor: I64,
    event_slot: I32,
    event_mask: U64,
    event_t: I64,
    event_now: I64,
    event_clock: I64,
    event_close: I16,
    when: I8,
    clear: I8,
    rules: Rules,
    alerts: Alerts,
    outages: I64,
    out: Transitions,
    margin: Int,
) -> tuple[Int, Int]:
    """Walk through the events ``[first, last)`` of a batch, ticks first, and write what changes.

    Parameters
    ----------
    cursor : int64[groups]
        Block row that each group has reached; carried from call to call.
    event_close : int16[events]
        Problem that a person closes with this event, -1 for none.
    when, clear : int8
        Verdicts of all groups (see `Rules.verdict_at`).
    outages : int64[k, 2]
        When the line was deaf, milliseconds of its clock.
    out : Transitions
        Room for the changes.
    margin : int
        Most rows that one event or one tick can write.

    Returns
    -------
    next, written : int
        The event to go on with (`last` when done) and the rows written; it stops early when `out` is full.
    """
    n: Int = np.int64(0)
    tick = rules.options[0]
    room = len(out.slot)
    due = alerts.due.reshape(-1, 1)
    now = alerts.now.reshape(-1, 1)
    programmes = alerts.programmes.reshape(-1, 1)
    reached = np.int64(0)
    for e in range(first, last):
        if e + _AHEAD < last:
            ahead = np.int64(event_slot[np.uint64(e + _AHEAD)])
            prefetch(alerts.phase, ahead, 0)
            prefetch(alerts.contact, ahead, 0)
            prefetch(due, ahead, 0)
            prefetch(programmes, ahead, 0)
            prefetch(now, ahead, 0)
        this = np.uint64(e)
        slot = np.int64(event_slot[this])
        who = np.uint64(slot)
        clock = event_clock[this]
        if clock < reached or clock >= reached + tick:
            reached = clock // tick * tick
        while alerts.due[who] <= reached:
            if n + margin > room:
                return e, n
            n = _tick(slot, alerts.due[who], -2 - e, rules, alerts, outages, out, n)
        if n + margin > room:
            return e, n
        mask = event_mask[this]
        t = event_now[this]
        if event_close[this] >= 0:
            n = _close(slot, np.int64(event_close[this]), e, event_t[this], t, clock, rules, alerts, out, n)
        if not mask:
            continue
        alerts.now[who] = t
        for c in range(len(rules.contact_mask)):
            if rules.contact_mask[np.uint64(c)] & mask and alerts.contact[who, np.uint64(c)] < event_t[this]:
                alerts.contact[who, np.uint64(c)] = event_t[this]
        for i in range(len(rules.silent)):
            rule = rules.silent[np.uint64(i)]
            if alerts.phase[slot, rule] != NORMAL:
                contact = alerts.contact[slot, rules.contact[rule]]
                if clock - contact - _deaf(contact, clock, outages) < rules.silence_ms[rule]:
                    alerts.due[slot] = min(alerts.due[slot], reached + tick)
                    n = _step(slot, rule, _FALSE, _TRUE, t, e, t, clock, rules, alerts, out, n)
        # What fires comes before what recovers: a rule that takes over from a lower one of its problem raises
        # the alert, where the other order would end it and begin a new one. Nearly always nothing is open and
        # nothing fires: no call for that (see `jit_inline`), and no second round.
        follows = alerts.programmes[who]
        some_open = False
        for group in range(len(rules.group_mask)):
            g = np.uint64(group)
            if not (rules.group_mask[g] & mask) or not _follows(follows, rules.group_protocol[g]):
                continue
            k = cursor[g]
            cursor[g] = k + 1
            at = rules.verdict_at[g] + k
            for i in range(rules.group_at[g], rules.group_at[np.uint64(group + 1)]):
                rule = rules.group_rule[np.uint64(i)]
                if when[np.uint64(at)] == 1:
                    n = _step(
                        slot, rule, np.int64(when[at]), np.int64(clear[at]), t,
                        e, t, clock, rules, alerts, out, n,
                    )  # fmt: skip
                elif alerts.phase[who, np.uint64(rule)] != NORMAL:
                    some_open = True
                at += rules.room[g]
        if not some_open:
            continue
        for g in range(len(rules.group_mask)):
            if not (rules.group_mask[g] & mask) or not _follows(follows, rules.group_protocol[g]):
                continue
            at = rules.verdict_at[g] + cursor[g] - 1
            for i in range(rules.group_at[g], rules.group_at[g + 1]):
                rule = rules.group_rule[i]
                if when[at] != 1 and alerts.phase[slot, rule] != NORMAL:
                    n = _step(
                        slot, rule, np.int64(when[at]), np.int64(clear[at]), t,
                        e, t, clock, rules, alerts, out, n,
                    )  # fmt: skip
                at += rules.room[g]
    return last, n


@jit
def idle_ticks(
    first: Int,
    last: Int,
    clock: Int,
    rules: Rules,
    alerts: Alerts,
    outages: I64,
    out: Transitions,
    margin: Int,
) -> tuple[Int, Int]:
    """Let time pass to `clock` for the slots ``[first, last)``; returns as `walk` does."""
    n: Int = np.int64(0)
    tick = rules.options[0]
    reached = clock // tick * tick
    room = len(out.slot)
    for slot in range(first, last):
        while alerts.due[slot] <= reached:
            if n + margin > room:
                return slot, n
            n = _tick(slot, alerts.due[slot], _AFTER, rules, alerts, outages, out, n)
    return last, n
