"""What one feature of one patient costs: `kernels.features.evaluate` in a loop over patients, as the engine calls it.

30 daily readings a series, 64 patients (so that the data stay in cache and the kernel is what is measured), windows
of 3 local days for plain statistics and 14 for trends. The rival is what one would write without kernels:
NumPy on the same window.

Measured on one core of a shared 2-core server, with other work beside it, ns a call (least of many rounds): age 5,
drift 5, last 15, count 17, min and max 18, mean 18, rise 21 (by hours: last 7, min 10, mean 10, rise 11), sd 22,
median 29, change 40, NEWS2 49, adherence 68, EMA 130, MACD 145 to 150, baseline and deviation 220, home averages 240 to
330, CUSUM 360, deviation in spreads 400, Theil-Sen slope of 14 dates 660. NumPy takes 5600 for one rise.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.zones import zone_arrays
from kernels._jit import jit
from kernels._types import F64, I32, I64
from kernels.features import SCRATCH, SERIES, STATISTICS, evaluate

PATIENTS = 64
READINGS = 30
CALLS = 1_000
DAY_MS = 86_400_000
PARAMETERS = {
    "min_points": 5, "short": 3, "long": 14, "exclude": 3, "floor": 0.4, "k": 0.25, "learn": 14, "length": 7,
    "max_step": 5, "within_min": 3, "per_day": 1,
    "morning_from": "04:00", "morning_to": "12:00", "evening_from": "17:00", "evening_to": "24:00",
}  # fmt: skip


@jit
def loop(  # noqa: PLR0913, PLR0917 columns, as in kernels
    calls: int, op: int, series: I32, window: int, in_days: bool, par: F64, limit: float,  # noqa: FBT001
    t: I64, v: I32, lo: I32, hi: I32, now: I64, zone_t: I64, zone_off: I64, scratch: F64,
) -> float:  # fmt: skip
    """Evaluate one feature for patient after patient; the sum of what is determined."""
    total = 0.0
    for i in range(calls):
        p = i % len(now)
        y = evaluate(
            op, series, window, in_days, par, limit, t[p], v[p], lo, hi, now[p], zone_t, zone_off, scratch
        )
        if not np.isnan(y):
            total += y
    return total


def patients() -> tuple[I64, I32, I32, I32, I64]:
    """Rows of eight series: the first three of one moment each day, the others minutes later."""
    rng = np.random.default_rng(1)
    first = 1_760_000_000_000 + rng.integers(0, 10_000_000_000, (PATIENTS, 1, 1))
    apart = rng.integers(0, 3_600_000, (PATIENTS, SERIES, 1))
    apart[:, :3] = 0
    t = (first + apart + np.arange(READINGS) * DAY_MS).reshape(PATIENTS, -1)
    v = rng.integers(79_000, 81_000, t.shape).astype(np.int32)
    lo = (np.arange(SERIES) * READINGS).astype(np.int32)
    return t, v, lo, (lo + READINGS).astype(np.int32), t.max(axis=1)


@pytest.mark.parametrize("in_days", [True, False], ids=["local days", "hours"])
@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_evaluate(benchmark: BenchmarkFixture, name: str, in_days: bool) -> None:  # noqa: FBT001
    """One statistic, by each kind of window that it allows."""
    statistic = STATISTICS[name]
    if not in_days and (statistic.days_only or statistic.window == "none"):
        pytest.skip("not by hours")
    needed = {p.name: PARAMETERS[p.name] for p in statistic.parameters if p.name in PARAMETERS}
    par = np.array(statistic.pack(needed))
    series = np.full(SERIES, -1, np.int32)
    n = min(statistic.max_series, 7)
    series[:n] = np.arange(n)
    days = 14 if statistic.days_only else 3
    window = days if in_days else days * DAY_MS
    arguments = (statistic.op, series, window, in_days, par, 80.0, *patients())
    zone_t, zone_off = zone_arrays("Europe/Paris")
    scratch = np.empty(SCRATCH)
    benchmark(loop, CALLS, *arguments, zone_t, zone_off, scratch)
    if benchmark.stats is not None:
        benchmark.extra_info["ns a call"] = round(benchmark.stats.stats.min / CALLS * 1e9, 1)


def test_rival_rise_by_numpy(benchmark: BenchmarkFixture) -> None:
    """The rule of thumb over 72 hours by NumPy, one patient; ours must say the same."""
    t, v, lo, hi, now = patients()
    times, values = t[0, :READINGS], v[0, :READINGS]

    def rise() -> float:
        before = np.searchsorted(times, times[-1] - 3 * DAY_MS)
        return float((values[-1] - values[before:-1].min()) / 1000.0)

    zone_t, zone_off = zone_arrays("Europe/Paris")
    ours = evaluate(
        STATISTICS["rise"].op, np.zeros(SERIES, np.int32), 3 * DAY_MS, False, np.zeros(8), np.nan,  # noqa: FBT003
        t[0], v[0], lo, hi, int(now[0]), zone_t, zone_off, np.empty(SCRATCH),
    )  # fmt: skip
    assert benchmark(rise) == ours
