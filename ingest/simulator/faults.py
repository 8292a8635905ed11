"""What goes wrong between a patient and the log: devices, clocks, links; each at its rate, with its truth."""

import numpy as np
import numpy.typing as npt

from ingest.columns import Status
from ingest.simulator.cohort import Block, rng
from ingest.simulator.packets import NAN, Packets, select, stack
from ingest.simulator.scenario import BLOCK, DAY_MS, Cohort
from ingest.simulator.truth import Truth

__all__ = ["spoil"]

_DEAD_CLOCK_MS = 946_684_800_000  # 1 January 2000: what a device with an empty battery says
_HOUR = 3_600_000.0
_LATE_MOST_MS = 2 * DAY_MS


def _note(kind: str, packets: Packets, rows: npt.NDArray[np.intp], value: float = 0.0) -> Truth:
    at = packets.true_ms[rows]
    values = np.full(len(rows), value)
    letter = packets.device.letter
    return Truth(kind, packets.patient[rows], at, at, at, values, letter, packets.seq[rows])


def _device_faults(cohort: Cohort, packets: Packets, random: np.random.Generator, truth: list[Truth]) -> None:
    """Spoil readings in the device: at most one fault a packet."""
    scenario = cohort.scenario
    draw = random.random(len(packets))
    questions = packets.device.letter == "Q"
    kinds = (
        ("invalid", scenario.invalid),
        ("test", scenario.test),
        ("implausible", 0.0 if questions else scenario.implausible),
        ("nan", 0.0 if questions else scenario.nan),
        ("inconsistent", scenario.inconsistent if packets.device.letter == "B" else 0.0),
    )
    low = 0.0
    for kind, rate in kinds:
        rows = np.flatnonzero((draw >= low) & (draw < low + rate))
        low += rate
        if kind == "invalid":
            packets.status[rows] |= Status.INVALID
        elif kind == "test":
            packets.status[rows] |= Status.TEST
        elif kind == "implausible":
            packets.milli[rows, 0] //= 10  # a lost digit: under every plausible range
        elif kind == "nan":
            packets.milli[rows, 0] = NAN
        elif len(rows):
            packets.milli[rows, 1] = packets.milli[rows, 0] - 5000
        truth.append(_note(kind, packets, rows))


def _clock(
    cohort: Cohort, block: Block, packets: Packets, random: np.random.Generator, truth: list[Truth]
) -> None:
    """Clocks of devices that are behind, ahead or dead."""
    scenario = cohort.scenario
    draw = random.random(BLOCK)
    slow = draw < scenario.clock_slow
    fast = ~slow & (draw < scenario.clock_slow + scenario.clock_fast)
    dead = ~slow & ~fast & (draw < scenario.clock_slow + scenario.clock_fast + scenario.clock_dead)
    behind = -np.exp(random.uniform(np.log(1.0), np.log(90.0), BLOCK)) * 60_000
    ahead = np.exp(random.uniform(np.log(6.0), np.log(180.0), BLOCK)) * 60_000
    offset = np.rint(np.where(slow, behind, np.where(fast, ahead, 0.0))).astype(np.int64)
    mine = packets.patient - block.first
    packets.device_ms += offset[mine]
    packets.t_ms += offset[mine]
    without = dead[mine]
    packets.device_ms[without] = _DEAD_CLOCK_MS + packets.true_ms[without] - cohort.start_ms
    packets.t_ms[without] = packets.gateway_ms[without]
    packets.status[without] |= Status.CLOCK_NOT_SET
    for kind, which in (("clock_slow", slow), ("clock_fast", fast), ("clock_dead", dead)):
        rows = np.flatnonzero(which[: block.patients])
        start = np.full(len(rows), cohort.start_ms)
        end = np.full(len(rows), cohort.end_ms)
        seconds = offset[rows] / 1000.0
        truth.append(Truth(kind, block.first + rows, start, start, end, seconds, packets.device.letter))


def _outages(
    cohort: Cohort, block: Block, random: np.random.Generator, truth: list[Truth]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draw the times without a link: begin and end, [patients, most], in order, infinite where none."""
    scenario = cohort.scenario
    count = random.poisson(scenario.outages_per_year * cohort.days / 365.25, BLOCK)
    most = max(int(count.max()), 1)
    begin = np.floor(cohort.start_ms + random.uniform(0, cohort.days, (BLOCK, most)) * DAY_MS)
    hours = np.minimum(scenario.outage_median_h * np.exp(random.standard_normal((BLOCK, most))), 72.0)
    begin[np.arange(most) >= count[:, None]] = np.inf
    begin.sort(axis=1)
    end = np.floor(begin + hours * _HOUR)
    rows, columns = np.nonzero(np.isfinite(begin[: block.patients]))
    first, last = begin[rows, columns].astype(np.int64), end[rows, columns].astype(np.int64)
    truth.append(Truth("outage", block.first + rows, first, first, last, hours[rows, columns]))
    return begin, end


def spoil(cohort: Cohort, block: Block, tables: list[Packets]) -> tuple[list[Packets], list[Truth]]:
    """Give what arrives: faults applied, receipt times set, some packets twice."""
    truth: list[Truth] = []
    scenario = cohort.scenario
    link = rng(cohort, block.number, 4)
    begin, end = _outages(cohort, block, link, truth)
    arrived = []
    for number, packets in enumerate(tables):
        random = rng(cohort, block.number, 16 + number)
        queue = rng(cohort, block.number, 32 + number)  # as many draws as there are outages
        n = len(packets)
        _device_faults(cohort, packets, random, truth)
        mine = packets.patient - block.first
        # ---- On the way: gateway within seconds, then the network; or kept in the device's memory.
        reached = packets.true_ms + random.exponential(2000.0, n)
        kept = random.random(n) < scenario.late
        wait = np.minimum(6.0 * np.exp(random.standard_normal(n)) * _HOUR, _LATE_MOST_MS)
        reached = np.where(kept, reached + wait, reached)
        packets.status |= np.where(kept, Status.STORED, 0).astype(np.uint32)
        receipt = reached + 200.0 + random.exponential(8000.0, n)
        for column in range(begin.shape[1]):
            cut = (receipt >= begin[mine, column]) & (receipt < end[mine, column])
            receipt = np.where(cut, end[mine, column] + queue.exponential(20_000.0, n), receipt)
        packets.gateway_ms = reached.astype(np.int64)
        packets.receipt_ms = np.maximum(receipt.astype(np.int64), packets.gateway_ms)
        _clock(cohort, block, packets, random, truth)
        rows = np.flatnonzero(kept)
        late = _note("late", packets, rows)
        late.end_ms = packets.receipt_ms[rows]
        truth.append(late)
        # ---- Sent again because the acknowledgement was lost.
        twice = np.flatnonzero(random.random(n) < scenario.duplicate)
        second = select(packets, twice)
        second.again[:] = True
        second.receipt_ms = (
            second.receipt_ms + 1000 + random.exponential(600_000.0, len(twice)).astype(np.int64)
        )
        again = _note("duplicate", packets, twice)
        again.end_ms = second.receipt_ms
        truth.append(again)
        arrived.append(stack([packets, second]))
    return arrived, truth
