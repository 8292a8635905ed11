"""Does a monitor's arrhythmia alarm hold? Judged from the ECG leads up to the moment of the alarm, and nothing later.

Each lead comes as an `Analysis` that ends at that moment. To miss a true alarm costs five times what a false one does
(PhysioNet/CinC Challenge 2015), so the limits lie on the side of the alarm. Leads are put together such that noise,
which makes beats, hides a pause in one lead only if the other agrees:

===========  ======================================================================================================
ASYSTOLE     no QRS for 3.5 s (4 s less half a second for the position of beats) in every lead that ever had a beat;
             when none had one in all the time before, the leads are off: it does not hold
BRADYCARDIA  five beats under 45 a minute (40 and a margin) in every lead that ever had a beat
TACHYCARDIA  seventeen beats over 110 a minute in any lead (140 is the definition; 95 to 120 judge alike here, and a
             detector that misses one beat in five reads 140 as 112)
VT           five V beats in a row at over 100 a minute (the definition), or an episode of VT or VF, in any lead
VF           an episode of VF in any lead, or five V beats at over 200 a minute: flutter
===========  ======================================================================================================

Unusable is not an alarm: for TACHYCARDIA and VT what lies for more than half in *unusable* quality is not counted (20
to 80 % judge alike). Not so for VF, which takes the quality with it, nor where beats are missing: a pause is never
hidden by quality. A lead without any beat says nothing of beats, and but for ASYSTOLE an alarm of which no lead can
speak holds: silence must not suppress it.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from engine.ecg_analysis import UNUSABLE, Analysis, Spans, analyse
from ingest.formats.lead import Lead
from kernels import alarm

__all__ = ["Alarm", "holds", "until"]

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_WINDOW_S = 15.0  # what ends earlier before the alarm has not raised it
_ASYSTOLE_S = 3.5
_SLOW = 45.0
_FAST, _FAST_BEATS = 110.0, 17
_VT, _VT_BEATS = 100.0, 5
_FLUTTER = 200.0
_MOST_UNUSABLE = 0.5


class Alarm(StrEnum):
    """Types of alarm."""

    ASYSTOLE = "Asystole"
    BRADYCARDIA = "Bradycardia"
    TACHYCARDIA = "Tachycardia"
    VT = "Ventricular_Tachycardia"
    VF = "Ventricular_Flutter_Fib"


def until(lead: Lead, at_s: float) -> Analysis:
    """Analyse a lead up to the moment of an alarm, as if nothing had come after.

    Parameters
    ----------
    lead : Lead
    at_s : float
        Seconds from the first sample.

    Raises
    ------
    ValueError
        The lead ends before, or the moment is not after the first sample.
    """
    end = round(at_s * lead.rate_hz)
    if not 0 < end <= len(lead.samples):
        length_s = len(lead.samples) / lead.rate_hz
        msg = f"an alarm at {at_s:g} s; legal are moments up to the end of the record, {length_s:g} s"
        raise ValueError(msg)
    return analyse(Lead(lead.channel, lead.rate_hz, lead.gain, lead.samples[:end]))


def holds(kind: Alarm, leads: Sequence[Analysis]) -> bool:
    """Judge an alarm.

    Parameters
    ----------
    kind : Alarm
        What the monitor said.
    leads : sequence of Analysis
        The ECG leads, one or several, each up to the alarm (`until`).

    Returns
    -------
    bool
        False: the alarm is false.
    """
    if kind is Alarm.VF:
        return not leads or any(_fibrillates(lead) for lead in leads)
    beating = [lead for lead in leads if len(lead.beats)]
    if not beating:
        return kind is not Alarm.ASYSTOLE or not leads
    if kind is Alarm.ASYSTOLE:
        return all(_measures(lead)[alarm.A_GAP_S] >= _ASYSTOLE_S for lead in beating)
    if kind is Alarm.BRADYCARDIA:
        # Too few beats to have a rate: NaN, and no comparison with it is true.
        return not any(_measures(lead)[alarm.A_SLOW5] >= _SLOW for lead in beating)
    if kind is Alarm.TACHYCARDIA:
        speaking = [lead for lead in beating if len(lead.beats) >= _FAST_BEATS]
        return not speaking or any(_run(lead, _FAST_BEATS, _FAST, usable=True) for lead in speaking)
    return any(_tachycardia(lead) for lead in leads)


def _fibrillates(lead: Analysis) -> bool:
    return _episode(lead, ("VF",)) or _run(lead, _VT_BEATS, _FLUTTER, "V")


def _tachycardia(lead: Analysis) -> bool:
    return _run(lead, _VT_BEATS, _VT, "V", usable=True) or _episode(lead, ("VT", "VF"), usable=True)


def _begin(lead: Analysis) -> float:
    return lead.length - _WINDOW_S * lead.rate_hz


def _measures(lead: Analysis) -> F64:
    out = np.zeros(alarm.MEASURES)
    alarm.measure(lead.beats, lead.rate_hz, _begin(lead), float(lead.length), out)
    return out


def _run(lead: Analysis, beats: int, least: float, kind: str = "", *, usable: bool = False) -> bool:
    """Say whether so many beats at `least` a minute or more, all of class `kind` if given, end in the window."""
    steps = beats - 1
    start, end = lead.beats[:-steps], lead.beats[steps:]
    found = (end >= _begin(lead)) & (60.0 * steps * lead.rate_hz >= least * (end - start))
    for k in np.flatnonzero(found).tolist():
        of_kind = not kind or (lead.classes is not None and set(lead.classes[k : k + beats]) == {kind})
        if of_kind and not (usable and _is_unusable(lead, int(start[k]), int(end[k]))):
            return True
    return False


def _episode(lead: Analysis, labels: Sequence[str], *, usable: bool = False) -> bool:
    """Say whether an episode of one of `labels` reaches into the window."""
    rhythm = lead.rhythm
    return any(
        label in labels and end >= _begin(lead) and not (usable and _is_unusable(lead, start, end))
        for start, end, label in zip(rhythm.start.tolist(), rhythm.end.tolist(), rhythm.label, strict=True)
    )


def _is_unusable(lead: Analysis, start: int, end: int) -> bool:
    """Say whether more than half of `start` to `end` is unusable."""
    if lead.quality is None or end <= start:
        return False
    bad = _covered(lead.quality, start, end)
    return float(np.count_nonzero(bad)) > _MOST_UNUSABLE * (end - start)


def _covered(quality: Spans, start: int, end: int) -> Flags:
    """Mark the samples that are unusable; spans may overlap."""
    bad = np.zeros(end - start, np.bool_)
    for low, high, label in zip(quality.start.tolist(), quality.end.tolist(), quality.label, strict=True):
        if label == UNUSABLE and low < end and high > start:
            bad[max(low - start, 0) : high - start] = True
    return bad
