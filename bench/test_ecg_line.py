"""The whole ECG line on continuous ECG and on strips, beside detectors that find R peaks alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import ecg_line as job
from engine.ecg_design import design
from kernels import ecg_lead, rhythm

ECG = Path(os.environ.get("VIGIE_ECG") or Path(__file__).parents[2] / "shared" / "ecg")
PATIENTS = 100_000
SECONDS = 5
STRIP_S = 10

pytestmark = pytest.mark.skipif(
    not (ECG / "mitdb").is_dir(), reason=f"no annotated ECG at {ECG}: set VIGIE_ECG"
)


@pytest.fixture(scope="module")
def signals() -> list[job.I16]:
    """Twelve leads of half an hour."""
    return job.leads(ECG)


def rate(benchmark: Any, samples: int, strips: int | None = None) -> None:  # noqa: ANN401 - untyped plugin
    """Note what one round came to, by the median."""
    median = benchmark.stats.stats.median
    benchmark.extra_info["million_samples_per_second"] = round(samples / median / 1e6, 1)
    if strips is not None:
        benchmark.extra_info["strips_per_second"] = round(strips / median)
    print(benchmark.name, dict(benchmark.extra_info))


@pytest.mark.benchmark(group="ECG, continuous, one-second packets")
@pytest.mark.parametrize("shards", [1, 2])
def test_line(benchmark: Any, signals: list[job.I16], shards: int) -> None:  # noqa: ANN401
    """Packet bytes to episodes and alerts, all of it; latency is what a second of one patient among all waits."""
    patients = job.most_patients(PATIENTS)
    cell = job.Cell(signals, patients, shards)
    cell.step(cell.body(patients))
    cpu: list[float] = []

    def run(body: bytes) -> None:
        cpu.append(cell.step(body).cpu)

    benchmark.pedantic(run, setup=lambda: ((cell.body(patients),), {}), rounds=SECONDS)
    samples = patients * job.RATE_HZ
    benchmark.extra_info["patients"] = patients
    benchmark.extra_info["state_bytes"] = 8 * rhythm.ROW
    benchmark.extra_info["ns_per_sample_cpu"] = round(float(np.median(cpu)) / samples * 1e9, 2)
    rate(benchmark, samples)
    cell.line.close()


@pytest.mark.benchmark(group="ECG, continuous, one-second packets")
def test_latency_of_one_packet(benchmark: Any, signals: list[job.I16]) -> None:  # noqa: ANN401
    """One packet of a second alone, bytes to episodes: what is added to the wait for the second itself."""
    cell = job.Cell(signals, len(signals) * len(job.PLACES_S), 1)
    benchmark.pedantic(cell.step, setup=lambda: ((cell.body(1),), {}), rounds=100)
    cell.line.close()


@pytest.mark.benchmark(group="ECG, long records, one core")
def test_lead(benchmark: Any, signals: list[job.I16]) -> None:  # noqa: ANN401
    """All kernels on the same records from memory, ten seconds at a time."""
    work, size = ecg_lead.scratch(11.0), 10 * job.RATE_HZ

    def run() -> int:
        beats = 0
        for lead in signals:
            row = np.zeros(ecg_lead.ROW)
            for at in range(0, len(lead), size):
                ecg_lead.feed(row, lead[at : at + size], job.GAIN, design(job.RATE_HZ), work)
                beats += int(work.counts[0])
        return beats

    assert benchmark.pedantic(run, rounds=5, warmup_rounds=1) > 10_000
    rate(benchmark, sum(len(lead) for lead in signals))


@pytest.mark.benchmark(group="ECG, cold strips of 10 s, one core")
def test_strips(benchmark: Any, signals: list[job.I16]) -> None:  # noqa: ANN401
    """Each strip from nothing to its end."""
    strips = cut(signals)
    work, row = ecg_lead.scratch(STRIP_S + 1.0), np.zeros(ecg_lead.ROW)

    def run() -> None:
        for strip in strips:
            row[:] = 0.0
            ecg_lead.feed(row, strip, job.GAIN, design(job.RATE_HZ), work)
            ecg_lead.finish(row, design(job.RATE_HZ), work)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    rate(benchmark, sum(len(strip) for strip in strips), len(strips))


def cut(signals: list[job.I16]) -> list[job.I16]:
    """Cut the leads into strips."""
    size = STRIP_S * job.RATE_HZ
    return [lead[at : at + size] for lead in signals for at in range(0, len(lead) - size + 1, size)]


def sleepecg() -> Callable[[job.F64], object]:
    """Its compiled detector."""
    library = pytest.importorskip("sleepecg")
    return lambda lead: library.detect_heartbeats(lead, job.RATE_HZ, backend="c")


def neurokit() -> Callable[[job.F64], object]:
    """NeuroKit2's default: cleaning and peaks."""
    library = pytest.importorskip("neurokit2")

    def detect(lead: job.F64) -> object:
        return library.ecg_peaks(
            library.ecg_clean(lead, sampling_rate=job.RATE_HZ), sampling_rate=job.RATE_HZ
        )

    return detect


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="ECG, long records, one core")
@pytest.mark.parametrize("rival", [sleepecg, neurokit])
def test_rival(
    benchmark: Any,  # noqa: ANN401
    signals: list[job.I16],
    rival: Callable[[], Callable[[job.F64], object]],
) -> None:
    """R peaks alone, of whole records."""
    detect = rival()
    millivolts = [lead / job.GAIN for lead in signals]
    benchmark.pedantic(lambda: [detect(lead) for lead in millivolts], rounds=3, warmup_rounds=1)
    rate(benchmark, sum(len(lead) for lead in signals))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="ECG, cold strips of 10 s, one core")
@pytest.mark.parametrize("rival", [sleepecg, neurokit])
def test_rival_on_strips(
    benchmark: Any,  # noqa: ANN401
    signals: list[job.I16],
    rival: Callable[[], Callable[[job.F64], object]],
) -> None:
    """R peaks alone, of some of the strips."""
    detect = rival()
    strips = [strip / job.GAIN for strip in cut(signals)[::10]]
    benchmark.pedantic(lambda: [detect(strip) for strip in strips], rounds=3, warmup_rounds=1)
    rate(benchmark, sum(len(strip) for strip in strips), len(strips))
