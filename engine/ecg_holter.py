"""What a record comes to by minute, by five minutes and by hour, in columns: the measures of `kernels.holter`."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kernels import rhythms

__all__ = ["NAMES", "Measures", "measures"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

NAMES = {
    rhythms.RATE_MINUTE: "rate_minute",
    rhythms.SDNN: "sdnn_ms",
    rhythms.RMSSD: "rmssd_ms",
    rhythms.PNN50: "pnn50_percent",
    rhythms.RATE_HOUR: "rate_hour",
    rhythms.WATCHED: "watched_min",
    rhythms.AF_BURDEN: "af_burden_percent",
    rhythms.BEATS: "beats",
    rhythms.PVC_BURDEN: "pvc_burden_percent",
    rhythms.SVE_BURDEN: "sve_burden_percent",
    rhythms.COUPLETS: "couplets",
    rhythms.RUNS: "runs",
    rhythms.BIGEMINIES: "bigeminy",
    rhythms.TRIGEMINIES: "trigeminy",
    rhythms.R_ON_TS: "r_on_t",
}
"""What each measure is called in results."""

_WITHOUT_CLASSES = {"rate_minute", "rate_hour", "watched_min", "af_burden_percent", "beats"}


def _none() -> I64:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of spans: `start` to `end` in samples, sorted; `value` in the unit that the name says, rates /min."""

    start: I64 = field(default_factory=_none)
    end: I64 = field(default_factory=_none)
    name: list[str] = field(default_factory=list)
    value: F64 = field(default_factory=lambda: np.empty(0))

    def of(self, name: str) -> dict[tuple[int, int], float]:
        """Give the values of a measure by its spans."""
        spans = zip(self.start.tolist(), self.end.tolist(), self.name, self.value.tolist(), strict=True)
        return {(start, end): value for start, end, each, value in spans if each == name}

    def within(self, start: float, end: float) -> "Measures":
        """Give those whose span begins from `start` to before `end`, samples."""
        keep = np.flatnonzero((self.start >= start) & (self.start < end))
        names = [self.name[k] for k in keep.tolist()]
        return Measures(self.start[keep], self.end[keep], names, self.value[keep])

    def mean(self, name: str) -> float:
        """Give the plain mean of a measure; NaN where there is none."""
        values = list(self.of(name).values())
        return sum(values) / len(values) if values else float("nan")

    def weighted(self, name: str, weight: str) -> float:
        """Give the mean of a measure over the record, weighted by that of the same span; NaN where there is none."""
        values, weights = self.of(name), self.of(weight)
        both = [span for span in values if span in weights]
        whole = sum(weights[span] for span in both)
        return sum(values[span] * weights[span] for span in both) / whole if whole > 0.0 else float("nan")


def measures(rows: I64, *, classes: bool) -> Measures:
    """Take the measures out of rows of `kernels.rhythms`.

    Parameters
    ----------
    rows : int64[n, ROW_WIDTH]
    classes : bool
        Whether beats have classes. Without them nothing is said that rests on one: unknown is not N.
    """
    kinds = [kind for kind, name in NAMES.items() if classes or name in _WITHOUT_CLASSES]
    mine = rows[np.isin(rows[:, 0], kinds)]
    mine = mine[np.lexsort((mine[:, 0], mine[:, 2], mine[:, 1]))]
    return Measures(
        mine[:, 1], mine[:, 2], [NAMES[kind] for kind in mine[:, 0].tolist()], mine[:, 4] / 1000.0
    )
