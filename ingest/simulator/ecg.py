"""Synthetic ECG with its beats known: our own dynamic model, and NeuroKit2's as a second opinion.

The model is that of McSherry, Clifford, Tarassenko and Smith (2003, IEEE Trans Biomed Eng 50:289-294): a
phase runs once around the circle in each beat and the voltage is drawn towards Gaussian events at the phases
of P, Q, R, S and T. Here the equation of the voltage is used in its integrated form, a sum of Gaussians of
the phase. The phase follows a given sequence of RR intervals, and P and T move and widen with the square root of
the interval. Rhythms that the paper lacks are other sequences of intervals and other events: no P wave and
fibrillatory waves for atrial fibrillation, broad complexes for ventricular beats, and a waveform of drifting
oscillators for ventricular fibrillation, which has no beats.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

__all__ = ["GAIN", "Ecg", "Rhythm", "neurokit", "synthesize"]

GAIN = 500.0
"""Units per millivolt of the simulated samples: 2 µV each."""

F64 = npt.NDArray[np.float64]


class Rhythm(StrEnum):
    """Rhythms that the model can make."""

    SINUS = "sinus"
    BRADYCARDIA = "bradycardia"
    TACHYCARDIA = "tachycardia"
    ATRIAL_FIBRILLATION = "atrial_fibrillation"
    PAUSES = "pauses"
    ECTOPY = "ectopy"
    VENTRICULAR_TACHYCARDIA = "ventricular_tachycardia"
    VENTRICULAR_FIBRILLATION = "ventricular_fibrillation"
    ASYSTOLE = "asystole"


@dataclass(frozen=True, slots=True)
class Ecg:
    """A simulated lead. `samples` are int16 in units of ``1 / gain`` mV; `beats` are R peaks, in samples."""

    rate_hz: float
    gain: float
    samples: npt.NDArray[np.int16]
    beats: npt.NDArray[np.int64]
    classes: list[str]  # N or V for each beat
    rhythm: Rhythm


# Events of a beat: centre (rad, R at 0), height (mV), width (rad), moves with the interval. After table I of
# the paper, heights of its integrated form.
_NORMAL = np.array(
    [
        (-np.pi / 3, 0.12, 0.20, 1.0),  # P
        (-np.pi / 12, -0.10, 0.10, 0.0),  # Q
        (0.0, 1.10, 0.10, 0.0),  # R
        (np.pi / 12, -0.20, 0.10, 0.0),  # S
        (np.pi / 2, 0.28, 0.40, 1.0),  # T
    ]
)
_VENTRICULAR = np.array(
    [
        (0.0, 1.50, 0.20, 0.0),
        (0.50, -0.80, 0.22, 0.0),
        (np.pi / 2 + 0.1, -0.35, 0.45, 1.0),
    ]
)


def _sinus(random: np.random.Generator, n: int, rate: float, spread: float) -> F64:
    """RR intervals, s: respiratory (0.25 Hz) and slow (0.1 Hz) movement and some noise, as in the paper."""
    mean = 60.0 / rate
    time = np.arange(n) * mean
    wave = np.sin(2 * np.pi * (0.25 * time + random.random())) + np.sin(
        2 * np.pi * (0.1 * time + random.random())
    )
    rr: F64 = np.clip(mean * (1.0 + spread * (0.7 * wave + 0.5 * random.standard_normal(n))), 0.3, 2.5)
    return rr


def _intervals(
    random: np.random.Generator, rhythm: Rhythm, seconds: float
) -> tuple[F64, npt.NDArray[np.bool_]]:
    """RR interval before each beat, and whether the beat is ventricular."""
    n = int(seconds * 4) + 8
    ventricular = np.zeros(n, bool)
    if rhythm is Rhythm.ATRIAL_FIBRILLATION:
        mean = 60.0 / random.uniform(75, 135)
        rr = np.clip(mean * np.exp(0.2 * random.standard_normal(n)), 0.3, 1.9)
    elif rhythm is Rhythm.BRADYCARDIA:
        rr = _sinus(random, n, random.uniform(28, 45), 0.03)
    elif rhythm is Rhythm.TACHYCARDIA:
        rr = _sinus(random, n, random.uniform(125, 165), 0.01)
    elif rhythm is Rhythm.VENTRICULAR_TACHYCARDIA:
        rr = np.clip(60.0 / random.uniform(150, 200) * (1 + 0.02 * random.standard_normal(n)), 0.25, 0.6)
        ventricular[:] = True
    else:
        rr = _sinus(random, n, random.uniform(58, 88), 0.04)
        if rhythm is Rhythm.PAUSES:
            first = int(random.integers(3, 8))
            where = np.arange(first, n, 17)
            rr[where] = random.uniform(3.2, 5.5, len(where))
        elif rhythm is Rhythm.ECTOPY:
            where = np.flatnonzero(random.random(n - 1) < 0.12)
            where = where[np.diff(where, prepend=-9) > 2]
            full = rr[where] + rr[where + 1]
            rr[where] *= random.uniform(0.55, 0.7, len(where))
            rr[where + 1] = full - rr[where]  # compensatory pause
            ventricular[where] = True
    return rr, ventricular


def _draw(out: F64, at: F64, rr: F64, events: F64, rate_hz: float) -> None:
    """Add to the lead beats with R at `at` (s), each after an interval `rr` (s)."""
    if not len(at):
        return
    # Q, R and S keep their width at 60 a minute; P and T go with the square root of the interval, within what
    # keeps them off the beat beside.
    stretch = np.clip(np.sqrt(rr), 0.55, 1.15)
    for centre, height, width, moves in events:
        scale = stretch if moves else np.ones(len(rr))
        spread = width * scale / (2 * np.pi)  # s: the phase of 60 a minute runs 2 pi a second
        middle = at + centre * scale / (2 * np.pi)
        reach = int(5.0 * spread.max() * rate_hz) + 1
        index = np.rint(middle * rate_hz).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        away = (index / rate_hz - middle[:, None]) / spread[:, None]
        inside = (index >= 0) & (index < len(out))
        wave = height * np.exp(-0.5 * away * away)
        out += np.bincount(index[inside], wave[inside], minlength=len(out))


def _fibrillation(
    random: np.random.Generator, n: int, rate_hz: float, band_hz: tuple[float, float], parts: int
) -> F64:
    """Sum oscillators whose frequency (within `band_hz`) and height wander: variance about 1."""
    low, high = band_hz
    out = np.zeros(n)
    knots = np.arange(0, n + rate_hz, rate_hz / 2)
    time = np.arange(n)
    for _ in range(parts):
        frequency = np.interp(
            time, knots, np.clip(random.normal((low + high) / 2, (high - low) / 4, len(knots)), low, high)
        )
        height = np.interp(time, knots, np.exp(0.4 * random.standard_normal(len(knots))))
        out += height * np.sin(2 * np.pi * (np.cumsum(frequency) / rate_hz + random.random()))
    scaled: F64 = out * np.sqrt(2.0 / parts)
    return scaled


def _noise(random: np.random.Generator, n: int, rate_hz: float, millivolts: float) -> F64:
    """Baseline that follows breathing, muscle, and a little mains."""
    time = np.arange(n) / rate_hz
    wander = 2.0 * np.sin(2 * np.pi * (0.22 * time + random.random())) + np.sin(
        2 * np.pi * (0.07 * time + random.random())
    )
    mains = 0.3 * np.sin(2 * np.pi * (50.0 * time + random.random()))
    out: F64 = millivolts * (2.0 * wander + mains + random.standard_normal(n))
    return out


def synthesize(
    rhythm: Rhythm, seconds: float, seed: int | list[int], *, rate_hz: float = 250.0, noise_mv: float = 0.02
) -> Ecg:
    """Make one lead of one rhythm.

    Parameters
    ----------
    rhythm : Rhythm
    seconds : float
        Duration, at most an hour: a longer record is several.
    seed : int or list of int
    rate_hz : float
        100 to 1000.
    noise_mv : float
        Standard deviation of muscle noise; baseline wander is four times that.

    Raises
    ------
    ValueError
        A parameter out of range.
    """
    if not 100.0 <= rate_hz <= 1000.0:
        msg = f"ECG rate {rate_hz} Hz: legal are 100 to 1000 Hz"
        raise ValueError(msg)
    if not 0.0 < seconds <= 3600.0:
        msg = f"ECG of {seconds} s: legal are above 0 to 3600 s"
        raise ValueError(msg)
    random = np.random.default_rng(seed)
    n = round(seconds * rate_hz)
    lead = np.zeros(n)
    at = np.empty(0)
    ventricular = np.empty(0, bool)
    if rhythm is Rhythm.VENTRICULAR_FIBRILLATION:
        lead += 0.35 * _fibrillation(random, n, rate_hz, (3.5, 7.5), 4)
    elif rhythm is not Rhythm.ASYSTOLE:
        rr, ventricular = _intervals(random, rhythm, seconds)
        at = np.cumsum(rr) - rr[0] * random.random()
        keep = at < seconds
        at, rr, ventricular = at[keep], rr[keep], ventricular[keep]
        normal = _NORMAL
        if rhythm is Rhythm.ATRIAL_FIBRILLATION:
            normal = _NORMAL[1:]
            lead += 0.05 * _fibrillation(random, n, rate_hz, (4.5, 8.0), 2)
        _draw(lead, at[~ventricular], rr[~ventricular], normal, rate_hz)
        _draw(lead, at[ventricular], rr[ventricular], _VENTRICULAR, rate_hz)
    lead += _noise(random, n, rate_hz, noise_mv)
    samples = np.clip(np.rint(lead * GAIN), -32767, 32766).astype(np.int16)
    beats = np.rint(at * rate_hz).astype(np.int64)
    inside = beats < n
    return Ecg(
        rate_hz,
        GAIN,
        samples,
        beats[inside],
        ["V" if v else "N" for v in ventricular[inside].tolist()],
        rhythm,
    )


def neurokit(seconds: float, seed: int, *, rate_hz: float = 250.0, heart_rate: float = 70.0) -> Ecg:
    """Make a sinus rhythm with NeuroKit2, another implementation of the same model, for comparison.

    Its beats are not told by the generator: `beats` is empty.

    Raises
    ------
    ImportError
        NeuroKit2 is not installed.
    """
    try:
        import neurokit2  # noqa: PLC0415 - an extra: only this function needs it
    except ImportError as error:
        msg = "simulated ECG by NeuroKit2 needs the package neurokit2: pip install 'vigie[ecg]'"
        raise ImportError(msg) from error
    lead = np.asarray(
        neurokit2.ecg_simulate(
            duration=int(np.ceil(seconds)),
            sampling_rate=int(rate_hz),
            heart_rate=heart_rate,
            random_state=seed,
        ),
        np.float64,
    )[: round(seconds * rate_hz)]
    samples = np.clip(np.rint(lead * GAIN), -32767, 32766).astype(np.int16)
    return Ecg(rate_hz, GAIN, samples, np.empty(0, np.int64), [], Rhythm.SINUS)
