"""What a rule saw when it changed an alert: its readings and features, put together again.

A batch is applied whole before its verdicts are known, so at that point a patient's series may hold readings
that came after the one that raised the alert. The journal of the batch is undone backwards to that event; the
features are then computed by the same function, on the same content, and so come out the same.
"""

import numpy as np

from kernels import features, pattern
from kernels._jit import jit
from kernels._types import F64, I32, I64, Int
from kernels.advance import Journal, Plan, Readings, Scratch

__all__ = ["rebuild"]


@jit
def _undo(slot: Int, s: Int, since: Int, entries: Int, journal: Journal, t: I64, v: I32, count: Int) -> Int:
    """Take a series, ``count`` readings in `t` and `v`, back to where the journal had `since` entries."""
    end = since
    while end < entries and journal.slot[end] == slot:
        end += 1
    for i in range(end - 1, since - 1, -1):
        if journal.series[i] != s:
            continue
        time = journal.t[i]
        value = journal.v[i]
        at = count
        while at > 0 and (t[at - 1] > time or (t[at - 1] == time and v[at - 1] > value)):
            at -= 1
        if journal.added[i]:
            for j in range(at - 1, count - 1):
                t[j] = t[j + 1]
                v[j] = v[j + 1]
            count -= 1
        else:
            for j in range(count, at, -1):
                t[j] = t[j - 1]
                v[j] = v[j - 1]
            t[at] = time
            v[at] = value
            count += 1
    return count


@jit
def rebuild(
    slots: I32,
    groups: I64,
    since: I64,
    now: I64,
    entries: Int,
    journal: Journal,
    plan: Plan,
    state: Readings,
    out_feature: F64,
    out_count: I64,
    out_series: I32,
    out_t: I64,
    out_v: I32,
    work: Scratch,
    raw_t: I64,
    raw_v: I32,
) -> Int:
    """Rebuild series and features of some rules' groups at some events.

    Parameters
    ----------
    slots, groups, since, now : int32[n], int64[n], int64[n], int64[n]
        Patient, group of rules, entries of the journal after the event, patient's newest event time then.
    out_feature : float64[n, f]
        Filled with the features of the group, in its order; NaN where undetermined or beyond.
    out_count : int64[n]
        Filled with the number of readings given for each.
    out_series, out_t, out_v : int32[m], int64[m], int32[m]
        Filled with the readings (raw, in the group's order of series), one item after the other.
    work, raw_t, raw_v : Scratch, int64[2 * width + 2], int32[2 * width + 2]
        Scratch for rows of ``2 * width`` readings: undoing passes through a full series with what it moved out.

    Returns
    -------
    int
        Readings written; -1 when `out_t` is too short.
    """
    lo, hi, clean_lo, clean_hi = work.lo, work.hi, work.clean_lo, work.clean_hi
    t, v = raw_t, raw_v
    clean_t, clean_v = work.clean_t, work.clean_v
    written = 0
    for n in range(len(slots)):
        slot = np.int64(slots[n])
        g = groups[n]
        before = written
        for i in range(plan.group_series_at[g], plan.group_series_at[g + 1]):
            s = plan.group_series[i]
            start = 2 * plan.start[s]
            count: Int = np.int64(state.length[slot, s])
            for j in range(count):
                t[start + j] = state.t[slot, plan.start[s] + j]
                v[start + j] = state.v[slot, plan.start[s] + j]
            count = _undo(slot, s, since[n], entries, journal, t[start:], v[start:], count)
            lo[s] = start + max(np.int64(0), count - plan.visible[s])
            hi[s] = start + count
            kept = pattern.clean(t, v, lo[s], hi[s], plan.step[s], clean_t[start:], clean_v[start:])
            clean_lo[s] = start
            clean_hi[s] = start + kept
            if written + hi[s] - lo[s] > len(out_t):
                return -1
            for j in range(lo[s], hi[s]):
                out_series[written] = s
                out_t[written] = t[j]
                out_v[written] = v[j]
                written += 1
        out_count[n] = written - before
        zone_t = plan.zone_t[state.zone[slot]]
        zone_off = plan.zone_off[state.zone[slot]]
        first = plan.group_feature_at[g]
        for i in range(first, plan.group_feature_at[g + 1]):
            f = plan.group_feature[i]
            limit = np.nan
            q = plan.limit[f]
            if q >= 0:
                column = plan.limit_column[q]
                limit = plan.limit_default[q] if column < 0 else state.limits[slot, column]
            checked = plan.checked[f]
            out_feature[n, i - first] = features.evaluate(
                plan.op[f], plan.inputs[f], plan.window[f], plan.in_days[f], plan.par[f], limit,
                clean_t if checked else t, clean_v if checked else v,
                clean_lo if checked else lo, clean_hi if checked else hi,
                now[n], zone_t, zone_off, work.work,
            )  # fmt: skip
    return written
