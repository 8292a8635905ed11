"""From physiology to packets: who uses which device when, and what it shows."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ingest.columns import Status
from ingest.simulator.cohort import Block, Days, rng
from ingest.simulator.packets import Device, Packets, devices
from ingest.simulator.scenario import BLOCK, DAY_MS, Cohort, Item
from ingest.simulator.truth import Truth

__all__ = ["measure", "midnights"]

_MINUTE = 60_000.0
_HOUR = 3_600_000.0


@lru_cache(maxsize=16)
def midnights(start_ms: int, days: int, zone: str) -> npt.NDArray[np.int64]:
    """Start of each local day, ms UTC; `start_ms` is the first."""
    where = ZoneInfo(zone)
    first = datetime.fromtimestamp(start_ms / 1000, where)
    days_on = (datetime.combine(first.date() + timedelta(day), first.time(), where) for day in range(days))
    return np.array([round(at.timestamp() * 1000) for at in days_on], np.int64)


def _use(cohort: Cohort, block: Block) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], Truth]:
    """Days on which a patient may measure, each patient's adherence, and the gaps."""
    random = rng(cohort, block.number, 2)
    scenario = cohort.scenario
    days = cohort.days
    count = random.poisson(scenario.gaps_per_year * days / 365.25, BLOCK)
    most = max(int(count.max()), 1)
    begin = np.floor(random.uniform(0, days, (BLOCK, most)))
    length = random.geometric(1.0 / max(scenario.gap_mean_days, 1.0), (BLOCK, most))
    real = np.arange(most) < count[:, None]
    present = block.home.copy()
    day = np.arange(days)
    for k in range(most):
        inside = (day >= begin[:, k, None]) & (day < (begin[:, k] + length[:, k])[:, None])
        present &= ~(inside & real[:, k, None])
    mean = scenario.adherence
    # Beta with 15 pseudo-observations: most are diligent, some are not. At the ends everyone is alike.
    share = random.beta(15 * mean, 15 * (1 - mean), BLOCK) if 0.0 < mean < 1.0 else np.full(BLOCK, mean)
    rows, columns = np.nonzero(real & (np.arange(BLOCK) < block.patients)[:, None])
    starts = midnights(cohort.start_ms, days, cohort.zone)
    onset = starts[begin[rows, columns].astype(np.int64)]
    end = onset + length[rows, columns] * DAY_MS
    truth = Truth("gap", block.first + rows, onset, onset, end, length[rows, columns].astype(np.float64))
    return present, share, truth


def _milli(values: Days, step: float) -> npt.NDArray[np.int32]:
    """Thousandths of values rounded to the resolution of the display."""
    shown: npt.NDArray[np.int32] = (np.rint(values / step) * round(step * 1000)).astype(np.int32)
    return shown


def _packets(
    device: Device, block: Block, when: Days, taken: npt.NDArray[np.bool_], milli: npt.NDArray[np.int32]
) -> Packets:
    """Packets of the grid [patients, occasions in order of time] where `taken`; numbered per device."""
    taken = taken.copy()
    taken[block.patients :] = False
    patient, occasion = np.nonzero(taken)
    true_ms = when[patient, occasion].astype(np.int64)
    seq = np.cumsum(taken, axis=1)[patient, occasion].astype(np.int64)
    return Packets(
        device,
        block.first + patient.astype(np.int64),
        true_ms,
        true_ms.copy(),
        true_ms.copy(),
        true_ms.copy(),
        true_ms.copy(),
        seq,
        np.zeros(len(patient), np.uint32),
        np.ascontiguousarray(milli[patient, occasion]),
        np.zeros(len(patient), bool),
    )


def _interleave(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put two occasions a day in order: [patients, 2 * days]."""
    return np.stack([first, second], axis=2).reshape(len(first), -1)


def _answers(cohort: Cohort, block: Block, random: np.random.Generator) -> npt.NDArray[np.int32]:
    """Answer each day's questions: a stable person the best, rarely the next."""
    shape = block.severity.shape

    def answer(item: Item) -> npt.NDArray[np.int32]:
        felt = block.severity * random.uniform(0.5, 1.3, shape) + 0.06 * random.standard_normal(shape) ** 2
        steps = item.high - item.low
        return _milli(item.low + np.clip(np.floor(felt * (steps + 1)), 0, steps), 1.0)

    return np.stack([answer(item) for item in cohort.items.values()], axis=2)


def measure(cohort: Cohort, block: Block) -> tuple[list[Packets], list[Truth]]:
    """Give the packets of a block as devices would send them if nothing failed, one table per device."""
    random = rng(cohort, block.number, 3)
    normal = random.standard_normal
    days = cohort.days
    shape = (BLOCK, days)
    starts = midnights(cohort.start_ms, days, cohort.zone).astype(np.float64)[None, :]
    present, share, gaps = _use(cohort, block)
    truth = [gaps]

    def used() -> npt.NDArray[np.bool_]:
        taken: npt.NDArray[np.bool_] = present & (random.random(shape) < share[:, None])
        return taken

    morning = starts + np.clip(7.5 + 0.6 * normal((BLOCK, 1)) + 0.2 * normal(shape), 4.0, 11.5) * _HOUR
    evening = starts + np.clip(19.5 + 0.8 * normal((BLOCK, 1)) + 0.3 * normal(shape), 16.0, 23.0) * _HOUR

    def after(minutes: float) -> Days:
        return morning + (minutes + 2.0 * random.random(shape)) * _MINUTE

    scale, cuff, oximeter, thermometer, *questions = devices(cohort)
    tables: list[Packets] = []

    # ---- Weight, and now and then somebody else's, a few minutes later.
    own = block.weight + cohort.scenario.weight_noise_kg * normal(shape)
    level = block.weight[:, 0]
    somebody = np.clip(68.0 + 14.0 * normal(BLOCK), 40.0, 130.0)
    somebody = np.where(np.abs(somebody - level) < 8.0, level + np.where(level > 80.0, -14.0, 14.0), somebody)
    other = somebody[:, None] + 0.5 * normal(shape)
    stranger = (random.random(shape) < cohort.scenario.other_person) & block.home
    when = after(0.0)
    shown = _interleave(_milli(own, 0.1), _milli(other, 0.1))
    taken = _interleave(used(), stranger)
    tables.append(_packets(scale, block, _interleave(when, when + 180_000.0), taken, shown[:, :, None]))
    rows, columns = np.nonzero(stranger[: block.patients])
    at = (when[rows, columns] + 180_000.0).astype(np.int64)
    seq = np.cumsum(taken, axis=1)[rows, 2 * columns + 1].astype(np.int64)
    kg = shown[rows, 2 * columns + 1] / 1000.0
    truth.append(Truth("other_person", block.first + rows, at, at, at, kg, "W", seq))

    # ---- Pressure, morning and evening: about 4 mmHg and 3 beats lower on rising than in the evening.
    def pressure(circadian: float) -> npt.NDArray[np.int32]:
        high = np.clip(block.systolic + 4.0 * circadian + 5.0 * normal(shape), 70.0, 240.0)
        low = np.clip(block.diastolic + 2.0 * circadian + 3.5 * normal(shape), 35.0, 140.0)
        low = np.minimum(low, high - 20.0)
        beats = np.clip(block.pulse + 3.0 * circadian + 3.0 * normal(shape), 35.0, 180.0)
        return np.stack([_milli(high, 1.0), _milli(low, 1.0), _milli(beats, 1.0)], axis=2)

    both = np.stack([pressure(-0.5), pressure(0.5)], axis=2).reshape(BLOCK, 2 * days, 3)
    tables.append(
        _packets(
            cuff,
            block,
            _interleave(after(4.0), evening),
            _interleave(used(), used()),
            both,
        )
    )
    irregular = random.random(BLOCK) < cohort.scenario.irregular_pulse
    rhythm = irregular[tables[1].patient - block.first] & (random.random(len(tables[1])) < 0.5)
    tables[1].status |= np.where(rhythm, Status.IRREGULAR_PULSE, 0).astype(np.uint32)

    # ---- Saturation and pulse; temperature, a quarter of a degree lower on rising than in the evening.
    saturation = np.clip(block.spo2 + 0.7 * normal(shape), 70.0, 100.0)
    beats = np.clip(block.pulse - 1.5 + 3.0 * normal(shape), 35.0, 180.0)
    both = np.stack([_milli(saturation, 1.0), _milli(beats, 1.0)], axis=2)
    tables.append(_packets(oximeter, block, after(7.0), used(), both))
    warm = np.clip(block.temperature - 0.12 + 0.12 * normal(shape), 34.0, 41.5)
    tables.append(_packets(thermometer, block, after(10.0), used(), _milli(warm, 0.1)[:, :, None]))

    tables += [
        _packets(device, block, after(13.0), used(), _answers(cohort, block, random)) for device in questions
    ]
    return tables, truth
