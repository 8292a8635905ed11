"""The common job, with its rivals in the same run: processor time a packet, and the same alerts."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from bench import common_job as job

PACKETS = 2_000_000


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    """The packets, encoded."""
    return job.make_bodies(PACKETS)


@pytest.fixture(scope="module")
def expected(bodies: list[bytes]) -> set[job.Alert]:
    """The alerts by plain Python."""
    return job.plain_python(bodies)


def measure(benchmark: Any, function: Callable[[], object], rounds: int) -> None:  # noqa: ANN401 - untyped plugin
    """Run with the benchmark's clock, and note the processor time of all threads, the least of the rounds."""
    cpu: list[float] = []

    def run() -> object:
        start = time.process_time()
        try:
            return function()
        finally:
            cpu.append(time.process_time() - start)

    benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)
    benchmark.extra_info["cpu_us_per_packet"] = round(min(cpu[1:]) / PACKETS * 1e6, 4)


@pytest.mark.benchmark(group="common job")
def test_vigie(benchmark: Any, bodies: list[bytes], expected: set[job.Alert]) -> None:  # noqa: ANN401
    """Bytes to alerts through decoder and shard."""
    program = job.make_program()
    measure(benchmark, lambda: job.vigie(bodies, program), rounds=5)
    alerts, _ = job.vigie(bodies, program)
    assert alerts == expected


@pytest.mark.benchmark(group="common job")
def test_plain_python(benchmark: Any, bodies: list[bytes]) -> None:  # noqa: ANN401
    """What one writes first."""
    measure(benchmark, lambda: job.plain_python(bodies), rounds=1)


@pytest.mark.benchmark(group="common job")
def test_polars(benchmark: Any, bodies: list[bytes], expected: set[job.Alert]) -> None:  # noqa: ANN401
    """Rolling windows over a table: decoding is left out."""
    readings = job.table(bodies)
    measure(benchmark, lambda: job.polars_rolling(readings), rounds=3)
    assert job.polars_rolling(readings) == expected
