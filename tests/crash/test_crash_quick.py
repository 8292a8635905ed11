"""A few kills, so that every run of the tests has some; ``make crash`` has a hundred."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def crash_run(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("run", None)
    import run

    return run


@pytest.mark.timeout(600)  # a dozen starts of Python, of some seconds each
def test_killed_a_few_times_it_ends_as_if_undisturbed(crash_run, tmp_path, capsys):
    figures = crash_run.main(5, 20260301, 2, tmp_path)
    assert figures.total == 5
    with capsys.disabled():
        print(f" {figures.total} kills, {figures.starts} starts", end="")


def test_the_comparison_sees_what_is_lost_and_what_is_there_twice(crash_run):
    expected = {"alerts": [("a",), ("b",)]}
    assert crash_run.compare(expected, {"alerts": [("b",), ("a",)]}) == []
    assert crash_run.compare(expected, {"alerts": [("a",), ("a",)]}) == [
        "alerts, lost: ('b',)",
        "alerts, too many: ('a',)",
    ]
