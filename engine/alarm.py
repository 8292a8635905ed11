"""Does a monitor's arrhythmia alarm hold? Judged from the ECG leads up to the moment of the alarm, and nothing later.

A lead is heard by what it can say: one without signal says nothing, and an alarm that no lead can speak of holds,
since silence must not suppress an alarm. To miss a true alarm costs five times what a false one does (PhysioNet/CinC
Challenge 2015), so the limits lie on the side of the alarm, and leads are put together so that noise, which makes
beats, hides a pause in one lead only if the other agrees:

===========  ======================================================================================================
ASYSTOLE     no QRS for 3.5 s (4 s less half a second for the position of beats) in every lead that ever had a beat;
             when none had one in all the time before, the leads are off: it does not hold
BRADYCARDIA  five beats under 45 a minute (40 and a margin) in every lead
TACHYCARDIA  seventeen beats over 100 a minute in any lead (140 is the limit; under 100 there is no tachycardia)
VF           fibrillation, flutter or tachycardia by the waveform, in any lead
VT           the same; or five beats over 115 a minute in every lead: without the class of beats, speed alone
===========  ======================================================================================================

When the classes of beats come (runs of five V at over 100 a minute), they join VT with *or*, and take the place of
speed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from engine.ecg_design import design
from engine.whole_lead import averaged, follow
from kernels import alarm, qrs

__all__ = ["Alarm", "Lead", "holds"]

F64 = npt.NDArray[np.float64]

_WINDOW_S = 15.0  # what ends earlier before the alarm has not raised it
_ASYSTOLE_S = 3.5
_SLOW = 45.0
_FAST17 = 100.0
_FAST5 = 115.0


class Alarm(StrEnum):
    """Types of alarm."""

    ASYSTOLE = "Asystole"
    BRADYCARDIA = "Bradycardia"
    TACHYCARDIA = "Tachycardia"
    VT = "Ventricular_Tachycardia"
    VF = "Ventricular_Flutter_Fib"


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead from the beginning of the record; -32768 and 32767 are no signal."""

    samples: npt.NDArray[np.int16]
    rate_hz: float
    gain: float  # units per millivolt


def _beats(lead: Lead) -> tuple[npt.NDArray[np.int64], float]:
    """Beats, and the position up to which all are known."""
    state, coeffs = np.zeros(qrs.STATE), design(lead.rate_hz)
    room = qrs.max_beats(len(lead.samples), lead.rate_hz)
    at, decided = np.zeros(room, np.int64), np.zeros(room, np.int64)
    count = qrs.feed(state, lead.samples, lead.gain, coeffs, at, decided)
    if count < 0:
        msg = f"gain {lead.gain} is not a positive number of units per millivolt"
        raise ValueError(msg)
    return at[:count], qrs.settled(state, coeffs)


def _measures(lead: Lead) -> F64:
    beats, until = _beats(lead)
    out = np.zeros(alarm.MEASURES)
    alarm.measure(beats, lead.rate_hz, len(lead.samples) - _WINDOW_S * lead.rate_hz, until, out)
    return out


def _ventricular(lead: Lead) -> bool:
    """Say whether an episode by the waveform reaches into the window."""
    judged = follow(*averaged(lead.samples, lead.rate_hz, lead.gain))
    begin = len(lead.samples) - _WINDOW_S * lead.rate_hz
    return any(end >= begin for _, _, end, _ in judged.episodes)


def holds(kind: Alarm, leads: Sequence[Lead], at_s: float) -> bool:
    """Judge an alarm.

    Parameters
    ----------
    kind : Alarm
        What the monitor said.
    leads : sequence of Lead
        The ECG leads, one or several. Samples after the alarm are not looked at.
    at_s : float
        Moment of the alarm, seconds from the first sample.

    Returns
    -------
    bool
        False: the alarm is false.

    Raises
    ------
    ValueError
        A lead's rate or gain is not legal.
    """
    heard = [Lead(lead.samples[: round(at_s * lead.rate_hz)], lead.rate_hz, lead.gain) for lead in leads]
    if kind is Alarm.VF:
        return any(_ventricular(lead) for lead in heard) or not heard
    measures = [out for out in map(_measures, heard) if out[alarm.A_BEATS] > 0.0]
    if not measures:
        return kind is not Alarm.ASYSTOLE or not heard
    table = np.array(measures)
    # A comparison with NaN (too few beats to have a rate) is false.
    if kind is Alarm.ASYSTOLE:
        return bool(np.all(table[:, alarm.A_GAP_S] >= _ASYSTOLE_S))
    if kind is Alarm.BRADYCARDIA:
        return bool(np.all(~(table[:, alarm.A_SLOW5] >= _SLOW)))
    if kind is Alarm.TACHYCARDIA:
        return bool(np.any(~(table[:, alarm.A_FAST17] <= _FAST17)))
    quick = bool(np.all(table[:, alarm.A_FAST5] >= _FAST5))
    return quick or any(_ventricular(lead) for lead in heard)
