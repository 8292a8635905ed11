"""What others feel while somebody misbehaves: ``python -m bench.attacks``.

One gateway sends fifty bodies a second, and the time to its answers is measured: alone, then while another source or
a stranger does its worst. Printed for each: half and 99 % of the answers, as multiples of those alone; what the
attacker was told; the service's memory. In the end the accounts must balance. The attackers run on the same
machine, in a process of their own, so what they take of it is in the figures.
"""

import multiprocessing
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from bench.running import Running, key_of, running, temporary
from ingest import packet
from ingest.simulator.load import Load, Measured, run
from ingest.sources import Limits

__all__ = ["ATTACKS", "main"]

SECONDS = 8.0
_CALM_S = 8.0
_THREADS = 4

Told = Counter[int]


def _posts(
    url: str, key: str, bodies: Callable[[int], bytes], until: float, told: Told, encoding: str = ""
) -> None:
    """Send as fast as the answers come, and do not wait when told to."""
    where = urlsplit(url)
    headers = {"Authorization": f"Bearer {key}"} | ({"Content-Encoding": encoding} if encoding else {})
    connection = HTTPConnection(where.hostname or "", where.port, timeout=30)
    number = 0
    while time.monotonic() < until:
        number += 1
        try:
            connection.request("POST", "/v1/packets", bodies(number), headers)
            answer = connection.getresponse()
            answer.read()
            told[answer.status] += 1
        except (OSError, HTTPException):
            told[0] += 1
            connection.close()
    connection.close()


def _together(url: str, key: str, bodies: Callable[[int], bytes], until: float, encoding: str = "") -> Told:
    told: Told = Counter()
    threads = [
        threading.Thread(target=_posts, args=(url, key, bodies, until, told, encoding))
        for _ in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def garbage(url: str, key: str, until: float) -> Told:
    """A megabyte of random bytes, over and over."""
    noise = np.random.default_rng(1).integers(0, 256, 1 << 20, np.uint8).tobytes()
    return _together(url, key, lambda _: noise, until)


def wrong_packets(url: str, key: str, until: float) -> Told:
    """Bodies of a thousand well-formed packets, all implausible."""
    now = time.time_ns() // 1_000_000
    body = b"".join(packet.spot(f"W{k}", "scale", k, now, {1: 900.0}) for k in range(1000))
    return _together(url, key, lambda _: body, until)


def unknown_patients(url: str, key: str, until: float) -> Told:
    """A new patient with every packet."""
    now = time.time_ns() // 1_000_000

    def body(number: int) -> bytes:
        first = (number * _THREADS + threading.get_ident() % 97) * 1000
        return b"".join(packet.spot(f"U{first + k}", "scale", k, now, {1: 80.0}) for k in range(1000))

    return _together(url, key, body, until)


def bombs(url: str, key: str, until: float) -> Told:
    """A gigabyte of zeros in 33 kB of zstd."""
    bomb = pa.compress(bytes(1 << 30), codec="zstd", asbytes=True)
    return _together(url, key, lambda _: bomb, until, "zstd")


def strangers(url: str, key: str, until: float) -> Told:
    """Requests without a good key."""
    return _together(url, key[:-2] + "xx", lambda _: b"x" * 1000, until)


def slow_heads(url: str, key: str, until: float) -> Told:
    """A thousand connections that send a byte of a head a second, and come again when they are ended."""
    del key
    where = urlsplit(url)
    told: Told = Counter()
    open_: list[socket.socket] = []
    head = b"POST /v1/packets HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 1000
    at = 0
    while time.monotonic() < until:
        while len(open_) < 1000:
            try:
                open_.append(socket.create_connection((where.hostname or "", where.port or 80), timeout=5))
            except OSError:
                told[0] += 1
                break
        for each in open_[:]:
            try:
                each.send(head[at : at + 1])
            except OSError:
                open_.remove(each)
                told[0] += 1
        at = (at + 1) % len(head)
        time.sleep(1.0)
    for each in open_:
        each.close()
    return told


def the_same_hour(url: str, key: str, until: float) -> Told:
    """An hour of a thousand patients, again and again."""
    now = time.time_ns() // 1_000_000
    bodies = [
        b"".join(packet.spot(f"H{p}", "cuff", k, now - k * 60_000, {2: 120, 3: 70}) for p in range(1000))
        for k in range(60)
    ]
    return _together(url, key, lambda number: bodies[number % 60], until)


ATTACKS: dict[str, tuple[Callable[[str, str, float], Told], dict[str, object]]] = {
    "garbage": (garbage, {}),
    "implausible packets": (wrong_packets, {}),
    "unknown patients": (unknown_patients, {"cell": "Nord"}),
    "decompression bombs": (bombs, {}),
    "no good key": (strangers, {}),
    "slow heads": (slow_heads, {}),
    "the same hour": (the_same_hour, {}),
}


def _attack(name: str, url: str, key: str, seconds: float, out: "multiprocessing.Queue[Told]") -> None:
    out.put(ATTACKS[name][0](url, key, time.monotonic() + seconds))


def _calm(service: Running, key: str, seconds: float) -> Measured:
    return run(service.url, key, Load(500, 10, seconds, connections=4, patients=500, one_low_in=0))


def main(folder: Path, seconds: float = SECONDS) -> dict[str, tuple[float, float]]:
    """Measure all attacks; give the multiples of half and of 99 % of the answers, by attack."""
    key = key_of(folder, "good")
    enrolment = folder / "enrolment.csv"
    enrolment.write_text("patient,cell,programmes\nN1,Nord,insuffisance_cardiaque\n", encoding="ascii")
    multiples = {}
    with running(folder, {"VIGIE_ENROLMENT": str(enrolment)}) as service:
        _calm(service, key, _CALM_S)
        alone = _calm(service, key, seconds)
        base = [alone.quantile_s(share) for share in (0.5, 0.99)]
        print(
            f"alone: half {1000 * base[0]:.1f} ms, 99 % {1000 * base[1]:.1f} ms; {service.resident() / 1e6:.0f} MB"
        )
        for k, name in enumerate(ATTACKS):
            cell = str(ATTACKS[name][1].get("cell", ""))
            attacker = key_of(folder, f"bad{k}", Limits(), cell)
            time.sleep(1.5)  # within which the service sees the new key
            out: multiprocessing.Queue[Told] = multiprocessing.get_context("spawn").Queue()
            process = multiprocessing.get_context("spawn").Process(
                target=_attack, args=(name, service.url, attacker, seconds + 4, out)
            )
            process.start()
            time.sleep(4)
            felt = _calm(service, key, seconds)
            told = out.get(timeout=60)
            process.join()
            half, most = (felt.quantile_s(share) / b for share, b in zip((0.5, 0.99), base, strict=True))
            multiples[name] = half, most
            answers = ", ".join(f"{status or 'ended'}: {count:,}" for status, count in sorted(told.items()))
            print(
                f"{name}: half x{half:.2f}, 99 % x{most:.2f} ({1000 * felt.quantile_s(0.99):.1f} ms), "
                f"lost {felt.lost}; "
                f"{service.resident() / 1e6:.0f} MB; the attacker got {answers}",
                flush=True,
            )
        service.wait_caught_up()
        if service.metrics()["vigie_accounts_balanced"] != 1:
            msg = "the accounts do not balance"
            raise AssertionError(msg)
    return multiples


if __name__ == "__main__":
    with temporary() as here:
        main(here)
