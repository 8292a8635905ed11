"""One ECG lead through all kernels that listen to it, from samples to beats, their classes, episodes and quality.

The state of a lead is one row: the detector's, then that of each listener. Who listens to beats hears each once, in
order; who listens to their classes hears them a beat later; who listens to time hears a tick at every half second of
the sample count. So nothing depends on how the samples were cut. **A new listener** is a slice of the row, a line in
`_beat`, `_classed`, `_tick` and `finish`, and a number in `kernels.rhythms` for what it finds.

`feed` and `finish` take samples. `follow` takes beats that somebody else marked, for records without a waveform: the
same listeners, but for those that need samples.
"""

from typing import NamedTuple

import numpy as np

from kernels import atrial_fibrillation as af
from kernels import (
    beats,
    ectopy,
    episodes,
    holter,
    qrs,
    qrs_state,
    quality,
    rhythms,
    ventricular,
    ventricular_runs,
)
from kernels._jit import jit, jit_inline, jit_part
from kernels._types import F64, I16, I64, Flag
from kernels.prefetch import ask
from kernels.qrs_signal import BAD_S, CENTRE_STEPS, CENTRE_UV, FLAT_S, at_rail
from kernels.qrs_state import (
    C_GROUP,
    C_RATE,
    C_WORK,
    RING,
    S_BAD,
    S_BASE,
    S_BREAK,
    S_HELD,
    S_J,
    S_N,
    S_OFFSET,
    S_PHASE,
    S_RATE,
    S_RING,
    S_SAME,
)

__all__ = ["ROW", "Scratch", "feed", "finish", "finish_clock", "follow", "next_tick", "restart", "scratch"]

_TICK_S = 0.5
_EARLY_WEIGHT = 1.0 / 32.0
_EARLY_SHARE = 0.2
"""Of S among beats. mitdb DS1, duration of fibrillation: 0.15 to 0.25 give Se 99.3 to 99.1 and P+ 87.8 to 94.6; S
always left out: Se 92.3; never: P+ 80.6."""
_SAID = 2.0  # stage of an episode of fibrillation that is going on and was said
_LOST = 512  # samples: half a second at 1000 Hz, and a few
_EVENTS = 16  # of the listener to the waveform in half a second
_BEAT_ROWS = episodes.ROOM + 2 * (
    1 + ventricular_runs.ROOM + ectopy.ROOM
)  # rows that one beat and its class can bring
_TICK_ROWS = episodes.ROOM + _EVENTS + 4

L_TICK = qrs_state.STATE  # half seconds that are over
L_HEARD = L_TICK + 1  # position of the newest beat; 0: none
L_CLASSED = L_HEARD + 1  # position of the newest beat whose class is known
L_GRADE = L_CLASSED + 1  # quality now: 0 good, else its number in `kernels.rhythms`
L_GRADE_FROM = L_GRADE + 1
L_EARLY = L_GRADE_FROM + 1  # share of S among the beats, the last 32 or so
L_EPISODES = L_EARLY + 1
L_RUNS = L_EPISODES + episodes.STATE
L_ECTOPY = L_RUNS + ventricular_runs.STATE
L_HOLTER = L_ECTOPY + ectopy.STATE
L_HOUR = L_HOLTER - ectopy.COUNTS  # the last of ectopy's state
L_AF = L_HOLTER + holter.STATE
L_BEATS = L_AF + af.STATE
L_QUALITY = L_BEATS + beats.BEATS_STATE
L_WAVE = L_QUALITY + quality.QUALITY
ROW = L_WAVE + ventricular.STATE
"""Length of the state of one lead, float64. All zero is a new lead."""


class Scratch(NamedTuple):
    """What one thread writes on: what was found last, and what is of no use afterwards (`scratch` makes it).

    The first ``counts[0]`` of `beat` and `decided` are R peaks and the moments at which they were known; the first
    ``counts[1]`` of `kind` are classes, of the beats in their order, each a beat later than the beat; the first
    ``counts[2]`` of `rows` are rows of `kernels.rhythms`. Positions are samples since the lead's first.
    """

    counts: I64
    beat: I64
    decided: I64
    kind: I64
    rows: I64
    models: F64
    said: F64
    classed: I64
    events: I64
    confidence: F64
    wave: F64
    shape: F64
    irregular: F64
    around: F64
    lost: I16  # half a second without signal, at any rate
    ahead: I64  # addresses of what the next lead will need, for `kernels.prefetch.ask`


def scratch(seconds: float) -> Scratch:
    """Make the scratch of one thread for `feed` with at most so many seconds, or at most so many beats a `follow`."""
    most = qrs.max_beats(int(seconds * 100.0) + 1, 100.0) + qrs.FINISH_ROOM
    ticks = int(seconds / _TICK_S) + 3
    rows = (most + 2) * _BEAT_ROWS + ticks * _TICK_ROWS + holter.ROOM * holter.closings(seconds)
    return Scratch(
        counts=np.zeros(3, np.int64),
        beat=np.empty(most, np.int64),
        decided=np.empty(most, np.int64),
        kind=np.empty(most + 2, np.int64),
        rows=np.empty((rows, rhythms.ROW_WIDTH), np.int64),
        models=ventricular.MODELS,
        said=np.empty(4),
        classed=np.empty(3, np.int64),
        events=np.empty(4 * _EVENTS, np.int64),
        confidence=np.empty(_EVENTS),
        wave=np.empty(ventricular.WORK),
        shape=np.zeros(beats.SCRATCH),
        irregular=np.empty(af.SCRATCH),
        around=np.empty(quality.SCRATCH),
        lost=np.full(_LOST, -32768, np.int16),
        ahead=np.zeros(2, np.int64),
    )


# ---- Listeners.


@jit
def _classed(row: F64, at: float, kind: int, now: float, lost: float, rate: float, work: Scratch) -> None:
    """Tell who listens to classes of the next beat."""
    n = int(work.counts[2])
    broken = row[L_CLASSED] < lost <= at
    row[L_CLASSED] = at
    # Where early beats are many, irregularity makes them: they are not left out, or fibrillation would vanish.
    share = row[L_EARLY] + _EARLY_WEIGHT * ((1.0 if kind == beats.S else 0.0) - row[L_EARLY])
    row[L_EARLY] = share
    left_out = kind == beats.V or kind == beats.Q or (kind == beats.S and share < _EARLY_SHARE)
    n = ventricular_runs.beat(row[L_RUNS:L_ECTOPY], at, kind == beats.V, broken, now, rate, work.rows, n)
    fibrillates = row[L_AF + af.A_STAGE] == _SAID
    said_kind = beats.N if kind == beats.S and fibrillates else kind  # an early beat of fibrillation is no S
    n = holter.beat(
        row[L_HOLTER:L_AF],
        row[L_HOUR:L_HOLTER],
        row[L_AF:L_BEATS],
        at,
        said_kind,
        broken,
        int(row[L_GRADE]),
        fibrillates,
        now,
        rate,
        work.rows,
        n,
    )
    n = ectopy.beat(row[L_ECTOPY:L_HOLTER], at, said_kind, broken, fibrillates, now, rate, work.rows, n)
    if af.take_beat(row[L_AF:L_BEATS], at, left_out, broken, rate, work.irregular, work.said) != af.NONE:
        n = _atrial(work, now, n)
    work.kind[work.counts[1]] = said_kind
    work.counts[1] += 1
    work.counts[2] = n


@jit_inline
def _atrial(work: Scratch, now: float, n: int) -> int:
    """Write what the listener to atrial fibrillation said."""
    said = work.said
    end = -1.0 if np.isnan(said[1]) else said[1]
    return rhythms.write(work.rows, n, rhythms.AF, said[0], end, max(now, said[2]), said[3])


@jit_part
def _beat(row: F64, at: float, decided: float, now: float, lost: float, coeffs: F64, work: Scratch) -> None:
    """Tell each listener of a beat that the detector found."""
    rate = coeffs[C_RATE]
    work.counts[2] = episodes.beat(
        row[L_EPISODES:L_RUNS], at, decided, lost, rate, work.rows, int(work.counts[2])
    )
    quality.beat(row[L_QUALITY:L_WAVE], at)
    unbroken = not row[L_HEARD] < lost <= at
    row[L_HEARD] = at
    out = work.classed
    if beats.next_beat(
        row[L_BEATS:L_QUALITY], row[S_RING : S_RING + RING // 4].view(np.int16), int(row[S_J]) - 1,
        rate, coeffs[C_GROUP], at, now, unbroken, work.shape, out,
    ):  # fmt: skip
        _classed(row, float(out[0]), int(out[1]), float(out[2]), lost, rate, work)


@jit_part
def _graded(row: F64, grade: int, at: float, work: Scratch) -> None:
    """Write where the quality changes."""
    kind = 0
    if grade == quality.UNUSABLE:
        kind = rhythms.UNUSABLE
    elif grade == quality.QRS_ONLY:
        kind = rhythms.QRS_ONLY
    before = int(row[L_GRADE])
    if kind == before:
        return
    n = int(work.counts[2])
    if before > 0:
        n = rhythms.write(work.rows, n, before, row[L_GRADE_FROM], at, row[L_GRADE_FROM], 1.0)
    if kind > 0:
        n = rhythms.write(work.rows, n, kind, at, -1.0, at, 1.0)
    row[L_GRADE] = kind
    row[L_GRADE_FROM] = at
    work.counts[2] = n


@jit_part
def _wave(coeffs: F64, count: int, work: Scratch) -> None:
    """Write what the listener to the waveform said, in samples."""
    said = work.events
    group = coeffs[C_GROUP]
    n = int(work.counts[2])
    for i in range(count):
        kind = rhythms.VF if said[i] == ventricular.FIBRILLATION else rhythms.VT
        end = said[2 * _EVENTS + i] * group if said[2 * _EVENTS + i] >= 0 else -1.0
        n = rhythms.write(
            work.rows,
            n,
            kind,
            said[_EVENTS + i] * group,
            end,
            said[3 * _EVENTS + i] * group,
            work.confidence[i],
        )
    work.counts[2] = n


@jit_part
def _tick(row: F64, coeffs: F64, work: Scratch) -> None:
    """Tell who listens to time that a half second is over."""
    rate = coeffs[C_RATE]
    now, lost = row[S_N], row[S_BREAK]
    ring = row[S_RING : S_RING + RING // 4].view(np.int16)
    row[L_TICK] += 1.0
    work.counts[2] = episodes.tick(
        row[L_EPISODES:L_RUNS], now, qrs.settled(row, coeffs), _is_lost(row), lost, rate, work.rows,
        int(work.counts[2]),
    )  # fmt: skip
    out = work.classed
    if beats.tick(
        row[L_BEATS:L_QUALITY], ring, int(row[S_J]) - 1, rate, coeffs[C_GROUP], now, work.shape, out
    ):
        _classed(row, float(out[0]), int(out[1]), float(out[2]), lost, rate, work)
    said = work.events
    count = ventricular.follow(
        row[L_WAVE:ROW], ring, row[S_OFFSET], int(row[S_J]), coeffs[C_WORK], work.models, work.wave,
        said[:_EVENTS], said[_EVENTS : 2 * _EVENTS], said[2 * _EVENTS : 3 * _EVENTS], said[3 * _EVENTS :],
        work.confidence,
    )  # fmt: skip
    _wave(coeffs, count, work)
    ask(work.ahead)
    if (
        int(row[L_TICK]) % 2 == 0
        and quality.second(row[L_QUALITY:L_WAVE], row, coeffs, now, work.around) >= 0
    ):
        _graded(row, quality.ten_seconds(row[L_QUALITY:L_WAVE], row), now, work)
    work.counts[2] = holter.tick(
        row[L_HOLTER:L_AF], row[L_HOUR:L_HOLTER], row[L_AF:L_BEATS], now, rate, work.rows, int(work.counts[2])
    )


# ---- Sources.


@jit
def next_tick(row: F64, rate: float) -> int:
    """Give the sample count of the next half second."""
    return int((row[L_TICK] + 1.0) * _TICK_S * rate)


@jit_inline
def _is_lost(row: F64) -> bool:
    return row[S_BAD] >= np.floor(BAD_S * row[S_RATE])


@jit
def _alike(samples: I16, at: int, end: int) -> int:
    """Give the end of the samples from `at` that are all signal, or all none; `end` at most.

    A beat is told of before the loss that follows it is taken: what a loss does to the detector's ring would else
    reach the beat's class, where both came in one piece.
    """
    none = 0
    for i in range(at, end):
        none += at_rail(int(samples[np.uint64(i)]))
    if none == 0 or none == end - at:
        return end
    lost = at_rail(int(samples[at]))
    i = at + 1
    while at_rail(int(samples[i])) == lost:
        i += 1
    return i


@jit
def _before_change(row: F64, samples: I16, at: int, end: int) -> int:
    """Give the end of a flat line among the samples from `at`, where the detector begins anew after it; else `end`.

    As for `_alike`: what was found in the flat line is told of before. Pieces are shorter than the shortest flat line,
    so that it has begun before.
    """
    if row[S_SAME] + (end - at) < np.floor(FLAT_S * row[S_RATE]):
        return end
    i = at
    while i < end and int(samples[i]) == int(row[S_HELD]):
        i += 1
    return i if i > at else end


@jit
def _before_centring(row: F64, samples: I16, at: int, end: int, gain: float, group: int) -> int:
    """Give where the averaged sample begins before which the detector's ring may be centred again; else `end`.

    As for `_alike`: centring cuts off what lies far from the new middle, and a beat found before is to have its class
    from the ring as it was. Where no more is known than that a sample is far, it is taken to be so.
    """
    left = -int(row[S_J]) & (CENTRE_STEPS - 1)
    first = at + left * group - int(row[S_PHASE])
    if left == 0 or first >= end:
        return end
    scale = 1000.0 / gain
    for i in range(first, min(first + group, samples.size)):
        raw = float(row[S_HELD]) if at_rail(int(samples[i])) else float(samples[i])
        far = abs((raw - row[S_BASE]) * scale - row[S_OFFSET])
        # A signal that comes back is measured from its first sample.
        if max(far, abs(raw - float(samples[at])) * scale) >= CENTRE_UV:
            return first
    return end


@jit
def restart(row: F64, keep_levels: Flag) -> None:
    """Begin a new segment at position 0; `keep_levels` as for `kernels.qrs.restart`, and for the patient's shapes."""
    qrs.restart(row, keep_levels)
    for i in range(qrs_state.STATE, ROW):
        if not (keep_levels and L_BEATS <= i < L_QUALITY):
            row[i] = 0.0


@jit
def feed(row: F64, samples: I16, gain: float, coeffs: F64, work: Scratch) -> int:
    """Take samples of a lead.

    Parameters
    ----------
    row : float64[ROW or more]
        State of the lead, changed in place; zeros for a new one. One rate and gain until `restart`.
    samples : int16[n]
        In units of ``1 / gain`` millivolt; -32768, -32767 and 32767 are no signal. No longer than `work` was made for.
    gain : float
        Units per millivolt.
    coeffs : float64[kernels.qrs_state.COEFFS]
        From `engine.ecg_design.design`.
    work : Scratch
        Receives what was found.

    Returns
    -------
    int
        0, or ``qrs.NO_ROOM`` or ``qrs.BAD_GAIN``, and then nothing is taken.
    """
    n = samples.size
    rate = coeffs[C_RATE]
    work.counts[:] = 0
    if not 0.0 < gain < np.inf:
        return qrs.BAD_GAIN
    room = qrs.max_beats(n, rate)
    ticks = int(n / (_TICK_S * rate)) + 2
    rows = room * _BEAT_ROWS + ticks * _TICK_ROWS + holter.ROOM * holter.closings(n / rate)
    if work.beat.size < room or len(work.rows) < rows:
        return qrs.NO_ROOM
    at = 0
    while at < n:
        boundary = next_tick(row, rate)
        end = min(n, at + boundary - int(row[S_N]))
        end = _before_change(row, samples, at, _alike(samples, at, end))
        end = _before_centring(row, samples, at, end, gain, int(coeffs[C_GROUP]))
        first = int(work.counts[0])
        found = qrs.feed(row, samples[at:end], gain, coeffs, work.beat[first:], work.decided[first:])
        if found < 0:
            return found
        ask(work.ahead)
        for i in range(first, first + found):
            # The moment of decision is a position of the stream, not the end of what was fed.
            decided = float(work.decided[i])
            _beat(row, float(work.beat[i]), decided, decided, row[S_BREAK], coeffs, work)
        work.counts[0] += found
        ask(work.ahead)
        at = end
        if row[S_N] >= boundary:
            _tick(row, coeffs, work)
            ask(work.ahead)
    return 0


@jit
def finish(row: F64, coeffs: F64, work: Scratch) -> int:
    """End a lead: decide what is pending. `restart` must follow before more is fed. Result as for `feed`."""
    rate = coeffs[C_RATE]
    work.counts[:] = 0
    length = row[S_N]
    if length == 0.0:
        return 0
    lost, is_lost = row[S_BREAK], _is_lost(row)
    said = work.events
    count = ventricular.close(
        row[L_WAVE:ROW], int(row[S_J]), said[:_EVENTS], said[_EVENTS : 2 * _EVENTS],
        said[2 * _EVENTS : 3 * _EVENTS], said[3 * _EVENTS :], work.confidence,
    )  # fmt: skip
    _wave(coeffs, count, work)
    _graded(row, quality.GOOD, length, work)
    found = qrs.finish(row, coeffs, work.beat, work.decided)
    if found < 0:
        return found
    for i in range(found):
        _beat(row, float(work.beat[i]), length, length, lost, coeffs, work)
    work.counts[0] = found
    out = work.classed
    ring = row[S_RING : S_RING + RING // 4].view(np.int16)
    if beats.close(
        row[L_BEATS:L_QUALITY],
        ring,
        int(row[S_J]) - 1,
        rate,
        coeffs[C_GROUP],
        length,
        work.shape,
        out,
    ):
        _classed(row, float(out[0]), int(out[1]), float(out[2]), lost, rate, work)
    _finish_beats(row, length, is_lost, lost, rate, work)
    return 0


@jit
def _finish_beats(row: F64, at: float, is_lost: Flag, lost: float, rate: float, work: Scratch) -> None:
    """Tell who listens to beats and their classes that the lead ends."""
    n = episodes.finish(row[L_EPISODES:L_RUNS], at, is_lost, lost, rate, work.rows, int(work.counts[2]))
    n = ventricular_runs.finish(row[L_RUNS:L_ECTOPY], work.rows, n)
    n = ectopy.finish(row[L_ECTOPY:L_HOLTER], rate, work.rows, n)
    n = holter.finish(row[L_HOLTER:L_AF], row[L_HOUR:L_HOLTER], row[L_AF:L_BEATS], at, rate, work.rows, n)
    if af.end_segment(row[L_AF:L_BEATS], rate, work.said) != af.NONE:
        n = _atrial(work, at, n)
    work.counts[2] = n


@jit
def finish_clock(row: F64, work: Scratch) -> None:
    """Sum up the minutes that are running, where a lead ends without `finish`."""
    work.counts[:] = 0
    work.counts[2] = holter.finish(
        row[L_HOLTER:L_AF],
        row[L_HOUR:L_HOLTER],
        row[L_AF:L_BEATS],
        row[S_N],
        row[S_RATE],
        work.rows,
        0,
    )


@jit
def follow(
    row: F64, marked: I64, kinds: I64, lost_from: I64, lost_to: I64, length: int, rate: float, work: Scratch
) -> int:
    """Take all beats of a record that were marked by somebody else, each known at its R peak.

    Parameters
    ----------
    row : float64[ROW]
        Zeros; changed in place.
    marked : int64[n]
        R peaks in samples, ascending, less than `length`.
    kinds : int64[n]
        Class of each, as `kernels.beats` numbers them.
    lost_from, lost_to : int64[k]
        Spans, ascending and apart, in which beats were not marked: beats there are passed over, and no interval is
        measured across one.
    length : int
        Samples of the record.
    rate : float
        Hz.
    work : Scratch
        Its rows are for ``n + k`` beats and the record's seconds (`scratch` of enough seconds).

    Returns
    -------
    int
        Number of rows, or ``qrs.NO_ROOM``.
    """
    work.counts[:] = 0
    ticks = int(length / (_TICK_S * rate)) + 2
    if work.kind.size < len(marked) or len(work.rows) < _followed(len(marked), len(lost_from), ticks):
        return qrs.NO_ROOM
    span = i = now = 0
    lost = 0.0
    inside = False
    while now < length:
        tick = next_tick(row, rate)
        now = min(tick, length)
        if span < len(lost_from):
            now = min(now, lost_to[span] if inside else lost_from[span])
        while i < len(marked) and marked[i] < now:
            if not inside:
                at = float(marked[i])
                n = int(work.counts[2])
                work.counts[2] = episodes.beat(row[L_EPISODES:L_RUNS], at, at, lost, rate, work.rows, n)
                _classed(row, at, int(kinds[i]), at, lost, rate, work)
            i += 1
        if inside and now == lost_to[span]:
            inside = False
            lost = float(now)
            span += 1
        elif span < len(lost_from) and now == lost_from[span]:
            inside = True
            _tick_beats(row, float(now), inside, lost, rate, work)
        if now == tick:
            row[L_TICK] += 1.0
            _tick_beats(row, float(now), inside, lost, rate, work)
    _finish_beats(row, float(length), inside, lost, rate, work)
    return int(work.counts[2])


@jit
def _followed(beats_n: int, spans: int, ticks: int) -> int:
    """Rows that `follow` may write."""
    minutes = holter.closings(ticks * _TICK_S)
    return (beats_n + 1) * _BEAT_ROWS + (ticks + spans) * episodes.ROOM + holter.ROOM * minutes


@jit
def _tick_beats(row: F64, now: float, is_lost: Flag, lost: float, rate: float, work: Scratch) -> None:
    """Tell who listens to beats and time of a moment."""
    n = int(work.counts[2])
    n = episodes.tick(row[L_EPISODES:L_RUNS], now, now, is_lost, lost, rate, work.rows, n)
    work.counts[2] = holter.tick(
        row[L_HOLTER:L_AF], row[L_HOUR:L_HOLTER], row[L_AF:L_BEATS], now, rate, work.rows, n
    )
