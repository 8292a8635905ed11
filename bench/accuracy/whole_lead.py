"""A whole lead through the ventricular kernel alone, its windows too: for figures of accuracy and for the fit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.ecg_design import design
from kernels import qrs_state, ventricular
from kernels.fibrillation_features import FEATURES

__all__ = ["Judged", "averaged", "follow"]

F64 = npt.NDArray[np.float64]

_RING = 1024


@dataclass(slots=True)
class Judged:
    """What came out of one record."""

    episodes: list[tuple[int, int, int, int]]  # kind, onset, end, decided, in samples
    at_s: F64  # end of each full window
    figures: F64  # of the windows that the models judged, else NaN


def averaged(
    samples: npt.NDArray[np.int16], rate_hz: float, gain: float
) -> tuple[npt.NDArray[np.int16], float, int]:
    """Average in groups, as the stream does: microvolts, their rate, and samples in a group."""
    coeffs = design(rate_hz)
    group = int(coeffs[qrs_state.C_GROUP])
    raw = samples.astype(np.float64)
    bad = np.abs(raw) >= 32767.0
    good = np.flatnonzero(~bad)
    # What is not valid holds the newest valid value.
    held = np.maximum.accumulate(np.where(bad, 0, np.arange(len(raw))))
    raw = raw[held] - (raw[good[0]] if len(good) else 0.0)
    x = raw[: len(raw) // group * group].reshape(-1, group).mean(axis=1) * 1000.0 / gain
    return np.clip(np.rint(x), -32767, 32767).astype(np.int16), float(coeffs[qrs_state.C_WORK]), group


def follow(x: npt.NDArray[np.int16], work_hz: float, group: int, models: F64 = ventricular.MODELS) -> Judged:
    """Stream a lead through the kernel, half second by half second."""
    state, ring = np.zeros(ventricular.STATE), np.zeros(_RING, np.int16)
    room = ventricular.max_events(_RING, work_hz)
    kinds, onsets, ends, decisions = (np.zeros(room, np.int64) for _ in range(4))
    confidence, work = np.zeros(room), np.zeros(ventricular.WORK)
    found: list[tuple[int, int, int, int]] = []
    at_s: list[float] = []
    figures: list[F64] = []

    def take(count: int) -> None:
        for kind, onset, end, decided in zip(
            *(a[:count].tolist() for a in (kinds, onsets, ends, decisions)), strict=True
        ):
            if end >= 0:
                found.append((kind, onset * group, end * group, decided * group))

    begin = 0
    for tick in range(1, int(2 * len(x) / work_hz) + 2):
        end = min(int(tick * 0.5 * work_hz), len(x))
        ring[np.arange(begin, end) & (_RING - 1)] = x[begin:end]
        windows = state[ventricular.S_WINDOWS]
        take(
            ventricular.follow(
                state, ring, 0.0, end, work_hz, models, work, kinds, onsets, ends, decisions, confidence
            )
        )
        if state[ventricular.S_WINDOWS] > windows:
            at_s.append(end / work_hz)
            judged = state[ventricular.S_JUDGED] > 0.0
            figures.append(work[-FEATURES:].copy() if judged else np.full(FEATURES, np.nan))
        begin = end
    take(ventricular.close(state, len(x), kinds, onsets, ends, decisions, confidence))
    return Judged(found, np.array(at_s), np.array(figures).reshape(-1, FEATURES))
