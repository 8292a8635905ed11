"""What the decoder must give: docs/packet.md written down once more, slowly, on the msgpack library.

The library says where an object ends and what it holds. Why a body is ill-formed it does not say in our words, so
`fault` walks over the bytes; wherever both have an opinion, they are made to agree.
"""

import math
from dataclasses import dataclass, field

import msgpack

from ingest.reasons import Reason
from ingest.signals import MAX_CODE, SIGNALS, Kind

NOTHING = object()
"""Stands for an object that the library finds but cannot show, such as a time stamp of a wrong length."""

WAVEFORMS = {signal.code for signal in SIGNALS if signal.kind is Kind.WAVEFORM}
YEAR_2000_MS = 946_684_800_000
DEEPEST = 8
SHORTEST = 10
MASK = 2**64 - 1


@dataclass
class Packet:
    kind: int
    patient: bytes
    device: bytes
    seq: int
    t_ms: int
    device_ms: int | None
    gateway_ms: int | None
    status: int
    values: list[tuple[int, int]] = field(default_factory=list)  # code, thousandths
    lead: int = 0
    rate: float = 0.0
    gain: float = 0.0
    samples: list[int] = field(default_factory=list)
    act: tuple | None = None
    words: tuple = ()  # of a limit: where author and text begin, from the patient's id on, and how long they are


@dataclass
class Refusal:
    at: int
    length: int
    reason: Reason


class Refused(Exception):  # noqa: N818 - it is what is told, not an error of the program
    def __init__(self, reason):
        super().__init__(reason.name)
        self.reason = reason


def decode_body(body, receipt_ms, low, high, *, may_act=False, turned_away=False):
    """Give the packets of a body and its refusals, in the order of their bytes."""
    packets, refusals = [], []
    at = 0
    row_of_short = False
    while at < len(body):
        end, reason = end_of(body, at)
        if reason is None:
            try:
                packets.append(read(body[at:end], receipt_ms, low, high, may_act, turned_away))
                row_of_short = False
                at = end
                continue
            except Refused as refused:
                reason = refused.reason
        short = reason is Reason.NOT_A_PACKET and end - at < SHORTEST
        if short and row_of_short:
            refusals[-1].length += end - at
        else:
            refusals.append(Refusal(at, end - at, reason))
        row_of_short = short
        at = end
    return packets, refusals


# ------------------------------------------------------------------------------------------------------------ framing


def end_of(body, at):
    """Where the object at `at` ends, and None; or the end of the body and the reason to refuse the rest."""
    unpacker = _unpacker(body[at:])
    try:
        unpacker.skip()
        end = at + unpacker.tell()
    except (msgpack.OutOfData, msgpack.FormatError, msgpack.StackError):
        end = None
    try:
        walked = fault(body, at, 0)
    except Refused as refused:
        walked, reason = len(body), refused.reason
    else:
        reason = None
    # Only depth is our own rule: the library goes on where we stop.
    assert (reason is None and walked == end) or end is None or reason is Reason.TOO_DEEP
    return walked, reason


def fault(body, at, depth):
    """Walk over one object and give its end; raises Refused at the first byte that cannot be."""
    tag = _big_endian(body, at, 1)
    at += 1
    if tag <= 0x7F or tag >= 0xE0 or tag in {0xC0, 0xC2, 0xC3}:
        return at
    if tag == 0xC1:
        raise Refused(Reason.BAD_MSGPACK)
    if tag <= 0x8F:
        return _inside(body, at, 2 * (tag - 0x80), depth)
    if tag <= 0x9F:
        return _inside(body, at, tag - 0x90, depth)
    if tag <= 0xBF:
        return _over(body, at, tag - 0xA0)
    fixed = {
        0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
        0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
    }  # fmt: skip
    if tag in fixed:
        return _over(body, at, fixed[tag])
    width = {
        0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4,
        0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
    }[tag]  # fmt: skip
    size = _big_endian(body, at, width)
    at += width
    if 0xC7 <= tag <= 0xC9:
        size += 1
    if tag >= 0xDE:
        size *= 2
    if size > len(body) - at:
        raise Refused(Reason.TOO_LONG)
    return _inside(body, at, size, depth) if tag >= 0xDC else _over(body, at, size)


def _inside(body, at, elements, depth):
    if depth == DEEPEST:
        raise Refused(Reason.TOO_DEEP)
    for _ in range(elements):
        at = fault(body, at, depth + 1)
    return at


def _over(body, at, length):
    if length > len(body) - at:
        raise Refused(Reason.TRUNCATED)
    return at + length


def _big_endian(body, at, width):
    if width > len(body) - at:
        raise Refused(Reason.TRUNCATED)
    return int.from_bytes(body[at : at + width], "big")


# ------------------------------------------------------------------------------------------------------------ content


def read(raw, receipt_ms, low, high, may_act, turned_away):  # noqa: C901, PLR0912 - one rule after the other
    """Read one well-formed object as a packet; raises Refused with the reason of the first illegal element."""
    if turned_away:
        raise Refused(Reason.NOT_A_PACKET if len(raw) < SHORTEST else Reason.NOT_ENROLLED)
    elements = _elements(raw)
    if elements is None or len(elements) != 9:
        raise Refused(Reason.NOT_A_PACKET)
    kind, patient, device, seq, t_ms, device_ms, gateway_ms, status, _ = map(_value, elements)
    if type(kind) is not int or not 1 <= kind <= 5:
        raise Refused(Reason.BAD_KIND)
    if kind == 5 and not may_act:
        raise Refused(Reason.ACT_NOT_ALLOWED)
    patient = _id(patient, Reason.BAD_PATIENT)
    device = _id(device, Reason.BAD_DEVICE)
    if type(seq) is not int or not 0 <= seq < 2**63:
        raise Refused(Reason.BAD_SEQUENCE)
    if type(t_ms) is not int:
        raise Refused(Reason.BAD_TIME)
    if t_ms < YEAR_2000_MS:
        raise Refused(Reason.TIME_BEFORE_2000)
    if t_ms > receipt_ms + 5 * 60 * 1000:
        raise Refused(Reason.TIME_IN_FUTURE)
    for other in (device_ms, gateway_ms):
        if other is not None and (type(other) is not int or not -(2**63) < other < 2**63):
            raise Refused(Reason.BAD_TIME)
    if type(status) is not int or not 0 <= status < 2**32:
        raise Refused(Reason.BAD_STATUS)
    if status & 1:
        raise Refused(Reason.DEVICE_TEST)
    if status & 2:
        raise Refused(Reason.DEVICE_INVALID)
    packet = Packet(kind, patient, device, seq, t_ms, device_ms, gateway_ms, status)
    payload = _elements(elements[8])
    if kind == 2:
        _ecg(packet, payload)
    elif kind == 5:
        _act(packet, payload)
        packet.words = _words(packet, elements, payload, len(raw))
    else:
        _readings(packet, payload, low, high)
    return packet


def _readings(packet, payload, low, high):  # noqa: C901 - one rule after the other
    if payload is None or len(payload) % 2 or not 2 <= len(payload) <= 32:
        raise Refused(Reason.BAD_PAYLOAD)
    seen = {}
    for code, value in zip(map(_value, payload[::2]), map(_value, payload[1::2]), strict=True):
        if type(code) is not int:
            raise Refused(Reason.BAD_PAYLOAD)
        if not 0 <= code < len(low) or math.isnan(low[code]):
            raise Refused(Reason.UNKNOWN_SIGNAL)
        if code in seen:
            raise Refused(Reason.REPEATED_SIGNAL)
        if type(value) not in {int, float}:
            raise Refused(Reason.NOT_A_NUMBER)
        number = float(value)
        if math.isnan(number):
            raise Refused(Reason.NAN)
        if math.isinf(number):
            raise Refused(Reason.INFINITE)
        if abs(number) > 2_147_483 or not low[code] <= thousandths(number) / 1000 <= high[code]:
            raise Refused(Reason.IMPLAUSIBLE)
        seen[code] = thousandths(number)
    for systolic, diastolic, mean in ((2, 3, 4), (16, 17, None)):
        s, d, m = seen.get(systolic), seen.get(diastolic), seen.get(mean)
        if s is not None and d is not None and s - d < 10_000:
            raise Refused(Reason.INCONSISTENT)
        if m is not None and ((d is not None and m < d) or (s is not None and m > s)):
            raise Refused(Reason.INCONSISTENT)
    packet.values = list(seen.items())


def thousandths(value):
    """``value * 1000`` in double, then to the nearest integer, halves away from zero."""
    product = value * 1000
    whole = math.floor(abs(product))
    if abs(product) - whole >= 0.5:
        whole += 1
    return whole if product >= 0 else -whole


def _ecg(packet, payload):
    if payload is None or len(payload) != 4:
        raise Refused(Reason.BAD_PAYLOAD)
    lead, rate, gain, samples = map(_value, payload)
    if type(lead) is not int:
        raise Refused(Reason.BAD_PAYLOAD)
    if lead not in WAVEFORMS:
        raise Refused(Reason.UNKNOWN_SIGNAL)
    if type(rate) not in {int, float} or not 100 <= rate <= 1000:
        raise Refused(Reason.BAD_ECG_RATE)
    if type(gain) not in {int, float} or not 0 < gain < math.inf:
        raise Refused(Reason.BAD_ECG_GAIN)
    if type(samples) is not bytes or not samples or len(samples) % 2 or len(samples) // 2 > 300 * rate:
        raise Refused(Reason.BAD_ECG_SAMPLES)
    packet.lead, packet.rate, packet.gain = lead, float(rate), float(gain)
    packet.samples = [
        int.from_bytes(samples[k : k + 2], "little", signed=True) for k in range(0, len(samples), 2)
    ]


def _act(packet, payload):
    if payload is None or len(payload) not in {3, 5}:
        raise Refused(Reason.BAD_ACT)
    verb, key, number, *words = map(_value, payload)
    if any(type(each) is not int for each in (verb, key, number)) or not 0 <= key < 2**64:
        raise Refused(Reason.BAD_ACT)
    legal = {(1, 3): range(1, 64)}
    for set_, take_back in ((2, 3), (4, 5)):
        legal |= {(set_, 5): range(1 - 2**31, 2**31), (take_back, 5): range(1)}
    if number not in legal.get((verb, len(payload)), ()):
        raise Refused(Reason.BAD_ACT)
    packet.act = (verb, key, number, *map(_text, words, (64, 240)))


def _words(packet, elements, payload, size):
    places = []
    header = size - sum(map(len, elements))
    id_at = header + len(elements[0]) + len(elements[1]) - len(packet.patient)
    begin = size - sum(map(len, payload))
    for k, word in enumerate(packet.act[3:], 3):
        length = len(word.encode())
        places += [begin + sum(map(len, payload[: k + 1])) - length - id_at, length]
    return tuple(places)


def _text(value, most):
    """Text of at most so many bytes, without control characters."""
    if type(value) is str:
        value = value.encode("utf-8", "surrogateescape")
    if type(value) is not bytes or not 1 <= len(value) <= most:
        raise Refused(Reason.BAD_ACT)
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(Reason.BAD_ACT) from None
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Refused(Reason.BAD_ACT)
    return text


def _id(value, reason):
    if type(value) is str:
        value = value.encode("utf-8", "surrogateescape")
    if type(value) is not bytes or not 1 <= len(value) <= 40 or any(not 0x21 <= c <= 0x7E for c in value):
        raise Refused(reason)
    return value


def _elements(raw):
    """The encoded elements of an array, or None when `raw` is no array."""
    unpacker = _unpacker(raw)
    try:
        count = unpacker.read_array_header()
    except (ValueError, msgpack.UnpackException):
        return None
    elements = []
    for _ in range(count):
        begin = unpacker.tell()
        unpacker.skip()
        elements.append(raw[begin : unpacker.tell()])
    return elements


def _value(raw):
    try:
        return _unpacker(raw).unpack()
    except (ValueError, TypeError, OverflowError):
        return NOTHING


def _unpacker(raw):
    # Text that is no UTF-8 is still text; keys of maps may be anything and are never looked at.
    unpacker = msgpack.Unpacker(
        raw=False, unicode_errors="surrogateescape", strict_map_key=False, object_pairs_hook=list
    )
    unpacker.feed(raw)
    return unpacker


# ---------------------------------------------------------------------------------------------------- columns


def hash_of(name):
    """The 64-bit hash of an id, in whole Python integers."""
    state = len(name) * 0x9E37_79B9_7F4A_7C15 & MASK
    for k in range(0, len(name), 8):
        word = int.from_bytes(name[k : k + 8], "little")
        state ^= word * 0xD6E8_FEB8_6659_FD93 & MASK
        state = (state << 29 | state >> 35) & MASK
        state = state * 0xA076_1D64_78BD_642F & MASK
    state = (state ^ state >> 30) * 0xBF58_476D_1CE4_E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D0_49BB_1331_11EB & MASK
    return (state ^ state >> 31) or 1


AWAY = "turned away "


def name_of(source):
    """Name of the source of an entry; what it may not send stands in the log under that name too."""
    return source.removeprefix(AWAY)


def columns(entries, low, high, *, act_source="cell"):
    """All columns of a batch as lists, and the rows of quarantine, from entries of the log."""
    names = list(dict.fromkeys(name_of(source) for _, _, source, _ in entries))
    batch = {name: [] for name in (
        "offset", "receipt_ms", "source", "kind", "patient_id", "patient", "device", "seq", "t_ms", "device_ms",
        "gateway_ms", "status", "code", "milli", "chunk_packet", "chunk_code", "chunk_rate", "chunk_gain", "samples",
    )}  # fmt: skip
    batch |= {"value_at": [0], "sample_at": [0], "act": []}
    rows = []
    for offset, receipt_ms, source, body in entries:
        packets, refusals = decode_body(
            body, receipt_ms, low, high, may_act=source == act_source, turned_away=source.startswith(AWAY)
        )
        number = names.index(name_of(source))
        for packet in packets:
            row = len(batch["kind"])
            values = packet.values
            if packet.act:
                verb, key, third = packet.act[:3]
                words = (verb, _signed(key & 0xFFFF_FFFF), _signed(key >> 32), third, *packet.words)
                values = [(0xFF00 + k, word) for k, word in enumerate(words)]
                batch["act"].append((row, packet.act))
            for name, value in (
                ("offset", offset), ("receipt_ms", receipt_ms), ("source", number),
                ("kind", packet.kind), ("patient_id", packet.patient.decode("ascii")),
                ("patient", hash_of(packet.patient)), ("device", hash_of(packet.device)), ("seq", packet.seq),
                ("t_ms", packet.t_ms), ("device_ms", _or_none(packet.device_ms)),
                ("gateway_ms", _or_none(packet.gateway_ms)), ("status", packet.status),
            ):  # fmt: skip
                batch[name].append(value)
            batch["code"] += [code for code, _ in values]
            batch["milli"] += [milli for _, milli in values]
            batch["value_at"].append(len(batch["code"]))
            if packet.samples:
                batch["chunk_packet"].append(row)
                batch["chunk_code"].append(packet.lead)
                batch["chunk_rate"].append(packet.rate)
                batch["chunk_gain"].append(packet.gain)
                batch["samples"] += packet.samples
                batch["sample_at"].append(len(batch["samples"]))
        rows += [
            (offset, receipt_ms, number, each.at, int(each.reason),
             body[each.at : each.at + min(each.length, 4096)])
            for each in refusals
        ]  # fmt: skip
    assert MAX_CODE < 0xFF00
    return batch, rows, tuple(names)


def _signed(word):
    return word - 2**32 if word >= 2**31 else word


def _or_none(time):
    return -(2**63) if time is None else time
