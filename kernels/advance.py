"""One pass over a batch: de-duplicate, order, update the series, compute the features that rules ask for.

This is the hot loop of the engine. Packets come put together by patient (`kernels.arrange`), each patient's
in the order of arrival, so that the result for a patient does not depend on who else is in the
batch. It writes, for each group of rules, one compact block of features; the conditions over those blocks are
evaluated afterwards, all rows at once (`rules.evaluate`), and the verdicts are walked through in the same order
by `kernels.lifecycle`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import arrange, features, ops, pattern, series
from kernels._jit import jit, jit_inline
from kernels._types import F64, I16, I32, I64, U8, U16, U64, Flag, Flags, Int
from kernels.prefetch import prefetch
from kernels.windows import window_start

__all__ = [
    "APPLIED",
    "DEVICES",
    "DUPLICATE",
    "HORIZON",
    "LATE",
    "Blocks",
    "Events",
    "Journal",
    "Packets",
    "Plan",
    "Readings",
    "Scratch",
    "advance",
    "scratch",
    "seen",
]

APPLIED = 1
DUPLICATE = 2
LATE = 3

DEVICES = 4
"""Devices of one patient whose sequence numbers are remembered."""

HORIZON = 64
"""Sequence numbers, back from a device's newest, within which a repeat is known by its number."""

_ACT = 5
_ECG = 2

# What the journal says of a reading.
_IN, _OUT = np.bool_(True), np.bool_(False)  # noqa: FBT003 - of NumPy's type, as an element of the column

# Packets ahead at which a patient's state, then the end of its series, are asked for.
_FAR = 12
_NEAR = 5


class Packets(NamedTuple):
    """The packets of a shard and the columns that several values of one packet are in.

    Derived readings are what the ECG kernels gave for a packet.
    """

    records: I64  # n x arrange.WORDS
    code: U16
    milli: I32
    derived_t: I64
    derived_code: U16
    derived_milli: I32
    refused: Flags  # per packet of the batch: ECG chunks that the stream had seen already


class Plan(NamedTuple):
    """What the protocols ask for, as arrays (built by `engine.program`)."""

    code_series: I16  # code -> series, -1 where no protocol uses it
    start: I64  # of each series within a patient's row
    visible: I64
    physical: I64
    step: I64  # thousandths a day beyond which a reading is out of pattern, 0 = not checked
    group_mask: U64  # series that trigger the group
    group_protocol: I64
    group_series_at: I64
    group_series: I64
    group_feature_at: I64
    group_feature: I64
    op: I64
    checked: Flags  # the feature looks at readings in pattern only
    inputs: I32  # features x 8, series of each feature, -1 = none
    window: I64
    in_days: Flags
    par: F64  # features x 8
    limit: I32  # limit that the feature refers to, -1 = none
    limit_default: F64
    limit_column: I32  # column of `limits` where patients have their own, -1 = none
    zone_t: I64  # zones x transitions
    zone_off: I64
    lateness_ms: I64  # one element


class Readings(NamedTuple):
    """State of each patient: series, newest time, devices' sequence numbers."""

    t: I64  # capacity x row
    v: I32
    length: I16  # capacity x series
    newest_ms: I64
    first_ms: I64
    zone: U8
    programmes: U64  # protocols that the patient is followed by, one bit each
    limits: F64  # capacity x limits with overrides
    device: I64  # capacity x 3 DEVICES: hash, newest number, bits of those before it
    device_turn: U8


class Blocks(NamedTuple):
    """Features of each group of rules, one block a group in one buffer: ``buffer[at + feature * room + k]``."""

    buffer: F64
    at: I64
    room: I64
    event_at: I64
    event: I32  # event of each block row
    filled: I64  # block rows used


class Events(NamedTuple):
    """One row for each applied packet (or derived reading), in the order in which they were applied."""

    row: I32
    slot: I32
    mask: U64  # series that changed
    t_ms: I64  # of the reading
    now_ms: I64  # newest event time of the patient, after it
    journal: I64  # length of the journal after it


class Scratch(NamedTuple):
    """What the pass writes on and nobody reads afterwards (`scratch` makes it)."""

    lo: I64  # of each series of the patient at hand
    hi: I64
    is_clean: Flags  # the next four hold the series as it is
    clean_lo: I64
    clean_hi: I64
    clean_t: I64
    clean_v: I32
    value: F64  # of each feature
    done: I64  # turn in which it was computed
    turn: I64  # one element
    work: F64


def scratch(series: Int, width: Int, count: Int) -> Scratch:
    """Make the scratch for `series` series in rows of `width` readings and `count` features; one for each thread."""
    return Scratch(
        np.zeros(series, np.int64),
        np.zeros(series, np.int64),
        np.zeros(series, np.bool_),
        np.zeros(series, np.int64),
        np.zeros(series, np.int64),
        np.zeros(width + 1, np.int64),
        np.zeros(width + 1, np.int32),
        np.zeros(count, np.float64),
        np.zeros(count, np.int64),
        np.zeros(1, np.int64),
        np.empty(features.SCRATCH, np.float64),
    )


class Journal(NamedTuple):
    """Changes of the series within this batch, so that what a rule saw can be put together again."""

    slot: I32
    series: I16
    t: I64
    v: I32
    added: Flags  # else moved out of the series


@jit_inline
def seen(slot: Int, device: Int, seq: Int, table: I64, turn: U8) -> Int:
    """Note a device's sequence number: 1 seen before, 0 new, -1 nothing is known of it.

    Nothing is known of a number more than HORIZON behind the device's newest, nor of a device that is not among
    the patient's last DEVICES: there the content decides (the same readings once more change nothing).
    """
    place: Int = -1
    for d in range(DEVICES):
        if table[slot, 3 * d] == device:
            place = 3 * d
            break
    if place < 0:
        for d in range(DEVICES):
            if table[slot, 3 * d] == 0:
                place = 3 * d
                break
        if place < 0:
            place = 3 * np.int64(turn[slot])
            turn[slot] = (place // 3 + 1) % DEVICES
        table[slot, place] = device
        table[slot, place + 1] = seq
        table[slot, place + 2] = 1
        return -1
    ahead = seq - table[slot, place + 1]
    bits = np.uint64(table[slot, place + 2])
    if ahead > 0:
        bits = bits << np.uint64(ahead) if ahead < HORIZON else np.uint64(0)
        table[slot, place + 1] = seq
        table[slot, place + 2] = np.int64(bits | np.uint64(1))
        return 0
    if ahead > -HORIZON:
        bit = np.uint64(1) << np.uint64(-ahead)
        if bits & bit:
            return 1
        table[slot, place + 2] = np.int64(bits | bit)
        return 0
    return -1


@jit_inline
def _fetch_patient(at: Int, records: I64, state: Readings, newest: I64, zone: U8, programmes: U64) -> None:
    """Ask for what will be needed of a patient some packets ahead."""
    slot = records[at, arrange.SLOT]
    if at > 0 and records[at - 1, arrange.SLOT] == slot:
        return
    prefetch(state.device, slot, 0)
    prefetch(state.device, slot, 3 * DEVICES - 1)
    prefetch(state.length, slot, 0)
    prefetch(newest, slot, 0)
    prefetch(zone, slot, 0)
    prefetch(programmes, slot, 0)


@jit_inline
def _fetch_series(
    at: Int, records: I64, code: npt.NDArray[np.uint16], milli: I32, plan: Plan, state: Readings
) -> None:
    """Ask for the values of a packet and the ends of its patient's series, all of them: rules read the others too."""
    record = records[np.uint64(at)]
    if record[arrange.COUNT] >> 8 != 1:
        prefetch(code, record[arrange.FIRST], 0)
        prefetch(milli, record[arrange.FIRST], 0)
    slot = record[arrange.SLOT]
    if at > 0 and records[np.uint64(at - 1), arrange.SLOT] == slot:
        return
    for s in range(len(plan.start)):
        end = plan.start[np.uint64(s)] + np.int64(state.length[slot, np.uint64(s)])
        prefetch(state.t, slot, end)
        prefetch(state.t, slot, end - 8)
        prefetch(state.v, slot, end)
        prefetch(state.v, slot, end - 8)


@jit_inline
def _note(journal: Journal, entry: Int, slot: Int, s: Int, t: Int, v: Int, added: Flag) -> None:
    """Write an entry of the journal."""
    at = np.uint64(entry)
    journal.slot[at] = slot
    journal.series[at] = s
    journal.t[at] = t
    journal.v[at] = v
    journal.added[at] = added


@jit_inline
def _apply(
    slot: Int,
    code: Int,
    time: Int,
    milli: Int,
    plan: Plan,
    state: Readings,
    journal: Journal,
    entries: Int,
    work: Scratch,
) -> tuple[Int, Int, Int]:
    """Put one reading into its series; (its place or why it has none, series, entries of the journal)."""
    s = np.int64(plan.code_series[np.uint64(code)])
    if s < 0:
        return 0, -1, entries
    r = np.uint64(s)
    start = plan.start[r]
    count = np.int64(state.length[slot, r])
    visible = plan.visible[r]
    t = state.t[slot]
    v = state.v[slot]
    at = series.place(t, v, start, count, visible, time, milli)
    if at < 0:
        return at, s, entries
    if count == plan.physical[r]:
        surplus = count - visible
        for i in range(start, start + surplus):
            _note(journal, entries, slot, s, t[i], np.int64(v[i]), _OUT)
            entries += 1
        for i in range(start, start + visible):
            t[i] = t[i + surplus]
            v[i] = v[i + surplus]
        count = visible
        at -= surplus
    series.put(t, v, start, count, at, time, milli)
    count += 1
    state.length[slot, r] = count
    work.lo[r] = start + max(np.int64(0), count - visible)
    work.hi[r] = start + count
    work.is_clean[r] = False
    _note(journal, entries, slot, s, time, milli, _IN)
    return at, s, entries + 1


@jit_inline
def _open(slot: Int, plan: Plan, state: Readings, work: Scratch) -> None:
    """Note where the series of a patient begin and end, as features see them."""
    for s in range(len(plan.start)):
        at = np.uint64(s)
        count = np.int64(state.length[slot, at])
        start = plan.start[at]
        work.lo[at] = start + max(np.int64(0), count - plan.visible[at])
        work.hi[at] = start + count
        work.is_clean[at] = False


@jit_inline
def _clean(feature: Int, t: I64, v: I32, plan: Plan, work: Scratch) -> None:
    """Copy the readings in pattern of the series of a feature, where they are not copied yet."""
    for i in range(features.SERIES):
        s = np.int64(plan.inputs[feature, i])
        if s < 0:
            return
        if not work.is_clean[s]:
            start = plan.start[s]
            kept = pattern.clean(
                t, v, work.lo[s], work.hi[s], plan.step[s], work.clean_t[start:], work.clean_v[start:]
            )
            work.clean_lo[s] = start
            work.clean_hi[s] = start + kept
            work.is_clean[s] = True


@jit_inline
def _features(
    slot: Int,
    mask: np.uint64,
    now: Int,
    event: Int,
    plan: Plan,
    state: Readings,
    blocks: Blocks,
    work: Scratch,
) -> None:
    """Compute the features of each group that the changed series trigger, each once."""
    t = state.t[slot]
    v = state.v[slot]
    zone_t = plan.zone_t[state.zone[slot]]
    zone_off = plan.zone_off[state.zone[slot]]
    programmes = state.programmes[slot]
    days = np.int64(0)  # the window whose start is `midnight`
    midnight = np.int64(0)
    turn = work.turn[0] + 1
    work.turn[0] = turn
    for group in range(len(plan.group_mask)):
        g = np.uint64(group)
        if not (plan.group_mask[g] & mask):
            continue
        if not (programmes >> np.uint64(plan.group_protocol[g])) & np.uint64(1):
            continue
        k = blocks.filled[g]
        blocks.filled[g] = k + 1
        blocks.event[np.uint64(blocks.event_at[g] + k)] = event
        base = blocks.at[g] + k
        room = blocks.room[g]
        for i in range(plan.group_feature_at[g], plan.group_feature_at[np.uint64(group + 1)]):
            f = np.uint64(plan.group_feature[np.uint64(i)])
            if work.done[f] != turn:
                work.done[f] = turn
                op = plan.op[f]
                window = plan.window[f]
                since = np.int64(0)
                if op <= ops.SD:
                    if not plan.in_days[f] or window <= 0:
                        since = window_start(now, window, plan.in_days[f], zone_t, zone_off)
                    else:
                        if window != days:
                            days = window
                            midnight = window_start(now, window, plan.in_days[f], zone_t, zone_off)
                        since = midnight
                limit = np.nan
                q = plan.limit[f]
                if q >= 0:
                    column = plan.limit_column[q]
                    limit = plan.limit_default[q] if column < 0 else state.limits[slot, column]
                clean = plan.checked[f]
                if clean:
                    _clean(np.int64(f), t, v, plan, work)
                work.value[f] = features.evaluate_since(
                    op, plan.inputs[f], window, since, plan.in_days[f], plan.par[f], limit,
                    work.clean_t if clean else t, work.clean_v if clean else v,
                    work.clean_lo if clean else work.lo, work.clean_hi if clean else work.hi,
                    now, zone_t, zone_off, work.work,
                )  # fmt: skip
            blocks.buffer[np.uint64(base)] = work.value[f]
            base += room


@jit
def advance(
    packets: Packets,
    plan: Plan,
    state: Readings,
    blocks: Blocks,
    events: Events,
    journal: Journal,
    outcome: U8,
    work: Scratch,
) -> tuple[Int, Int]:
    """Apply packets to the state of their patients and compute the features that they trigger.

    Parameters
    ----------
    packets : Packets
        Of one shard.
    outcome : uint8[n]
        Filled: APPLIED, DUPLICATE or LATE, by position in the shard's rows.

    Returns
    -------
    events, entries : int
        Number of events and of journal entries.
    """
    records = packets.records
    newest = state.newest_ms.reshape(-1, 1)
    zone = state.zone.reshape(-1, 1)
    programmes = state.programmes.reshape(-1, 1)
    code_column = packets.code.reshape(-1, 1)
    milli_column = packets.milli.reshape(-1, 1)
    lateness = plan.lateness_ms[0]
    total = len(records)
    # A plain 0 is a type of its own to Numba: what takes it would be compiled twice.
    n = np.int64(0)
    entries = np.int64(0)
    opened: Int = -1  # the patient whose series `work` has
    for at in range(total):
        if at + _FAR < total:
            _fetch_patient(at + _FAR, records, state, newest, zone, programmes)
        if at + _NEAR < total:
            _fetch_series(at + _NEAR, records, code_column, milli_column, plan, state)
        record = records[np.uint64(at)]
        slot = record[arrange.SLOT]
        position = np.uint64(record[arrange.PLACE]) >> np.uint64(32)
        row = record[arrange.PLACE] & 0xFFFFFFFF
        t = record[arrange.T]
        kind = record[arrange.KIND] & 0xFF
        first = record[arrange.FIRST]
        count = record[arrange.COUNT] >> 8
        known = seen(slot, record[arrange.DEVICE], record[arrange.SEQ], state.device, state.device_turn)
        if known == 1:
            outcome[position] = DUPLICATE
            continue
        if kind == _ACT:
            outcome[position] = APPLIED
            events.row[n] = row
            events.slot[n] = slot
            events.mask[n] = np.uint64(0)
            events.t_ms[n] = t
            events.now_ms[n] = max(t, state.newest_ms[slot])
            events.journal[n] = entries
            n += 1
            continue
        ecg = kind == _ECG
        if t < state.newest_ms[slot] - lateness or (ecg and packets.refused[row]):
            outcome[position] = LATE
            continue
        # A packet is one moment: its values go in together and are one event. What an ECG chunk gave are
        # readings of several moments: one event each.
        mask = np.uint64(0)
        new = ecg
        code = record[arrange.CODE] >> 32
        milli = np.int64(np.int32(record[arrange.MILLI] & 0xFFFFFFFF))
        for i in range(count):
            if ecg:
                t = packets.derived_t[first + i]
                code = np.int64(packets.derived_code[first + i])
                milli = np.int64(packets.derived_milli[first + i])
            elif count > 1:
                code = np.int64(packets.code[np.uint64(first + i)])
                milli = np.int64(packets.milli[np.uint64(first + i)])
            if slot != opened:
                _open(slot, plan, state, work)
                opened = slot
            what, s, entries = _apply(slot, code, t, milli, plan, state, journal, entries, work)
            if what != series.PRESENT:
                new = True
            if what >= 0 and s >= 0:
                mask |= np.uint64(1) << np.uint64(s)
            if not ecg and i + 1 < count:
                continue
            if not new:
                break
            now = max(state.newest_ms[slot], t)
            state.newest_ms[slot] = now
            if mask:
                events.row[n] = row
                events.slot[n] = slot
                events.mask[n] = mask
                events.t_ms[n] = t
                events.now_ms[n] = now
                events.journal[n] = entries
                _features(slot, mask, now, n, plan, state, blocks, work)
                n += 1
                mask = np.uint64(0)
        outcome[position] = APPLIED if new or known == 0 else DUPLICATE
    return n, entries
