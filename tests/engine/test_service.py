"""The service as an operator runs it: a process that is started, stopped, killed and started again."""

import errno
import io
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, redirect_stdout

import httpx
import pytest

import triage.store
import vigie
from engine.config import load
from engine.service import Service
from ingest import packet
from ingest.sources import Limits, Source, Sources
from rules.alerts import SCHEMA
from rules.errors import ProtocolError

DAY = 86_400_000
GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12)


class Process:
    """A service in a process of its own, and what it printed."""

    def __init__(self, folder, *options, env=None):
        self.folder = folder
        self.lines = []
        command = [sys.executable, "-m", "vigie", "serve", "--data", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "VIGIE_ECG"} | (env or {}),
        )
        self.url = ""
        self._up = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"listening at (\S+)", line):
                self.url = found[1]
                self._up.set()
        self._up.set()

    def wait_up(self):
        assert self._up.wait(120)
        assert self.url, self.output
        return self

    @property
    def output(self):
        return "".join(self.lines)

    def end(self, number=signal.SIGTERM, wait=60):
        self.process.send_signal(number)
        return self.ended(wait)

    def ended(self, wait=120):
        status = self.process.wait(wait)
        self._reader.join(10)
        self.process.stdout.close()
        return status


@contextmanager
def started(folder, *options, env=None):
    process = Process(folder, *options, env=env)
    try:
        yield process.wait_up()
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def key_of(folder, name="gw"):
    folder.mkdir(exist_ok=True)
    sources = Sources(folder / "sources")
    key = sources.create(Source(name, everyone=True, limits=GENEROUS), "test")
    sources.close()
    return key


def send(url, key, body, **options):
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(url + "/v1/packets", content=body, headers=headers, timeout=60, **options)


def gain(patient, first=0):
    """A weight a day, three kilograms more on the last."""
    now = time.time_ns() // 1_000_000
    kg = [80.0, 80.1, 80.0, 83.5]
    return b"".join(
        packet.spot(patient, "scale", first + k, now - (3 - k) * DAY - 60_000, {1: value})
        for k, value in enumerate(kg)
    )


def get(url):
    """A service that has just started answers late where others use the machine."""
    return httpx.get(url, timeout=60)


def wait_for(url, what, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        standing = get(url + "/readyz").json()
        if what(standing):
            return standing
        time.sleep(0.05)
    raise AssertionError(standing)


def queue_of(folder):
    """What ``vigie queue --json`` prints; in this process, whose start would take longer than all the rest."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        vigie.app(["queue", "--queue", str(folder / "queue.sqlite"), "--json"], standalone_mode=False)
    # Time left depends on when it is asked.
    return [
        {name: value for name, value in line.items() if name != "left_s"}
        for line in json.loads(printed.getvalue())
    ]


def queue_with(folder, *patients, seconds=60):
    """The queue, once it has lines of these patients: the line has gone on before the queue has its rows."""
    until = time.monotonic() + seconds
    while True:
        lines = queue_of(folder)
        if {line["patient"] for line in lines} == set(patients):
            return lines
        assert time.monotonic() < until, lines
        time.sleep(0.05)


def test_from_a_body_to_the_queue_and_on_after_each_end(tmp_path):
    folder = tmp_path / "data"
    key = key_of(folder)
    with started(folder) as service:
        assert send(service.url, key, gain("P1")).json()["accepted"] == 4
        wait_for(service.url, lambda standing: standing["ready"] and not standing["lag_entries"])
        queue_with(folder, "P1")
        assert service.end() == 0
    assert "no checkpoint; 0 entries" in service.output
    before = queue_of(folder)
    # A stop leaves a checkpoint: nothing is gone through again. A kill leaves what the log has.
    with started(folder) as service:
        assert re.search(r"checkpoint at offset \d+; 0 entries", service.output)
        assert send(service.url, key, gain("P2")).json()["accepted"] == 4
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
    with started(folder) as service:
        assert re.search(r"checkpoint at offset \d+; [1-9]\d* entries", service.output)
        wait_for(service.url, lambda standing: standing["ready"] and not standing["lag_entries"])
        after = queue_with(folder, "P1", "P2")
        assert [line for line in after if line["patient"] == "P1"] == before
        assert (
            send(service.url, key, gain("P2")).json()["accepted"] == 4
        )  # intake forgot them, the engine did not
        wait_for(service.url, lambda standing: not standing["lag_entries"])
        text = get(service.url + "/metrics").text
        assert 'vigie_packets_total{outcome="duplicate",source="gw"} 4.0' in text
        assert "vigie_accounts_balanced 1.0" in text
        assert service.end(signal.SIGINT) == 0
    assert queue_of(folder) == after


def shown(queue, seconds=60):
    """The open lines, once there are any: the line has gone on before the queue has its rows."""
    until = time.monotonic() + seconds
    while not (lines := queue.queue()) and time.monotonic() < until:
        time.sleep(0.05)
    return lines


def test_what_a_nurse_closes_the_engine_knows_and_says_anew_what_comes_after(tmp_path):
    """From the desk through the log to the line and back: the problem is closed there, and a new one can begin."""
    from triage import audit, store
    from triage.work import outgoing
    from triage.work.desk import Desk
    from triage.work.states import Reason

    folder = tmp_path / "data"
    key = key_of(folder)
    with started(folder) as service, store.open(folder / "queue.sqlite") as queue:
        assert send(service.url, key, gain("P1")).json()["accepted"] == 4
        wait_for(service.url, lambda standing: standing["ready"] and not standing["lag_entries"])
        desk = Desk(queue.engine)
        opened = shown(queue)
        assert opened
        for line in opened:
            desk.claim(line.id, "marie")
            desk.close(line.id, "marie", Reason.TREATED)
        until = time.monotonic() + 60
        while outgoing.waiting(queue.engine) and time.monotonic() < until:
            time.sleep(0.05)
        wait_for(service.url, lambda standing: not standing["lag_entries"])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            kinds = {line.id: [said.kind for said in queue.log(line.id)] for line in opened}
            if all(said[-1] == "closed" for said in kinds.values()):
                break
            time.sleep(0.05)
        assert all(said[-1] == "closed" for said in kinds.values()), kinds
        assert queue.queue() == []
        closed = [queue.episode(line.id) for line in opened]
        assert [line.outcome for line in closed] == ["closed"] * len(opened)
        # Another three kilograms: another line, not the old one.
        more = packet.spot("P1", "scale", 99, time.time_ns() // 1_000_000 - 1000, {1: 87.5})
        assert send(service.url, key, more).json()["accepted"] == 1
        wait_for(service.url, lambda standing: not standing["lag_entries"])
        again = shown(queue)
        assert again
        assert not {line.id for line in again} & set(kinds)
        assert audit.verify(queue.engine).problem == ""
        text = get(service.url + "/metrics").text
        assert f'vigie_packets_total{{outcome="applied",source="cell"}} {len(opened)}.0' in text
        assert service.end() == 0


def test_messages_for_programs_hold_no_secret_and_no_patient(tmp_path):
    folder = tmp_path / "data"
    key = key_of(folder)
    with started(folder, env={"VIGIE_LOG_FORMAT": "json"}) as service:
        send(service.url, key, gain("PATIENTXYZ") + b"\xc1")
        send(service.url, key[:-1] + "!", gain("PATIENTXYZ"))
        wait_for(service.url, lambda standing: not standing["lag_entries"])
        text = get(service.url + "/metrics").text
        service.end()
    for line in service.lines:
        if line.startswith("{"):
            assert set(json.loads(line)) >= {"time", "level", "logger", "message"}
    assert sum(line.startswith("{") for line in service.lines) >= 2
    for shown in (service.output, text):
        assert "PATIENTXYZ" not in shown
        assert key.split("_", 2)[2] not in shown


def test_tls(tmp_path):
    certificate, tls_key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", tls_key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    folder = tmp_path / "data"
    key = key_of(folder)
    env = {"VIGIE_TLS_CERTIFICATE": str(certificate), "VIGIE_TLS_KEY": str(tls_key)}
    with started(folder, env=env) as service:
        assert service.url.startswith("https://")
        headers = {"Authorization": f"Bearer {key}"}
        import ssl

        context = ssl.create_default_context(cafile=str(certificate))
        answer = httpx.post(
            service.url + "/v1/packets", content=gain("P1"), headers=headers, verify=context, timeout=60
        )
        assert answer.json()["accepted"] == 4
        with pytest.raises(httpx.HTTPError):
            httpx.get(service.url.replace("https", "http") + "/healthz")
        assert service.end() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "nothing"], "there is no such protocol"),
        (["--port", "70000"], "port (command line): 70000"),
        (["--host", "203.0.113.7"], "203.0.113.7:0: Cannot assign requested address"),
    ],
)
def test_what_keeps_it_from_starting_is_one_clear_line(tmp_path, options, said):
    process = Process(tmp_path / "data", *options)
    assert process.ended() == 2
    assert [line for line in process.lines if line.startswith("vigie: ") and said in line], process.output
    assert "Traceback" not in process.output


def test_a_second_one_on_the_same_folder_is_refused(tmp_path):
    folder = tmp_path / "data"
    with started(folder) as first:
        second = Process(folder)
        assert second.ended() == 2
        assert f"process {first.process.pid} writes this log" in second.output
        assert get(first.url + "/healthz").status_code == 200


def listens(host, port):
    with socket.socket() as trying:
        return trying.connect_ex((host, port)) == 0


def test_a_stop_answers_what_is_under_way(tmp_path):
    folder = tmp_path / "data"
    key = key_of(folder)
    body = gain("P1")
    with started(folder) as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            head = f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}"
            slow.settimeout(60)
            # It is under way once the service asks for its body, and a stop has begun once nobody else is let in.
            slow.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode() + body[:10])
            assert slow.recv(4096).startswith(b"HTTP/1.1 100")
            service.process.send_signal(signal.SIGTERM)
            until = time.monotonic() + 60
            while listens(host, int(port)):
                assert time.monotonic() < until
                time.sleep(0.02)
            slow.sendall(body[10:])
            assert slow.recv(4096).startswith(b"HTTP/1.1 202")
        assert service.ended() == 0
    assert {line["patient"] for line in queue_of(folder)} == {"P1"}


def test_a_signal_may_come_at_any_moment_of_the_waiting(tmp_path):
    with triage.store.open(tmp_path / "queue.sqlite") as store:
        settings, _ = load(given={"data": tmp_path / "data", "port": 0}, environment={})
        settings.data.mkdir()
        service = Service(settings, store.apply)
        asked = []

        def at_each_call(frame, _event, _argument):
            # As a handler would: between two steps of the thread that waits, whatever locks it holds.
            if frame.f_code.co_name == "_wait" or asked:
                asked.append(frame.f_code.co_name)
                service.stop()

        def serve():
            sys.setprofile(at_each_call)
            try:
                service.run()
            finally:
                sys.setprofile(None)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        serving.join(60)
        assert not serving.is_alive()
        assert "_wait" in asked


def test_a_queue_that_is_away_is_a_problem_until_it_is_back(tmp_path, caplog):
    """A full disk is met in the same way: the step fails, is tried again, and in the end does not fail."""
    settings, _ = load(given={"data": tmp_path / "data", "port": 0}, environment={})
    key = key_of(settings.data)
    away = threading.Event()
    away.set()
    with triage.store.open(tmp_path / "queue.sqlite") as store, caplog.at_level("INFO", "vigie"):

        def sink(alerts):
            if away.is_set():
                raise OSError(errno.ENOSPC, "No space left on device", "queue.sqlite")
            return store.apply(alerts)

        class Outbox:
            def ready(self, _until_ms):
                sink(SCHEMA.to_frame())
                return (), None

            def sent(self, ids):
                pass

        service = Service(settings, sink, outbox=Outbox())
        urls = queue.SimpleQueue()
        serving = threading.Thread(target=service.run, args=(urls.put,))
        serving.start()
        url = urls.get(timeout=60)
        assert send(url, key, gain("P1")).json()["accepted"] == 4
        standing = wait_for(url, lambda standing: len(standing["problems"]) == 2)
        assert "No space left on device" in standing["problems"][0]
        assert b"vigie_problems 1.0" in service.expose()
        assert "acts of the cell do not reach the log" in standing["problems"][-1]
        away.clear()
        wait_for(url, lambda standing: standing["ready"] and not standing["problems"])
        assert b"vigie_problems 0.0" in service.expose()
        assert len(store.queue()) == 1
        service.stop()
        serving.join(60)
    told = [record.message for record in caplog.records if "No space left" in record.message]
    assert sorted(message[:6] for message in told) == ["[Errno", "acts o", "over: "]


def test_a_protocol_that_nobody_signed_is_said_at_the_start_or_refused(tmp_path, caplog):
    settings, _ = load(given={"data": tmp_path / "data", "port": 0}, environment={})
    settings.data.mkdir()
    with triage.store.open(tmp_path / "queue.sqlite") as store, caplog.at_level("WARNING", "vigie"):
        refusing = settings.model_copy(update={"unsigned_protocols": "refuse"})
        with pytest.raises(
            ProtocolError, match=r"insuffisance_cardiaque .* is unsigned.*vigie protocol sign"
        ):
            Service(refusing, store.apply)
        assert not (settings.data / "log").exists()
        service = Service(settings, store.apply)
        measured = service.expose()
        service.stop()
        service.run()
    assert "insuffisance_cardiaque 0.1.0 is unsigned: nobody answers for its figures" in caplog.text
    assert b'vigie_protocol_signed{protocol="insuffisance_cardiaque",standing="unsigned"' in measured
