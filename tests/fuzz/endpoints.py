"""Every intake endpoint under fire: ``make fuzz-endpoints``, ``python tests/fuzz/endpoints.py --requests 100000``.

A real service, in a process of its own, gets mutated bodies, encodings that are none, headers that lie, requests cut
anywhere, bytes that are no HTTP, and WebSocket frames of any kind, over raw sockets. A good source sends beside it.
What must hold: no answer but the documented ones and never a 500, the process alive, each good body acknowledged and in
the log, all packets accounted for, nothing of the attackers' bytes or keys in what the service prints.
"""

import argparse
import base64
import gzip
import os
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "crash"))

import corpus
import httpx
import mutate
import service as running

from ingest import packet
from ingest.log import LogReader
from ingest.sources import Limits, Source, Sources

GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12, quarantine_share=1.0)
LEGAL = {
    "/v1/packets": {202, 400, 401, 404, 405, 408, 413, 415, 422, 429, 503, 507},
    "/v1/quarantine": {200, 400, 401, 404, 405, 422, 429},
    "": {101, 200, 400, 401, 403, 404, 405, 413, 422, 426, 431, 503},
}
PATHS = ("/v1/packets", "/v1/packets", "/v1/packets", "/v1/quarantine", "/v1/stream", "/healthz", "/readyz", "/metrics",
         "/openapi.json", "/", "/v1/packets/", "/v1//packets", "/v1/packets?x=%00", "/%2e%2e/passwd", "*")  # fmt: skip
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "post", "")
ENCODINGS = ("gzip", "zstd", "deflate", "br", "gzip, gzip", "identity", "\x80", "", "GZIP")
UNKNOWN = "n0t-a-key-of-anybody"
QUERIES = ("", "?limit=1", "?limit=-1", "?limit=99999999999999999999", "?after=1.2", "?after=x", "?after=%ff")
AGAIN = ("a", "a" * 201, "", "\x01", "ü", "k" * 200)
ODD = (
    ("Content-Length", "7"),
    ("X", "y" * 70_000),
    ("Expect", "100-continue"),
    ("Upgrade", "h2c"),
    (" bad", "x"),
    ("Connection", "close"),
)
TRANSFERS = ("chunked", "chunked, chunked", "gzip, chunked", "nonsense")


class Attacker:
    """Makes requests, each by its number alone: the same seed, the same bytes."""

    def __init__(self, keys: list[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.keys = keys
        self._mutator = mutate.Mutator(corpus.make(300, seed=seed), seed)
        self._bodies: list[bytes] = []

    def body(self) -> bytes:
        """Give a mutated body, or something that is none."""
        rng = self.rng
        if rng.random() < 0.1:
            return rng.randbytes(rng.choice((0, 1, 17, 4096)))
        if not self._bodies:
            data, at = self._mutator.draw(500)
            whole = data.tobytes()
            self._bodies = [whole[a:b] for a, b in zip(at[:-1].tolist(), at[1:].tolist(), strict=True)]
        return self._bodies.pop()

    def request(self) -> bytes:
        """Give a request, more or less."""
        rng = self.rng
        if rng.random() < 0.05:
            return rng.randbytes(rng.choice((1, 10, 1000)))
        method = rng.choice(METHODS) if rng.random() < 0.1 else "POST"
        path = rng.choice(PATHS) if rng.random() < 0.3 else "/v1/packets"
        if path == "/v1/quarantine":
            method = "GET"
            path += rng.choice(
                (
                    "",
                    "?limit=1",
                    "?limit=-1",
                    "?limit=99999999999999999999",
                    "?after=1.2",
                    "?after=x",
                    "?after=%ff",
                )
            )
        body = self.body()
        headers = [("Host", "x"), ("Authorization", self._authorization())]
        if rng.random() < 0.3:
            encoding = rng.choice(ENCODINGS)
            headers.append(("Content-Encoding", encoding))
            if encoding == "gzip" and rng.random() < 0.7:
                body = gzip.compress(body * rng.choice((1, 1, 10_000)))
                if rng.random() < 0.5:
                    body = body[: rng.randrange(len(body) + 1)]
        if rng.random() < 0.2:
            headers.append(
                (
                    "Idempotency-Key",
                    rng.choice(("a", "a" * 201, "", "\x01", "ü", "k" * 200, str(rng.random()))),
                )
            )
        chunked = rng.random() < 0.2
        if chunked:
            headers.append(
                (
                    "Transfer-Encoding",
                    rng.choice(("chunked", "chunked, chunked", "gzip, chunked", "nonsense")),
                )
            )
            body = self._chunks(body)
        else:
            lie = rng.choice((0, 0, 0, 0, 1, -1, 1 << 40)) if rng.random() < 0.3 else 0
            headers.append(("Content-Length", str(max(0, len(body) + lie))))
        if rng.random() < 0.1:
            headers.append(rng.choice(ODD))
        rng.shuffle(headers)
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
        whole = head.encode("utf-8") + body
        return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.1 else whole

    def _authorization(self) -> str:
        known = [
            f"Bearer {key}" for key in (*self.keys, *self.keys[:2] * 8)
        ]  # the third is soon over its limits
        return self.rng.choice((*known, f"Bearer {UNKNOWN}", "Basic YTpi", "Bearer", "", "Bearer \x7f"))

    def _chunks(self, body: bytes) -> bytes:
        rng = self.rng
        out = b""
        while body:
            size = rng.randint(1, max(1, len(body)))
            said = size if rng.random() < 0.95 else rng.choice((size + 1, 1 << 60))
            out += f"{said:x}".encode() + b"\r\n" + body[:size] + b"\r\n"
            body = body[size:]
        return out + (b"0\r\n\r\n" if rng.random() < 0.9 else b"")

    def upgrade(self) -> bytes:
        """Give the request that begins a WebSocket."""
        key = base64.b64encode(self.rng.randbytes(16)).decode()
        return (
            "GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: {self._authorization()}\r\n\r\n"
        ).encode()

    def frame(self) -> bytes:
        """Give a WebSocket frame, more or less."""
        rng = self.rng
        data = self.body()
        first = rng.choice((0x82, 0x82, 0x82, 0x82, 0x81, 0x02, 0x80, 0x89, 0x8A, 0x88, 0xF2, 0x83, 0xC2))
        size = len(data) if rng.random() < 0.95 else rng.choice((1 << 40, 0, len(data) + 5))
        mask = 0x80 if rng.random() < 0.97 else 0
        if size < 126:
            head = struct.pack(">BB", first, mask | size)
        elif size < 65536:
            head = struct.pack(">BBH", first, mask | 126, size)
        else:
            head = struct.pack(">BBQ", first, mask | 127, size)
        return head + (bytes(4) if mask else b"") + data


def _whole(answer: bytes) -> bool:
    head, _, rest = answer.partition(b"\r\n\r\n")
    size = re.search(rb"content-length: (\d+)", head.lower())
    return size is not None and len(rest) >= int(size[1])


def _statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"(?:^|\r\n|\}|\")HTTP/1\.1 (\d{3}) ", answer)]


class Fire:
    """Threads of attackers on one service."""

    def __init__(self, port: int, keys: list[str], seed: int) -> None:
        self.port = port
        self.seen: Counter[int] = Counter()
        self.sent = 0
        self.wrong: list[str] = []
        self._keys = keys
        self._seed = seed
        self._lock = threading.Lock()

    def run(self, requests: int, threads: int = 4) -> None:
        """Send so many requests."""
        each = -(-requests // threads)
        every = [threading.Thread(target=self._attack, args=(self._seed + k, each)) for k in range(threads)]
        for thread in every:
            thread.start()
        for thread in every:
            thread.join()

    def _attack(self, seed: int, requests: int) -> None:
        attacker = Attacker(self._keys, seed)
        for _ in range(requests):
            streams = attacker.rng.random() < 0.1
            begun = attacker.upgrade() if streams else attacker.request()
            frames = [attacker.frame() for _ in range(attacker.rng.randrange(6))] if streams else []
            answer = self._exchange(begun, frames)
            path = next((p for p in LEGAL if p and f" {p}".encode() in begun[:200]), "")
            statuses = _statuses(answer)
            with self._lock:
                self.sent += 1
                self.seen.update(statuses)
                if (
                    any(status not in LEGAL[path] and status != 100 for status in statuses)
                    and len(self.wrong) < 20
                ):
                    self.wrong.append(f"seed {seed}: {statuses} to {begun[:300]!r}: {answer[:300]!r}")

    def _exchange(self, begun: bytes, frames: list[bytes]) -> bytes:
        out = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as wire:
                wire.settimeout(0.3)
                wire.sendall(begun)
                for frame in frames:
                    wire.sendall(frame)
                # Until an answer is whole; to half a request, and to frames, nothing may come.
                while len(out) < 1 << 20 and (some := wire.recv(65536)):
                    out += some
                    if not frames and _whole(out):
                        break
        except OSError:  # cut, or no answer to half a request: both are legal
            pass
        return out


def _good(url: str, key: str, stop: threading.Event, sent: list[bytes], wrong: list[str]) -> None:
    seq = 0
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        while not stop.is_set():
            seq += 1
            body = packet.spot(f"GOOD{seq % 50}", "scale", seq, time.time_ns() // 1_000_000, {1: 80.0})
            answer = client.post(url + "/v1/packets", content=body)
            if answer.status_code != 202 or answer.json() != {
                "accepted": 1,
                "duplicate": 0,
                "quarantined": {},
            }:
                wrong.append(f"a good body: {answer.status_code} {answer.text}")
            sent.append(body)
            time.sleep(0.01)


def main(requests: int, seed: int, folder: Path) -> str:
    """Fire at a service; exit with what is wrong where anything is, else give what was done."""
    data = folder / "data"
    data.mkdir()
    sources = Sources(data / "sources")
    keys = [
        sources.create(Source("bad-1", everyone=True, limits=GENEROUS), "test"),
        sources.create(Source("bad-2", patients=("P1",), limits=GENEROUS), "test"),
        sources.create(Source("bad-3", everyone=True), "test"),
    ]
    good = sources.create(Source("good", everyone=True, limits=GENEROUS), "test")
    sources.close()
    os.environ.update({"VIGIE_HOLD_S": "0", "VIGIE_BODY_S": "2", "VIGIE_HEADER_S": "2", "VIGIE_WEB": "false"})
    began = time.monotonic()
    sent: list[bytes] = []
    with running.Service(data, running.Figures()) as service:
        service.start()
        service.wait_up()
        fire = Fire(int(service.url.rpartition(":")[2]), keys, seed)
        stop = threading.Event()
        beside = threading.Thread(target=_good, args=(service.url, good, stop, sent, fire.wrong))
        beside.start()
        fire.run(requests)
        stop.set()
        beside.join()
        fire.wrong += _standing(service.url)
        if status := service.end(signal.SIGTERM):
            fire.wrong.append(f"the service ended with status {status}")
    fire.wrong += _logged(data, sent)
    printed = "".join(service.lines)
    for what in (UNKNOWN, *keys, good, "Traceback", "GOOD1"):
        if what in printed:
            fire.wrong.append(f"{what} is in what it printed")
    if len(service.lines) > 50:
        fire.wrong.append(f"attackers made it print {len(service.lines)} lines")
    if fire.wrong:
        sys.exit("\n".join(fire.wrong[:20]) + "\n" + printed[-3000:])
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(fire.seen.items()))
    return (
        f"{fire.sent:,} requests in {time.monotonic() - began:.0f} s; answers {answers}; {len(sent):,} good bodies "
        "beside them, all acknowledged and in the log; accounts balanced"
    )


def _standing(url: str) -> list[str]:
    """Say what is wrong with the service after the fire."""
    wrong = []
    if httpx.get(url + "/healthz", timeout=30).json() != {"alive": True}:
        wrong.append("/healthz")
    until = time.monotonic() + 60
    while (standing := httpx.get(url + "/readyz", timeout=30).json())[
        "lag_entries"
    ] and time.monotonic() < until:
        time.sleep(0.1)
    if not standing["ready"] or standing["problems"] or standing["lag_entries"]:
        wrong.append(f"/readyz: {standing}")
    if "vigie_accounts_balanced 1.0" not in httpx.get(url + "/metrics", timeout=30).text:
        wrong.append("accounts do not balance")
    return wrong


def _logged(data: Path, sent: list[bytes]) -> list[str]:
    """Say what is wrong with the log: damage, or good bodies that are not in it as they were sent."""
    with LogReader(data / "log") as log:
        wrong = [] if (report := log.verify()).ok else [str(report)]
        at, logged = 0, []
        while entries := log.read(at):
            logged += [entry.body for entry in entries if entry.source == "good"]
            at = entries[-1].offset + 1
    if logged != sent:
        wrong.append(f"{len(sent)} good bodies were acknowledged, {len(logged)} are in the log")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-fuzz-") as temporary:
        print(main(given.requests, given.seed, Path(temporary)))
