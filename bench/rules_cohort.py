"""Each rule for heart failure on simulated patients whose decompensations are known: what it catches for what load.

Each is judged alone (`bench.apart`), by the counts of `vigie backtest`. Then the limits of some are moved.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from bench.apart import apart
from engine.backtest import History
from engine.backtest_judge import Judged
from engine.backtest_measures import Measures, PerPatient, episodes, known_outcomes, measure, per_patient
from engine.backtest_outcomes import read_outcomes
from engine.backtest_study import with_limits
from engine.load import Loaded, compose, load
from engine.program import DAY_MS, Options
from engine.protocols import find
from engine.replay_input import Asked
from engine.staffing import Workload
from ingest import simulator
from ingest.formats import Mappings
from ingest.signals import SIGNALS
from rules.levels import Level

__all__ = [
    "BESIDE",
    "FIXED",
    "PROTOCOL",
    "SWEPT",
    "WINDOW_DAYS",
    "Cohort",
    "Curve",
    "Found",
    "Row",
    "find_out",
]

PROTOCOL = "insuffisance_cardiaque"
ZONE = "Europe/Paris"
WINDOW_DAYS = 21
"""Before an admission: the simulator lets nothing drift earlier."""

FIXED = "weight_gain_3d"
BESIDE = ("weight_deviation",)
"""Rules of ``rules_beside.toml``."""

SWEPT: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "weight_gain_1d": ("gain_1d_kg", (0.6, 0.8, 0.9, 1.0, 1.2, 1.36, 1.6, 1.8, 2.0)),
    "weight_gain_3d": ("gain_3d_kg", (0.9, 1.1, 1.3, 1.5, 1.7, 1.85, 2.0, 2.25, 2.5)),
    "weight_gain_7d": ("gain_7d_kg", (1.1, 1.3, 1.5, 1.7, 2.0, 2.25, 2.5, 2.72, 3.2)),
    "weight_macd": ("macd_kg", (0.3, 0.45, 0.6, 0.75, 0.9, 1.1, 1.3, 1.5, 1.8)),
    "weight_slope": ("slope_7d_kg", (0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 1.75, 2.0)),
    "weight_deviation": ("weight_change_kg", (0.6, 0.9, 1.2, 1.5, 1.8, 2.0, 2.4, 2.8, 3.4)),
    "systolic_fall": ("systolic_fall", (11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 18.0, 20.0, 22.0)),
    "systolic_low": ("systolic_low", (110.0, 105.0, 100.0, 95.0, 90.0, 86.0, 82.0, 78.0, 74.0)),
    "rate_high": ("rate_high", (82.0, 84.0, 87.0, 90.0, 93.0, 95.0, 97.0, 100.0, 104.0)),
    "spo2_low": ("spo2_low", (95.0, 94.0, 93.0, 92.0, 91.0, 90.0, 89.0, 88.0, 87.0)),
    "spo2_fall": ("spo2_fall", (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0)),
}
"""Limit of each rule whose limit is moved, and its values, the most alerts first."""

_HEAVY_KG = 2.0
_DRAWS = 400
_SEED = 20260105

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who is simulated: the same numbers, the same readings."""

    patients: int
    days: int
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """One rule at its shipped limit; `chance` is what its alerts catch of other patients' admissions."""

    rule: str
    level: str
    worth: Measures
    chance: float
    kind: str  # clinical, not clinical (of silence or equipment), or blind (the simulator lacks what it looks at)


@dataclass(frozen=True, slots=True)
class Curve:
    """A rule at each of its values, in the order of `SWEPT`; rows of `load` and `sensitivity` are draws of patients.

    The first row is of the patients as they are.
    """

    values: tuple[float, ...]
    load: F64  # float64[1 + draws, values]
    sensitivity: F64

    def at(self, load: float) -> F64 | None:
        """Sensitivity of each draw at that load, float64[1 + draws], between two values; None where none has it."""
        # Lower limits join alerts in the end, and the load falls again: that branch is left out.
        begin = int(np.argmax(self.load[0]))
        if not self.load[0, begin:].min() <= load <= self.load[0, begin]:
            return None
        rows = zip(self.load[:, begin:], self.sensitivity[:, begin:], strict=True)
        return np.array([np.interp(load, a[::-1], b[::-1]) for a, b in rows])


@dataclass(frozen=True, slots=True)
class Found:
    """All that the page says."""

    cohort: Cohort
    readings: int
    outcomes: int
    heavy: float  # share of outcomes into which the simulator put a gain of 2 kg or more
    version: str
    hash: str
    whole: Row
    rows: tuple[Row, ...]
    curves: Mapping[str, Curve]


def _lines() -> tuple[Loaded, Loaded]:
    """Give the protocol as shipped, and with each rule alone and those of ``rules_beside.toml``."""
    options = Options(close_at_recovery=True, deaf_after_ms=0)
    shipped = load([PROTOCOL], zone=ZONE, options=options)
    beside = Path(__file__).with_name("rules_beside.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "beside.toml"
        path.write_text(f"{find(PROTOCOL).read_text(encoding='utf-8')}\n{beside}", encoding="utf-8")
        both = load([path], zone=ZONE, options=options)
    protocols = [apart(each) for each in both.program.protocols]
    return shipped, compose(protocols, both.roster.book.over(protocols), {}, both.program.options)


def find_out(cohort: Cohort, folder: Path) -> Found:
    """Simulate the cohort in `folder`, and judge each rule on it."""
    shipped, alone = _lines()
    (protocol,) = shipped.program.protocols
    items = {each.name: simulator.Item(each.code, *map(int, each.range)) for each in protocol.items.values()}
    path = folder / "cohort.parquet"
    simulator.simulate(cohort.patients, cohort.days, cohort.seed, path, items=items)
    history = History(Asked((path,), Mappings(), ZONE, 4_000_000_000_000), folder / "kept")
    judged = history.judge(alone)
    truth = path.with_suffix(".truth.parquet")
    outcomes = read_outcomes(truth, ["decompensation"])
    gains = pl.read_parquet(truth).filter(pl.col("kind") == "decompensation")["value"]
    # The simulator also knows of admissions just after the end, whose last days nobody measured.
    outcomes = outcomes.filter(pl.col("t_ms") <= judged.kept.last_ms)
    alerts = episodes(judged)
    series = {each.name: each.series for each in SIGNALS}
    sent = pl.read_parquet(path, columns=["signal"])["signal"].unique().cast(pl.String)
    signals = {series.get(name, name) for name in sent}
    rows = []
    for each in alone.program.rule_rows:
        mine = alerts.filter(pl.col("rule") == each.id)
        if each.rule is None and not len(mine):
            continue  # of a silence that lasts, which raises the alert that is open
        kind = "not clinical" if each.rule is None or each.level is Level.TECHNIQUE else "clinical"
        lacking = each.rule is not None and not each.protocol.triggers(each.rule) <= signals
        if lacking or judged.undetermined.get((PROTOCOL, each.id)) == 1:
            kind = "blind"
        rows.append(_row(each.id, each.level.name, kind, mine, judged, outcomes))
    theirs = history.judge(shipped)
    return Found(
        cohort,
        judged.kept.readings,
        rows[0].worth.outcomes,
        float(np.mean(gains.to_numpy() >= _HEAVY_KG)),
        protocol.version,
        protocol.hash,
        _row("all", "", "clinical", episodes(theirs), theirs, outcomes),
        tuple(rows),
        _curves(history, alone, judged, outcomes),
    )


def _row(
    rule: str, level: str, kind: str, alerts: pl.DataFrame, judged: Judged, outcomes: pl.DataFrame
) -> Row:
    patients = judged.follow_up["patient"]
    next_one = dict(zip(patients, [*patients[1:], patients[0]], strict=True))
    strangers = outcomes.filter(pl.col("patient").is_in(patients.implode())).with_columns(
        pl.col("patient").replace_strict(next_one)
    )
    worth, others = (
        measure(
            alerts,
            judged.follow_up,
            each,
            window_ms=WINDOW_DAYS * DAY_MS,
            zone=ZONE,
            work=Workload(),
            draws=_DRAWS,
        )
        for each in (outcomes, strangers)
    )
    return Row(rule, level, worth, others.sensitivity.value or 0.0, kind)


def _curves(history: History, alone: Loaded, judged: Judged, outcomes: pl.DataFrame) -> dict[str, Curve]:
    """Move all limits at once: rules that are apart do not see each other's."""
    known = known_outcomes(outcomes, judged.follow_up, WINDOW_DAYS * DAY_MS)
    counts: dict[str, list[PerPatient]] = {rule: [] for rule in SWEPT}
    for values in zip(*(values for _, values in SWEPT.values()), strict=True):
        limits = dict(zip((name for name, _ in SWEPT.values()), values, strict=True))
        alerts = episodes(history.judge(with_limits(alone, limits)))
        for rule, found in counts.items():
            mine = alerts.filter(pl.col("rule") == rule)
            found.append(per_patient(mine, judged.follow_up, known, WINDOW_DAYS * DAY_MS))
    weights = _weights(len(judged.follow_up))
    out = {}
    for rule, found in counts.items():
        rates = [each.rates(weights) for each in found]
        load, sensitivity = (
            np.stack([each[name] for each in rates], axis=1) for name in ("load", "sensitivity")
        )
        out[rule] = Curve(SWEPT[rule][1], load, sensitivity)
    return out


def _weights(patients: int) -> F64:
    """How often each patient counts, float64[1 + draws, patients]: each once, then as drawn again."""
    rng = np.random.default_rng(_SEED)
    drawn = [np.bincount(rng.integers(0, patients, patients), minlength=patients) for _ in range(_DRAWS)]
    return np.stack([np.ones(patients), *drawn]).astype(np.float64)
