"""A few kills, so that every run of the tests has some; ``make crash`` has a hundred."""

import shutil
import sys
from pathlib import Path

import pytest


@pytest.fixture
def crash_run(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("run", None)
    import run

    return run


@pytest.fixture
def crash_service(crash_run):
    sys.modules.pop("service", None)
    import service

    return service


@pytest.fixture
def crash_workers(crash_service, monkeypatch):
    monkeypatch.setenv("VIGIE_LEASE_S", "1")  # put back as it was at the end
    sys.modules.pop("workers", None)
    import workers

    return workers


@pytest.mark.timeout(600)  # a dozen starts of Python, of some seconds each
def test_killed_a_few_times_it_ends_as_if_undisturbed(crash_run, tmp_path, capsys):
    figures = crash_run.main(3, 20260301, 2, tmp_path)
    assert figures.total == 3
    with capsys.disabled():
        print(f" {figures.total} kills, {figures.starts} starts", end="")


@pytest.mark.timeout(600)  # each start of the service takes some seconds
def test_the_service_killed_a_few_times_loses_nothing_that_it_acknowledged(crash_service, tmp_path, capsys):
    figures = crash_service.main(2, 20260301, tmp_path)
    assert figures.kills.total() == 2
    assert figures.acknowledged > 20
    with capsys.disabled():
        print(f" {figures.acknowledged} bodies, {figures.alerts} alerts", end="")


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is missing: make servers")
@pytest.mark.timeout(600)
def test_workers_killed_or_still_for_a_while_lose_nothing_and_do_nothing_twice(
    crash_workers, tmp_path, capsys
):
    figures = crash_workers.main(2, 20260303, tmp_path)
    assert figures.kills.total() == 2
    assert figures.acknowledged > 20
    with capsys.disabled():
        print(f" {figures.acknowledged} bodies, {figures.alerts} alerts", end="")


def test_the_comparison_sees_what_is_lost_and_what_is_there_twice(crash_run):
    expected = {"alerts": [("a",), ("b",)]}
    assert crash_run.compare(expected, {"alerts": [("b",), ("a",)]}) == []
    assert crash_run.compare(expected, {"alerts": [("a",), ("a",)]}) == [
        "alerts, lost: ('b',)",
        "alerts, too many: ('a',)",
    ]
