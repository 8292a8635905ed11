"""The machine's clock jumps an hour, forwards and back, under a running service.

The service is a real process; only what Python says of the time of day is moved, before any module of Vigie asks.
"""

import signal
import time

import test_service as running

from ingest import packet
from ingest.log import LogReader

HOUR_MS = 3_600_000

MOVED = """
import os, time

def moved(real):
    def now():
        with open(os.environ["VIGIE_TEST_CLOCK"]) as file:
            return real() + int(file.read()) * (1_000_000_000 if real.__name__ == "time_ns" else 1)
    return now

time.time_ns, time.time = moved(time.time_ns), moved(time.time)
"""


class Clock:
    """How far the service's clock is from the machine's; what it measures spans with goes on as it is."""

    def __init__(self, folder):
        self._file = folder / "clock"
        self.set(0)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(MOVED)
        self.environment = {"PYTHONPATH": str(folder / "site"), "VIGIE_TEST_CLOCK": str(self._file)}

    def set(self, hours):
        temporary = self._file.with_suffix(".new")
        temporary.write_text(str(hours * 3600))
        temporary.replace(self._file)
        self.ms = hours * HOUR_MS

    def now_ms(self):
        return time.time_ns() // 1_000_000 + self.ms


def weight(patient, seq, t_ms, kg):
    return packet.spot(patient, "scale", seq, t_ms, {1: kg})


def sent(service, key, body):
    answer = running.send(service.url, key, body)
    assert answer.status_code == 202
    assert not answer.json()["quarantined"]
    running.wait_for(service.url, lambda standing: not standing["lag_entries"])
    return answer.json()["accepted"]


def test_nothing_is_lost_and_nobody_falls_silent(tmp_path):
    folder = tmp_path / "data"
    key = running.key_of(folder)
    clock = Clock(tmp_path)
    day = running.DAY
    accepted = 0
    with running.started(folder, env=clock.environment) as service:
        first = clock.now_ms()
        others = b"".join(weight(f"S{k}", 1, first, 70.0 + k) for k in range(20))
        accepted += sent(service, key, others + weight("P1", 1, first - 2 * day, 80.0))
        for at, hours in enumerate((1, -1, 0), 2):
            clock.set(hours)
            time.sleep(0.3)
            accepted += sent(service, key, weight("P2", at, clock.now_ms(), 90.0 + 0.1 * at))
        accepted += sent(service, key, weight("P1", 99, clock.now_ms(), 84.0))
        # The one that is: nobody's silence, although the line's clock went an hour in no time.
        alerts = running.queue_with(folder, "P1")
        assert len(alerts) == 1
        metrics = running.get(service.url + "/metrics").text
        assert "vigie_accounts_balanced 1.0" in metrics
        assert f'vigie_packets_total{{outcome="applied",source="gw"}} {float(accepted)}' in metrics
        service.end(signal.SIGKILL)
    with LogReader(folder / "log") as log:
        report = log.verify()
        times = [entry.receipt_ms for entry in log.read(0)]
    assert report.ok
    assert times == sorted(times)
    assert max(times) - times[0] > HOUR_MS - 60_000  # it did jump
    # Started again with a clock that is behind the log's.
    with running.started(folder, env=clock.environment) as service:
        running.wait_for(service.url, lambda standing: not standing["lag_entries"])
        assert running.queue_of(folder) == alerts
        assert sent(service, key, weight("P2", 200, clock.now_ms(), 90.0)) == 1
        assert service.end() == 0
