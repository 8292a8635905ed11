"""Speed of QRS detection and of the rhythm events on it, beside NeuroKit2 on the same lead."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.ecg_design import design
from ingest.simulator.ecg import Ecg, Rhythm, synthesize
from kernels import qrs, qrs_state, rhythm

RATE = 250.0
SECONDS = 600


@pytest.fixture(scope="module")
def lead() -> Ecg:
    """Ten minutes with ectopic beats."""
    return synthesize(Rhythm.ECTOPY, SECONDS, 1, rate_hz=RATE)


@pytest.mark.benchmark(group="qrs, 10 min at 250 Hz")
def test_qrs_feed(benchmark: BenchmarkFixture, lead: Ecg) -> None:
    """Whole record in one call."""
    coeffs = design(RATE)
    room = qrs.max_beats(len(lead.samples), RATE)
    at, when = np.zeros(room, np.int64), np.zeros(room, np.int64)

    def run() -> int:
        return qrs.feed(np.zeros(qrs_state.STATE), lead.samples, lead.gain, coeffs, at, when)

    benchmark.extra_info["samples"] = len(lead.samples)
    count = benchmark(run)
    assert abs(count - len(lead.beats)) <= 3


@pytest.mark.benchmark(group="qrs, 10 min at 250 Hz")
def test_rhythm_in_one_second_chunks(benchmark: BenchmarkFixture, lead: Ecg) -> None:
    """Detection and events, chunk by chunk from Python."""
    coeffs = design(RATE)
    t, code, milli = np.zeros(128, np.int64), np.zeros(128, np.int64), np.zeros(128, np.int32)
    work = rhythm.scratch()
    chunks = lead.samples.reshape(SECONDS, -1)

    def run() -> None:
        row = np.zeros(rhythm.ROW)
        for k in range(SECONDS):
            rhythm.feed_chunk(row, 1000 * k, RATE, lead.gain, chunks[k], coeffs, work, t, code, milli)

    benchmark(run)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="qrs, 10 min at 250 Hz")
def test_rival_neurokit(benchmark: BenchmarkFixture, lead: Ecg) -> None:
    """NeuroKit2's default: cleaning and peaks of the whole record."""
    neurokit2 = pytest.importorskip("neurokit2")
    signal = lead.samples / lead.gain

    def run() -> object:
        clean = neurokit2.ecg_clean(signal, sampling_rate=int(RATE))
        return neurokit2.ecg_peaks(clean, sampling_rate=int(RATE))

    benchmark(run)
