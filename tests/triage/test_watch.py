"""The queue on a terminal."""

import threading
import time

import pytest

from triage import store, watch

T0 = 1_790_000_000_000


def test_clocks(tmp_path, row, frame):
    with store.open(tmp_path / "q.sqlite") as queue:
        assert abs(watch.clock("last")(queue) - time.time() * 1000) < 60_000
        queue.apply(frame(row()))
        assert watch.clock("last")(queue) == T0 + 1000
        assert abs(watch.clock("now")(queue) - time.time() * 1000) < 60_000
        assert watch.clock("2026-09-21T16:13:20+02:00")(queue) == T0
        assert watch.clock("2026-09-21T14:13:20Z")(queue) == T0


@pytest.mark.parametrize("named", ["", "then", "2026-09-21T16:13:20"])
def test_a_clock_that_is_none(named):
    with pytest.raises(ValueError, match="legal"):
        watch.clock(named)


@pytest.mark.parametrize("named", ["", "Paris", "../etc/passwd"])
def test_a_zone_that_is_none(named):
    with pytest.raises(ValueError, match="legal are names of the IANA table"):
        watch.zone(named)


def test_the_live_queue_shows_what_comes(tmp_path, row, frame, capsys, monkeypatch):
    monkeypatch.setattr(watch, "EVERY_S", 0.05)
    stop = threading.Event()
    last, looks = watch.clock("last"), []

    def looked(queue):
        looks.append(None)
        return last(queue)

    def looks_again():
        before, until = len(looks), time.monotonic() + 60
        while len(looks) < before + 2:
            assert time.monotonic() < until
            time.sleep(0.01)

    with store.open(tmp_path / "q.sqlite") as queue:
        shown = threading.Thread(
            target=watch.watch, args=(queue, looked, watch.zone("Europe/Paris"), 10, stop)
        )
        shown.start()
        try:
            looks_again()
            queue.apply(frame(row("arrived")))
            looks_again()
        finally:
            stop.set()
            shown.join(60)
        assert not shown.is_alive()
    assert "arrived" in capsys.readouterr().out
