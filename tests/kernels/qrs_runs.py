"""Leads through the QRS detector in parts, and plain forms that several tests compare it with."""

import numpy as np

from engine.ecg_design import design
from ingest.simulator.ecg import Rhythm, synthesize
from kernels import qrs, qrs_state

KINDS = (Rhythm.SINUS, Rhythm.ECTOPY, Rhythm.ATRIAL_FIBRILLATION, Rhythm.PAUSES, Rhythm.TACHYCARDIA)


def lead(seed, seconds=40.0, rate=250.0, noise=0.02):
    return synthesize(KINDS[seed % len(KINDS)], seconds, seed, rate_hz=rate, noise_mv=noise)


def detect(samples, rate, gain, cuts=(), after=None):
    """Give beats, when each was decided, and the state; `after` is called with the state after each part."""
    state, coeffs = np.zeros(qrs_state.STATE), design(rate)
    beats, decided = [], []
    for part in np.split(samples, cuts):
        room = qrs.max_beats(len(part), rate)
        at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)
        count = qrs.feed(state, part, gain, coeffs, at, when)
        assert count >= 0
        beats += at[:count].tolist()
        decided += when[:count].tolist()
        if after is not None:
            after(state)
    return beats, decided, state


def maxima(x, hold):
    """Yield (where, when) a local maximum stayed the highest for `hold` steps."""
    climbing, top = False, 0
    for j in range(len(x)):
        if not climbing:
            if x[j] > (x[j - 1] if j else 0):
                climbing, top = True, j
        elif x[j] > x[top]:
            top = j
        elif j - top >= hold:
            climbing = False
            yield top, j
