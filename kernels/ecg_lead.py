"""One ECG lead through all kernels that listen to it, from samples to beats and episodes.

The state of a lead is one row: the detector's, then that of each listener. A listener hears each beat once, in order,
and a tick at every half second of the sample count, with the position up to which all beats are known. So nothing
depends on how the samples were cut. **A new listener** (classes of beats, quality, fibrillation) is a slice of the
row, a line in `_beat`, `_tick` and `_finish`, and an output of its own or more kinds of rows in `out_episode`.

`feed` and `flush` take samples. `follow` takes beats that somebody else marked, for records without a waveform: the
same listeners, without the detector.
"""

import numpy as np

from kernels import episodes, qrs
from kernels._jit import jit
from kernels._types import F64, I16, I64, Flag

__all__ = ["FLUSH_S", "ROW", "feed", "flush", "follow", "max_beats", "max_episodes"]

FLUSH_S = 3.6
"""Seconds of padding that `flush` may use."""

_TICK_S = 0.5
_CONFIRM_S = 0.5  # an R peak has gone through filter, average and confirmation after less
_LEARN_S = 3.05

L_TICK = qrs.STATE  # half seconds that are over
L_EPISODES = L_TICK + 1
ROW = L_EPISODES + episodes.STATE
"""Length of the state of one lead, float64. All zero is a new lead."""


@jit
def max_beats(n: int, rate: float) -> int:
    """Length that the outputs of beats need for `n` samples."""
    return qrs.max_beats(n, rate)


@jit
def max_episodes(n: int, beats: int, rate: float) -> int:
    """Rows that the output of episodes needs for `n` samples with at most `beats` beats."""
    return episodes.ROOM * (beats + int(n / (_TICK_S * rate)) + 3)


@jit
def _beat(row: F64, at: float, decided: float, lost: float, rate: float, out: I64, n: int) -> int:
    """Tell each listener of a beat; give the number of episode rows."""
    return episodes.beat(row[L_EPISODES:ROW], at, decided, lost, rate, out, n)


@jit
def _tick(
    row: F64, at: float, known: float, is_lost: Flag, lost: float, rate: float, out: I64, n: int
) -> int:
    """Tell each listener of a half second; give the number of episode rows."""
    return episodes.tick(row[L_EPISODES:ROW], at, known, is_lost, lost, rate, out, n)


@jit
def _finish(row: F64, at: float, is_lost: Flag, lost: float, rate: float, out: I64, n: int) -> int:
    """Tell each listener that the lead ends; give the number of episode rows."""
    return episodes.finish(row[L_EPISODES:ROW], at, is_lost, lost, rate, out, n)


@jit
def _next_tick(row: F64, rate: float) -> int:
    """Give the sample count of the next half second."""
    return int((row[L_TICK] + 1.0) * _TICK_S * rate)


@jit
def _is_lost(row: F64) -> bool:
    return row[qrs.S_BAD] >= np.floor(qrs.BAD_S * row[qrs.S_RATE])


@jit
def feed(
    row: F64, samples: I16, gain: float, coeffs: F64, out_beat: I64, out_decided: I64, out_episode: I64,
    counts: I64,
) -> int:  # fmt: skip
    """Take samples of a lead.

    Parameters
    ----------
    row : float64[ROW]
        State of the lead, changed in place; zeros for a new one. One rate and gain for its whole life.
    samples : int16[n]
        In units of ``1 / gain`` millivolt; -32768 and 32767 are no signal.
    gain : float
        Units per millivolt.
    coeffs : float64[kernels.qrs.COEFFS]
        From `engine.ecg_design.design`.
    out_beat, out_decided : int64[]
        Receive R peaks and the moments at which they were known, in samples since the lead's first. At least
        `max_beats` long.
    out_episode : int64[rows, 4]
        Receives what `kernels.episodes.beat` writes; at least `max_episodes` rows.
    counts : int64[2]
        Filled with the number of beats and of episode rows.

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
    if out_beat.size < room or out_decided.size < room or len(out_episode) < max_episodes(n, room, rate):
        return qrs.NO_ROOM
    beats = rows = at = 0
    while at < n:
        boundary = _next_tick(row, rate)
        end = min(n, at + boundary - int(row[qrs.S_N]))
        found = qrs.feed(row, samples[at:end], gain, coeffs, out_beat[beats:], out_decided[beats:])
        if found < 0:
            return found
        for i in range(beats, beats + found):
            position, decided = float(out_beat[i]), float(out_decided[i])
            rows = _beat(row, position, decided, row[qrs.S_BREAK], rate, out_episode, rows)
        beats += found
        at = end
        if row[qrs.S_N] >= boundary:
            row[L_TICK] += 1.0
            now, lost = row[qrs.S_N], row[qrs.S_BREAK]
            known = qrs.settled(row, coeffs)
            rows = _tick(row, now, known, _is_lost(row), lost, rate, out_episode, rows)
    counts[0] = beats
    counts[1] = rows
    return 0


@jit
def flush(
    row: F64, padding: I16, gain: float, coeffs: F64, out_beat: I64, out_decided: I64, out_episode: I64,
    counts: I64,
) -> int:  # fmt: skip
    """End a lead: decide what is pending, without waiting for samples that will not come.

    The detector is given `padding`, the last sample held for FLUSH_S: a line without a step adds no beat of its
    own. What it then decides counts as decided at the end. No more of it is taken than a beat needs to be
    confirmed, and learning to be over: with more, candidates that the next beat would have overruled grow old
    and are accepted, most of them T waves (10-second strips of mitdb DS1, false beats: 135, against 175).

    Parameters and result as for `feed`; the outputs need room for ``len(padding)`` samples.
    """
    rate = coeffs[qrs.C_RATE]
    counts[0] = counts[1] = 0
    length = row[qrs.S_N]
    if length == 0.0:
        return 0
    lost, is_lost = row[qrs.S_BREAK], _is_lost(row)
    wait_s = _CONFIRM_S
    if row[qrs.S_LEARNED] == 0.0:
        wait_s += max(_LEARN_S - (row[qrs.S_J] - row[qrs.S_LEARN_J]) / coeffs[qrs.C_WORK], 0.0)
    wait = min(int(wait_s * rate), padding.size)
    found = qrs.feed(row, padding[:wait], gain, coeffs, out_beat, out_decided)
    if found < 0:
        return found
    beats = rows = 0
    for i in range(found):
        if out_beat[i] < length:
            out_beat[beats] = out_beat[i]
            out_decided[beats] = int(length)
            rows = _beat(row, float(out_beat[beats]), length, lost, rate, out_episode, rows)
            beats += 1
    rows = _finish(row, length, is_lost, lost, rate, out_episode, rows)
    counts[0] = beats
    counts[1] = rows
    return 0


@jit
def follow(
    row: F64, beats: I64, lost_from: I64, lost_to: I64, length: int, rate: float, out_episode: I64
) -> int:
    """Take all beats of a record that were marked by somebody else, each known at its R peak.

    Parameters
    ----------
    row : float64[ROW]
        Zeros; changed in place.
    beats : int64[n]
        R peaks in samples, ascending, less than `length`.
    lost_from, lost_to : int64[k]
        Spans, ascending and apart, in which beats were not marked: beats there are passed over, and no interval is
        measured across one.
    length : int
        Samples of the record.
    rate : float
        Hz.
    out_episode : int64[rows, 4]
        As for `feed`; at least ``max_episodes(length, n + k, rate)`` rows.

    Returns
    -------
    int
        Number of episode rows.
    """
    rows = span = i = now = 0
    lost = 0.0
    inside = False
    while now < length:
        tick = _next_tick(row, rate)
        now = min(tick, length)
        if span < len(lost_from):
            now = min(now, lost_to[span] if inside else lost_from[span])
        while i < len(beats) and beats[i] < now:
            if not inside:
                rows = _beat(row, float(beats[i]), float(beats[i]), lost, rate, out_episode, rows)
            i += 1
        if inside and now == lost_to[span]:
            inside = False
            lost = float(now)
            span += 1
        elif span < len(lost_from) and now == lost_from[span]:
            inside = True
            rows = _tick(row, float(now), float(now), inside, lost, rate, out_episode, rows)
        if now == tick:
            row[L_TICK] += 1.0
            rows = _tick(row, float(now), float(now), inside, lost, rate, out_episode, rows)
    return _finish(row, float(length), inside, lost, rate, out_episode, rows)
