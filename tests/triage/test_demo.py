"""The demonstration is the real line: what it shows must be what the engine said."""

import io

import pytest

from engine.progress import Lines
from triage import demo


@pytest.fixture
def told():
    return Lines(io.StringIO())


def open_in(cell):
    return [(e.patient, e.protocol, e.problem, e.level, e.onset_ms) for e in cell.queue.queue()]


# Kernels are compiled where they were not.
@pytest.mark.timeout(600)
def test_the_queue_does_not_depend_on_how_time_was_cut(tmp_path, told):
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    with (
        demo.Cell(tmp_path / "one", 30, 3, seed=4) as one,
        demo.Cell(tmp_path / "many", 30, 3, seed=4) as many,
    ):
        end = one.start_ms + 12 * demo.HOUR_MS
        one.catch_up(told)
        # The nurse acts at the same times, so it is only the live part that may be cut otherwise.
        many.catch_up(told)
        one.take(end)
        for until in range(many.start_ms, end + 1, 47 * demo.MINUTE_MS):
            many.take(until)
        many.take(end)
        assert open_in(one) == open_in(many)
        assert len(open_in(one)) > 3
        for cell in (one, many):
            account = cell.line.accounts.total
            assert account.balanced
            assert account.received > 300


@pytest.mark.timeout(600)
def test_the_nurse_of_the_days_behind_closes_what_was_rouge(tmp_path, told):
    with demo.Cell(tmp_path, 60, 6, seed=2) as cell:
        cell.catch_up(told)
        waited = [
            e for e in cell.queue.queue() if e.level == 3 and e.raised_clock_ms < cell.start_ms - demo.DAY_MS
        ]
        assert waited == []
        ended = cell.line.accounts.of("cell")
        assert ended.received == ended.applied > 0


def test_a_run_ends_by_itself_and_counts(tmp_path, capsys):
    from engine.progress import watched

    went = demo.run(
        for_s=0.1,
        patients=10,
        days=1,
        speed=600,
        seed=1,
        folder=tmp_path / "kept",
        web=False,
        progress=watched(io.StringIO()),
    )
    assert "packets: " in went
    assert (tmp_path / "kept" / "queue.sqlite").exists()
    assert "ROUGE" in capsys.readouterr().out
