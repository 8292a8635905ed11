"""Legal bodies of every kind and encoding, with the places where their msgpack objects begin.

The encoder here is not `ingest.packet`, which always takes the shortest form: each element takes one of its legal
forms at random. It is written object by object so that mutations can hit whole elements, headers and what is between.
"""

import struct
from dataclasses import dataclass

import numpy as np

from ingest.signals import SIGNALS, Kind, plausible_ranges

ITEMS = dict.fromkeys((*range(256, 270), 4095), (0.0, 10.0))
"""Questionnaire items as protocols declare them."""

LOW, HIGH = plausible_ranges(ITEMS)
LEADS = tuple(signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM)
RECEIPT_MS = 1_760_000_000_000
YEAR_2000_MS = 946_684_800_000
_CODES = tuple(int(code) for code in np.flatnonzero(~np.isnan(LOW)))
_PRESSURES = ((2, 3, 4), (16, 17, None))


@dataclass(frozen=True)
class Corpus:
    """Bodies one after the other: `data`, `begin` and `length` of each, and object boundaries.

    The objects of body ``b`` begin at ``element[first[b] : first[b + 1]]``, relative to the body, with its length as
    the last of them; ``packet[packets[b] : packets[b + 1]]`` are likewise the boundaries of its packets.
    """

    data: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    element: np.ndarray
    first: np.ndarray
    packet: np.ndarray
    packets: np.ndarray


def _integer_forms(value: int) -> list[bytes]:
    forms = []
    if 0 <= value < 0x80 or -0x20 <= value < 0:
        forms.append(struct.pack("B", value & 0xFF))
    for tag, form, low, high in (
        (0xCC, ">B", 0, 2**8), (0xCD, ">H", 0, 2**16), (0xCE, ">I", 0, 2**32), (0xCF, ">Q", 0, 2**64),
        (0xD0, ">b", -(2**7), 2**7), (0xD1, ">h", -(2**15), 2**15), (0xD2, ">i", -(2**31), 2**31),
        (0xD3, ">q", -(2**63), 2**63),
    ):  # fmt: skip
        if low <= value < high:
            forms.append(bytes([tag]) + struct.pack(form, value))
    return forms


def _bytes_forms(value: bytes, *, binary_only: bool = False) -> list[bytes]:
    size = len(value)
    headers = []
    if size < 32 and not binary_only:
        headers.append(bytes([0xA0 | size]))
    tags = (0xC4,) if binary_only else (0xC4, 0xD9)
    for tag in tags:
        if size < 2**8:
            headers.append(struct.pack(">BB", tag, size))
        headers += [struct.pack(">BH", tag + 1, size), struct.pack(">BI", tag + 2, size)]
    return [header + value for header in headers]


def _array_forms(size: int) -> list[bytes]:
    forms = [struct.pack(">BH", 0xDC, size), struct.pack(">BI", 0xDD, size)]
    return [bytes([0x90 | size]), *forms] if size < 16 else forms


class _Writer:
    """Draws packets; half of them take the usual encodings throughout, so that both paths of the decoder see them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.usual = True

    def pick(self, forms: list[bytes]) -> bytes:
        return forms[0] if self.usual else forms[int(self.rng.integers(len(forms)))]

    def integer(self, value: int) -> bytes:
        return self.pick(_integer_forms(value))

    def number(self, code: int) -> bytes:
        value = self.value(code)
        form = int(self.rng.integers(4))
        if form == 0:
            return b"\xca" + struct.pack(">f", value)
        if form == 1 and np.ceil(LOW[code]) <= HIGH[code]:
            return self.integer(int(np.clip(round(value), np.ceil(LOW[code]), np.floor(HIGH[code]))))
        return b"\xcb" + struct.pack(">d", value)

    def value(self, code: int) -> float:
        low, high = float(LOW[code]), float(HIGH[code])
        if self.rng.random() < 0.1:
            return low if self.rng.random() < 0.5 else high
        return round(float(self.rng.uniform(low, high)), int(self.rng.integers(5)))

    def identifier(self) -> bytes:
        size = int(self.rng.choice([1, 7, 8, 9, 15, 16, 31, 32, 40, self.rng.integers(1, 41)]))
        return self.pick(_bytes_forms(self.rng.integers(0x21, 0x7F, size, np.uint8).tobytes()))

    def time(self) -> bytes:
        return (
            b"\xc0" if self.rng.random() < 0.5 else self.integer(RECEIPT_MS - int(self.rng.integers(10**10)))
        )

    def pairs(self, *, most: int) -> list[bytes]:
        number = int(self.rng.choice([1, 1, 1, 2, 3, most, self.rng.integers(1, most + 1)]))
        codes = [int(c) for c in self.rng.choice(_CODES, min(number, len(_CODES)), replace=False)]
        # Pressures of one packet must agree: at most one of each group is drawn freely.
        for group in _PRESSURES:
            there = [c for c in codes if c in group]
            codes = [c for c in codes if c not in there[1:]]
        if self.usual or self.rng.random() < 0.5:
            codes.sort()
        parts = [self.pick(_array_forms(2 * len(codes)))]
        for code in codes:
            parts += [self.integer(code), self.number(code)]
        return parts

    def chunk(self) -> list[bytes]:
        rate = int(self.rng.integers(100, 1001))
        samples = self.rng.integers(-32768, 32768, int(self.rng.integers(1, 40)), np.int16).astype("<i2")
        gain = float(self.rng.choice([1, 200, 1000, 0.001]))
        return [
            self.pick(_array_forms(4)),
            self.integer(int(self.rng.choice(LEADS))),
            self.integer(rate) if self.rng.random() < 0.5 else b"\xca" + struct.pack(">f", rate),
            b"\xcb" + struct.pack(">d", gain),
            self.pick(_bytes_forms(samples.tobytes(), binary_only=True)),
        ]

    def act(self) -> list[bytes]:
        key = int(self.rng.integers(2**64, dtype=np.uint64))
        return [
            self.pick(_array_forms(3)), self.integer(1), self.integer(key), self.integer(int(self.rng.integers(1, 64))),
        ]  # fmt: skip

    def packet(self) -> list[bytes]:
        """Objects of one packet, headers of arrays as objects of their own."""
        self.usual = self.rng.random() < 0.5
        kind = int(self.rng.choice([1, 1, 1, 2, 3, 4, 5]))
        seq = int(self.rng.choice([0, 1, 2**31, 2**63 - 1, self.rng.integers(2**40)]))
        t_ms = int(
            self.rng.choice([YEAR_2000_MS, RECEIPT_MS + 300_000, RECEIPT_MS - self.rng.integers(10**10)])
        )
        status = int(self.rng.choice([0, 0, 4, 252, 2**32 - 4]))
        head = [
            self.pick(_array_forms(9)), self.integer(kind), self.identifier(), self.identifier(), self.integer(seq),
            self.integer(t_ms), self.time(), self.time(), self.integer(status),
        ]  # fmt: skip
        if kind == 2:
            return head + self.chunk()
        if kind == 5:
            return head + self.act()
        return head + self.pairs(most=16)


def make(bodies: int, seed: int) -> Corpus:
    """Draw `bodies` legal bodies of one to five packets."""
    writer = _Writer(np.random.default_rng(seed))
    data, length, element, first, packet, packets = [], [], [], [0], [], [0]
    for _ in range(bodies):
        at = 0
        for _ in range(int(writer.rng.choice([1, 1, 2, 3, 5]))):
            packet.append(at)
            for part in writer.packet():
                element.append(at)
                data.append(part)
                at += len(part)
        element.append(at)
        packet.append(at)
        length.append(at)
        first.append(len(element))
        packets.append(len(packet))
    ends = np.cumsum(length)
    return Corpus(
        data=np.frombuffer(b"".join(data), np.uint8),
        begin=ends - length,
        length=np.array(length),
        element=np.array(element),
        first=np.array(first),
        packet=np.array(packet),
        packets=np.array(packets),
    )


def fragments(seed: int) -> list[bytes]:
    """Give what mutations insert: every type with usual, extreme and lying lengths, and bytes of any kind."""
    rng = np.random.default_rng(seed)
    made = [bytes([tag]) for tag in range(256)]
    for tag in range(0xC4, 0xE0):
        made += [bytes([tag]) + rest for rest in (b"\0" * 8, b"\x7f" * 8, b"\x80" + b"\0" * 8, b"\xff" * 8)]
        made += [bytes([tag]) + struct.pack(">I", size) for size in (1, 40, 41, 2**31 - 1, 2**31, 2**32 - 1)]
    for value in (
        0,
        1,
        2,
        5,
        6,
        63,
        64,
        2**15,
        2**31,
        2**32,
        2**32 - 1,
        2**53,
        2**63 - 1,
        2**63,
        2**64 - 1,
        YEAR_2000_MS,
    ):
        made += _integer_forms(value) + (_integer_forms(-value) if 0 < value <= 2**63 else [])
    for value in (
        0.0,
        -0.0,
        82.4,
        1e308,
        -1e308,
        5e-324,
        2_147_483.0,
        2_147_483.5,
        np.inf,
        -np.inf,
        np.nan,
        1e-40,
    ):
        made.append(b"\xcb" + struct.pack(">d", value))
        if abs(value) < 3e38 or not np.isfinite(value):
            made.append(b"\xca" + struct.pack(">f", value))
    for size in (0, 1, 8, 31, 39, 40, 41, 255, 256):
        made += _bytes_forms(b"A" * size)
        made += _bytes_forms(b"A" * (size // 2) + b" \x7f\x80\xc1"[size % 4 :][:1] + b"z" * (size // 2))
    made += [head * 12 for head in (b"\x91", b"\x81\0", b"\xdc\0\1", b"\x9f", b"\x99")]
    made += [rng.integers(0, 256, int(rng.integers(1, 24)), np.uint8).tobytes() for _ in range(200)]
    return made
