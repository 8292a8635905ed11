"""The shipped heart-failure protocol, whole: readings a second on one core and on two."""

import time
from typing import Any

import pytest

from bench import heart_failure as job
from engine.program import Program


@pytest.fixture(scope="module")
def program() -> Program:
    """The shipped protocol."""
    return job.make_program()


@pytest.fixture(scope="module")
def entries(program: Program) -> list[list[job.Entry]]:
    """A month of 5,000 patients."""
    return job.make_batches(program)


@pytest.mark.benchmark(group="heart failure, whole protocol")
@pytest.mark.parametrize("shards", [1, 2])
def test_line(benchmark: Any, program: Program, entries: list[list[job.Entry]], shards: int) -> None:  # noqa: ANN401
    """Bytes to alert rows with their sentences."""
    job.run(program, entries[:2], shards)
    cpu = time.process_time()
    readings, rows = job.run(program, entries, shards)
    cpu = time.process_time() - cpu
    benchmark.pedantic(lambda: job.run(program, entries, shards), rounds=3)
    benchmark.extra_info["readings"] = readings
    benchmark.extra_info["alert_rows"] = rows
    benchmark.extra_info["million_readings_per_second"] = round(readings / benchmark.stats.stats.min / 1e6, 3)
    benchmark.extra_info["million_readings_per_cpu_second"] = round(readings / cpu / 1e6, 3)
