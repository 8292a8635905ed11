"""One ECG lead through all kernels that listen to it, from samples to beats and episodes.

The state of a lead is one row: the detector's, then that of each listener. A listener hears each beat once, in order,
and a tick at every half second of the sample count, with the position up to which all beats are known. So nothing
depends on how the samples were cut. **A new listener** is a slice of the row, a line in `_beat`, `_tick` and
`_finish`, and a number in `kernels.rhythms` for what it finds.

`feed` and `finish` take samples. `follow` takes beats that somebody else marked, for records without a waveform: the
same listeners, but for those that need samples.
"""

import numpy as np

from kernels import atrial_fibrillation as af
from kernels import episodes, qrs, rhythms, ventricular
from kernels._jit import jit
from kernels._types import F64, I16, I64, Flag

__all__ = ["FINISH_ROOM", "ROW", "feed", "finish", "follow", "max_beats", "max_rows", "next_tick", "restart"]

FINISH_ROOM = qrs.FINISH_ROOM
"""Beats that `finish` can give."""

_TICK_S = 0.5
_EVENTS = 16  # of the ventricular listener in half a second
_ROOM = episodes.ROOM + 2  # rows that one beat can bring

L_TICK = qrs.STATE  # half seconds that are over
L_HEARD = L_TICK + 1  # position of the newest beat; 0: none
L_EPISODES = L_HEARD + 1
L_AF = L_EPISODES + episodes.STATE
L_VENTRICULAR = L_AF + af.STATE
L_OUT = L_VENTRICULAR + ventricular.STATE  # what listeners write before it is told on
ROW = L_OUT + 5 * _EVENTS
"""Length of the state of one lead, float64. All zero is a new lead."""


@jit
def max_beats(n: int, rate: float) -> int:
    """Length that the outputs of beats need for `n` samples."""
    return qrs.max_beats(n, rate)


@jit
def max_rows(n: int, beats: int, rate: float) -> int:
    """Rows that the output of episodes needs for `n` samples with at most `beats` beats."""
    return (_ROOM + _EVENTS) * (beats + int(n / (_TICK_S * rate)) + 3)


# ---- Listeners.


@jit
def _beat(
    row: F64, at: float, ectopic: Flag, decided: float, lost: float, rate: float, out: I64, n: int
) -> int:
    """Tell each listener of a beat; give the number of rows."""
    n = episodes.beat(row[L_EPISODES:L_AF], at, decided, lost, rate, out, n)
    broken = row[L_HEARD] < lost <= at
    row[L_HEARD] = at
    said = row[L_OUT : L_OUT + 4]
    if af.take_beat(row[L_AF:L_VENTRICULAR], at, ectopic, broken, rate, said) != af.NONE:
        n = _atrial(said, decided, out, n)
    return n


@jit
def _atrial(said: F64, decided: float, out: I64, n: int) -> int:
    """Write what the listener to atrial fibrillation said."""
    end = -1.0 if np.isnan(said[1]) else said[1]
    return rhythms.write(out, n, rhythms.AF, said[0], end, max(decided, said[2]), said[3])


@jit
def _ventricular(row: F64, coeffs: F64, count: int, out: I64, n: int) -> int:
    """Write what the listener to the waveform said, in samples."""
    said = row[L_OUT : L_OUT + 4 * _EVENTS].view(np.int64)
    group = coeffs[qrs.C_GROUP]
    for i in range(count):
        kind = rhythms.VF if said[i] == ventricular.FIBRILLATION else rhythms.VT
        end = said[2 * _EVENTS + i] * group if said[2 * _EVENTS + i] >= 0 else -1.0
        n = rhythms.write(
            out, n, kind, said[_EVENTS + i] * group, end, said[3 * _EVENTS + i] * group,
            row[L_OUT + 4 * _EVENTS + i],
        )  # fmt: skip
    return n


@jit
def _wave(row: F64, coeffs: F64, models: F64, out: I64, n: int) -> int:
    """Tell the listeners to the waveform of the averaged samples since the last tick; give the number of rows."""
    said = row[L_OUT : L_OUT + 4 * _EVENTS].view(np.int64)
    count = ventricular.follow(
        row[L_VENTRICULAR:L_OUT], row[qrs.S_RING : qrs.S_RING + qrs.RING // 4].view(np.int16), row[qrs.S_OFFSET],
        int(row[qrs.S_J]), coeffs[qrs.C_WORK], models, said[:_EVENTS], said[_EVENTS : 2 * _EVENTS],
        said[2 * _EVENTS : 3 * _EVENTS], said[3 * _EVENTS :], row[L_OUT + 4 * _EVENTS : ROW],
    )  # fmt: skip
    return _ventricular(row, coeffs, count, out, n)


@jit
def _end_wave(row: F64, coeffs: F64, out: I64, n: int) -> int:
    said = row[L_OUT : L_OUT + 4 * _EVENTS].view(np.int64)
    count = ventricular.close(
        row[L_VENTRICULAR:L_OUT], int(row[qrs.S_J]), said[:_EVENTS], said[_EVENTS : 2 * _EVENTS],
        said[2 * _EVENTS : 3 * _EVENTS], said[3 * _EVENTS :], row[L_OUT + 4 * _EVENTS : ROW],
    )  # fmt: skip
    return _ventricular(row, coeffs, count, out, n)


@jit
def _finish(row: F64, at: float, is_lost: Flag, lost: float, rate: float, out: I64, n: int) -> int:
    """Tell each listener to beats that the lead ends; give the number of rows."""
    n = episodes.finish(row[L_EPISODES:L_AF], at, is_lost, lost, rate, out, n)
    said = row[L_OUT : L_OUT + 4]
    if af.end_segment(row[L_AF:L_VENTRICULAR], rate, said) != af.NONE:
        n = _atrial(said, at, out, n)
    return n


# ---- Sources.


@jit
def next_tick(row: F64, rate: float) -> int:
    """Give the sample count of the next half second."""
    return int((row[L_TICK] + 1.0) * _TICK_S * rate)


@jit
def _is_lost(row: F64) -> bool:
    return row[qrs.S_BAD] >= np.floor(qrs.BAD_S * row[qrs.S_RATE])


@jit
def restart(row: F64, keep_levels: Flag) -> None:
    """Begin a new segment at position 0; `keep_levels` as for `kernels.qrs.restart`."""
    qrs.restart(row, keep_levels)
    for i in range(qrs.STATE, ROW):
        row[i] = 0.0


@jit
def feed(
    row: F64, samples: I16, gain: float, coeffs: F64, models: F64, out_beat: I64, out_decided: I64, out: I64,
    counts: I64,
) -> int:  # fmt: skip
    """Take samples of a lead.

    Parameters
    ----------
    row : float64[ROW or more]
        State of the lead, changed in place; zeros for a new one. One rate and gain until `restart`.
    samples : int16[n]
        In units of ``1 / gain`` millivolt; -32768 and 32767 are no signal.
    gain : float
        Units per millivolt.
    coeffs : float64[kernels.qrs.COEFFS]
        From `engine.ecg_design.design`.
    models : float64[2, FEATURES + 1]
        `kernels.ventricular.MODELS`.
    out_beat, out_decided : int64[]
        Receive R peaks and the moments at which they were known, in samples since the lead's first. At least
        `max_beats` long.
    out : int64[rows, ROW_WIDTH]
        Receives rows of `kernels.rhythms`; at least `max_rows`.
    counts : int64[2]
        Filled with the number of beats and of rows.

    Returns
    -------
    int
        0, or ``qrs.NO_ROOM`` or ``qrs.BAD_GAIN``, and then nothing is taken.
    """
    n = samples.size
    rate = coeffs[qrs.C_RATE]
    counts[0] = counts[1] = 0
    if not 0.0 < gain < np.inf:
        return qrs.BAD_GAIN
    room = max_beats(n, rate)
    if out_beat.size < room or out_decided.size < room or len(out) < max_rows(n, room, rate):
        return qrs.NO_ROOM
    beats = rows = at = 0
    while at < n:
        boundary = next_tick(row, rate)
        end = min(n, at + boundary - int(row[qrs.S_N]))
        found = qrs.feed(row, samples[at:end], gain, coeffs, out_beat[beats:], out_decided[beats:])
        if found < 0:
            return found
        for i in range(beats, beats + found):
            position, decided = float(out_beat[i]), float(out_decided[i])
            rows = _beat(row, position, False, decided, row[qrs.S_BREAK], rate, out, rows)  # noqa: FBT003
        beats += found
        at = end
        if row[qrs.S_N] >= boundary:
            row[L_TICK] += 1.0
            now, lost = row[qrs.S_N], row[qrs.S_BREAK]
            known = qrs.settled(row, coeffs)
            rows = episodes.tick(row[L_EPISODES:L_AF], now, known, _is_lost(row), lost, rate, out, rows)
            rows = _wave(row, coeffs, models, out, rows)
    counts[0] = beats
    counts[1] = rows
    return 0


@jit
def finish(row: F64, coeffs: F64, out_beat: I64, out_decided: I64, out: I64, counts: I64) -> int:
    """End a lead: decide what is pending. `restart` must follow before more is fed.

    Parameters and result as for `feed`; the outputs of beats need FINISH_ROOM, that of episodes ``max_rows(0,
    FINISH_ROOM, rate)``.
    """
    rate = coeffs[qrs.C_RATE]
    counts[0] = counts[1] = 0
    length = row[qrs.S_N]
    if length == 0.0:
        return 0
    if len(out) < max_rows(0, FINISH_ROOM, rate):
        return qrs.NO_ROOM
    lost, is_lost = row[qrs.S_BREAK], _is_lost(row)
    rows = _end_wave(row, coeffs, out, 0)
    found = qrs.finish(row, coeffs, out_beat, out_decided)
    if found < 0:
        return found
    for i in range(found):
        rows = _beat(row, float(out_beat[i]), False, length, lost, rate, out, rows)  # noqa: FBT003
    rows = _finish(row, length, is_lost, lost, rate, out, rows)
    counts[0] = found
    counts[1] = rows
    return 0


@jit
def follow(
    row: F64, beats: I64, ectopic: I64, lost_from: I64, lost_to: I64, length: int, rate: float, out: I64
) -> int:
    """Take all beats of a record that were marked by somebody else, each known at its R peak.

    Parameters
    ----------
    row : float64[ROW]
        Zeros; changed in place.
    beats : int64[n]
        R peaks in samples, ascending, less than `length`.
    ectopic : int64[n]
        1 where the class is S, V, F or Q.
    lost_from, lost_to : int64[k]
        Spans, ascending and apart, in which beats were not marked: beats there are passed over, and no interval is
        measured across one.
    length : int
        Samples of the record.
    rate : float
        Hz.
    out : int64[rows, ROW_WIDTH]
        As for `feed`; at least ``max_rows(length, n + k, rate)`` rows.

    Returns
    -------
    int
        Number of rows.
    """
    rows = span = i = now = 0
    lost = 0.0
    inside = False
    while now < length:
        tick = next_tick(row, rate)
        now = min(tick, length)
        if span < len(lost_from):
            now = min(now, lost_to[span] if inside else lost_from[span])
        while i < len(beats) and beats[i] < now:
            if not inside:
                at = float(beats[i])
                rows = _beat(row, at, ectopic[i] > 0, at, lost, rate, out, rows)
            i += 1
        if inside and now == lost_to[span]:
            inside = False
            lost = float(now)
            span += 1
        elif span < len(lost_from) and now == lost_from[span]:
            inside = True
            rows = episodes.tick(row[L_EPISODES:L_AF], float(now), float(now), inside, lost, rate, out, rows)
        if now == tick:
            row[L_TICK] += 1.0
            rows = episodes.tick(row[L_EPISODES:L_AF], float(now), float(now), inside, lost, rate, out, rows)
    return _finish(row, float(length), inside, lost, rate, out, rows)
