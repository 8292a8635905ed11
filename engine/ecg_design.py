"""Filter design for the ECG kernels, once for each sampling rate: SciPy designs, the kernels only run."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kernels import qrs_state

__all__ = ["MAX_RATE_HZ", "MIN_RATE_HZ", "design"]

MIN_RATE_HZ = 100.0
MAX_RATE_HZ = 1000.0

_WORK_HZ = 120.0
_BAND_HZ = (8.0, 20.0)  # Elgendi 2010
_ORDER = 2
_WIDTH_S = 0.1


@lru_cache(maxsize=64)
def _design(rate_hz: float) -> npt.NDArray[np.float64]:
    # Imported here: it is more than half of what the engine imports, and nobody needs it before the first ECG.
    from scipy import signal  # noqa: PLC0415

    group = max(1, int(rate_hz // _WORK_HZ))
    work = rate_hz / group
    sections = signal.butter(_ORDER, _BAND_HZ, "bandpass", fs=work, output="sos")
    width = round(_WIDTH_S * work)
    # Delay of the band-pass at the middle of its band, and of the moving average.
    centre = (_BAND_HZ[0] * _BAND_HZ[1]) ** 0.5
    _, delay = signal.group_delay(signal.sos2tf(sections), [centre], fs=work)
    coeffs = np.zeros(qrs_state.COEFFS)
    coeffs[qrs_state.C_RATE] = rate_hz
    coeffs[qrs_state.C_GROUP] = group
    coeffs[qrs_state.C_WORK] = work
    coeffs[qrs_state.C_WIDTH] = width
    coeffs[qrs_state.C_DELAY] = round(float(delay[0]) + (width - 1) / 2)
    for i, section in enumerate(sections):
        b0, b1, b2, _, a1, a2 = section
        coeffs[qrs_state.C_SOS + 5 * i : qrs_state.C_SOS + 5 * i + 5] = b0, b1, b2, a1, a2
    return coeffs


def design(rate_hz: float) -> npt.NDArray[np.float64]:
    """Give the coefficients of the QRS detector for one sampling rate.

    Parameters
    ----------
    rate_hz : float
        From 100 to 1000.

    Returns
    -------
    float64[kernels.qrs_state.COEFFS]
        The caller's own: to Numba a read-only array is another type, and all ECG kernels would be compiled for it.

    Raises
    ------
    ValueError
        The rate is not from 100 to 1000 Hz.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        msg = f"ECG rate {rate_hz} Hz: legal are {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} Hz"
        raise ValueError(msg)
    return _design(float(rate_hz)).copy()
