"""Making packets: the encoder for gateways, the simulator and tests; ``docs/packet.md`` is the specification.

What the decoder would refuse for its form is refused here with an error that says what is legal. Whether a value is
plausible, and a time sensible, is the decoder's to say: it depends on protocols and on the receipt.
"""

import math
from collections.abc import Mapping, Sequence

import msgpack
import numpy as np
import numpy.typing as npt

from ingest.columns import PacketKind
from ingest.signals import MAX_CODE

__all__ = [
    "MAX_AUTHOR",
    "MAX_BODY",
    "MAX_ID",
    "MAX_LIMIT_MILLI",
    "MAX_PAIRS",
    "MAX_TEXT",
    "act",
    "device_status",
    "ecg_chunk",
    "limit_act",
    "questionnaire",
    "spot",
]

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body, at most: what a server takes in one request."""

MAX_ID = 40
"""Characters of an id, at most."""

MAX_PAIRS = 16
"""Values of one packet, at most."""

CLOSE = 1
"""The verb of an act that closes an alert."""

SET = 2
"""The verb of an act that sets a patient's limit."""

TAKE_BACK = 3
"""The verb of an act that takes back what was set: the limit is again what it would be without."""

SET_OF_CELL = 4
"""The verb of an act that says to one patient which limit the cell has set; the patient's own wins over it."""

TAKE_BACK_OF_CELL = 5
"""The verb of an act that takes back what SET_OF_CELL said."""

MAX_AUTHOR = 64
MAX_TEXT = 240
"""Bytes of UTF-8, at most: who set a limit, and why."""

MAX_LIMIT_MILLI = 2**31 - 1
"""Thousandths of a limit, at most; and at least its negative."""

_MAX_INT64 = 2**63 - 1
_MAX_STATUS = 2**32 - 1
_MAX_KEY = 2**64 - 1
_MAX_REASON = 63
_RATE_HZ = (100, 1000)
_MAX_SECONDS = 300

Id = str | bytes


def spot(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    values: Mapping[int, float],
    *,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of readings of one moment.

    Parameters
    ----------
    patient, device : str or bytes
        1 to 40 printable ASCII characters without space.
    seq : int
        The device's sequence number, 0 to 2**63 - 1: (device, seq) names the packet.
    t_ms : int
        Time of the event, milliseconds UTC.
    values : mapping of code to number
        1 to 16 readings, each in the unit of its signal (`ingest.signals`).
    device_ms, gateway_ms : int or None
        The device's and the gateway's own clocks, milliseconds UTC.
    status : int
        Bits of `ingest.columns.Status`.

    Returns
    -------
    bytes
        One msgpack array.

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    return _values(PacketKind.SPOT, patient, device, seq, t_ms, values, device_ms, gateway_ms, status)


def questionnaire(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    answers: Mapping[int, float],
    *,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of answers: code of the item to answer. Otherwise as `spot`."""
    return _values(
        PacketKind.QUESTIONNAIRE, patient, device, seq, t_ms, answers, device_ms, gateway_ms, status
    )


def device_status(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    values: Mapping[int, float],
    *,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of what the device says of itself, such as its battery. Otherwise as `spot`."""
    return _values(PacketKind.DEVICE, patient, device, seq, t_ms, values, device_ms, gateway_ms, status)


def ecg_chunk(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    lead: int,
    rate_hz: float,
    gain: float,
    samples: npt.ArrayLike,
    *,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of ECG.

    Parameters
    ----------
    patient, device, seq, device_ms, gateway_ms, status
        As `spot`.
    t_ms : int
        Time of the first sample, milliseconds UTC.
    lead : int
        Code of the lead (`ingest.signals`).
    rate_hz : float
        Samples a second, 100 to 1000.
    gain : float
        Units of a sample per millivolt, more than 0.
    samples : int16[n]
        At least one, at most five minutes.

    Returns
    -------
    bytes
        One msgpack array.

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    rate_hz = _number("rate_hz", rate_hz)
    if not _RATE_HZ[0] <= rate_hz <= _RATE_HZ[1]:
        msg = f"rate_hz {rate_hz}: legal are {_RATE_HZ[0]} to {_RATE_HZ[1]}"
        raise ValueError(msg)
    gain = _number("gain", gain)
    if not 0 < gain < math.inf:
        msg = f"gain {gain}: legal are finite numbers above 0, units per millivolt"
        raise ValueError(msg)
    column = np.asarray(samples)
    if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
        msg = f"samples of {column.dtype} in {column.ndim} dimensions: legal is one column of integers"
        raise TypeError(msg)
    if not 1 <= len(column) <= _MAX_SECONDS * rate_hz:
        msg = f"{len(column)} samples: legal are 1 to {_MAX_SECONDS} s of them, {_MAX_SECONDS * rate_hz:.0f}"
        raise ValueError(msg)
    if column.min() < -32768 or column.max() > 32767:
        msg = f"samples from {column.min()} to {column.max()}: legal are -32768 to 32767"
        raise ValueError(msg)
    payload = [_integer("lead", lead, 0, MAX_CODE), rate_hz, gain, column.astype("<i2").tobytes()]
    return _packet(PacketKind.ECG, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload)


def act(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    key: int,
    reason: int,
    *,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of what the cell did; only the cell's own source may send it.

    Parameters
    ----------
    patient, device, seq, t_ms, device_ms, gateway_ms, status
        As `spot`; `device` names the workplace.
    key : int
        Of the rule or problem, 0 to 2**64 - 1.
    reason : int
        Why, 1 to 63.

    Returns
    -------
    bytes
        One msgpack array.

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    payload = [CLOSE, _integer("key", key, 0, _MAX_KEY), _integer("reason", reason, 1, _MAX_REASON)]
    return _packet(PacketKind.ACT, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload)


def limit_act(
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    key: int,
    milli: int | None,
    author: str,
    text: str,
    *,
    of_cell: bool = False,
    device_ms: int | None = None,
    gateway_ms: int | None = None,
    status: int = 0,
) -> bytes:
    """Make a packet of a limit that a person sets for a patient or takes back; only the cell's own source may send it.

    Parameters
    ----------
    patient, device, seq, t_ms, device_ms, gateway_ms, status
        As `act`.
    key : int
        Of the limit, 0 to 2**64 - 1.
    milli : int or None
        Thousandths of the limit's unit; None takes back what was set.
    author, text : str
        Who and why: 1 to MAX_AUTHOR and 1 to MAX_TEXT bytes of UTF-8, without control characters.
    of_cell : bool
        Whether it was set for the cell, and the patient is one of its patients.

    Returns
    -------
    bytes
        One msgpack array.

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    set_, take_back = (SET_OF_CELL, TAKE_BACK_OF_CELL) if of_cell else (SET, TAKE_BACK)
    payload = [
        take_back if milli is None else set_,
        _integer("key", key, 0, _MAX_KEY),
        0 if milli is None else _integer("milli", milli, -MAX_LIMIT_MILLI, MAX_LIMIT_MILLI),
        _text("author", author, MAX_AUTHOR),
        _text("text", text, MAX_TEXT),
    ]
    return _packet(PacketKind.ACT, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload)


def _values(
    kind: int,
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    values: Mapping[int, float],
    device_ms: int | None,
    gateway_ms: int | None,
    status: int,
) -> bytes:
    if not 1 <= len(values) <= MAX_PAIRS:
        msg = f"{len(values)} values in a packet: legal are 1 to {MAX_PAIRS}"
        raise ValueError(msg)
    payload: list[object] = []
    for code, value in values.items():
        number = _number(f"value of code {code}", value)
        if not math.isfinite(number):
            msg = f"value {number} of code {code}: only finite numbers are legal; no reading is no packet"
            raise ValueError(msg)
        payload += [_integer("code", code, 0, MAX_CODE), number]
    return _packet(kind, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload)


def _packet(
    kind: int,
    patient: Id,
    device: Id,
    seq: int,
    t_ms: int,
    device_ms: int | None,
    gateway_ms: int | None,
    status: int,
    payload: Sequence[object],
) -> bytes:
    packed: bytes = msgpack.packb(
        [
            kind,
            _id("patient", patient),
            _id("device", device),
            _integer("seq", seq, 0, _MAX_INT64),
            _integer("t_ms", t_ms, 0, _MAX_INT64),
            None if device_ms is None else _integer("device_ms", device_ms, -_MAX_INT64, _MAX_INT64),
            None if gateway_ms is None else _integer("gateway_ms", gateway_ms, -_MAX_INT64, _MAX_INT64),
            _integer("status", status, 0, _MAX_STATUS),
            payload,
        ]
    )
    return packed


def _id(name: str, value: Id) -> Id:
    if not isinstance(value, str | bytes):
        msg = f"{name} is of type {type(value).__name__}: legal are str and bytes"
        raise TypeError(msg)
    characters = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not 1 <= len(characters) <= MAX_ID or min(characters) < 0x21 or max(characters) > 0x7E:
        msg = f"{name} {value!r}: legal are 1 to {MAX_ID} printable ASCII characters without space"
        raise ValueError(msg)
    return value


def _text(name: str, value: str, most: int) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= most or any(character < " " or character == "\x7f" for character in value):
        msg = f"{name} {value!r}: legal are 1 to {most} bytes of UTF-8 without control characters"
        raise ValueError(msg)
    return value


def _integer(name: str, value: int, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        msg = f"{name} is of type {type(value).__name__}: only an integer is legal"
        raise TypeError(msg)
    if not lowest <= value <= highest:
        msg = f"{name} {value}: legal are {lowest} to {highest}"
        raise ValueError(msg)
    return int(value)


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        msg = f"{name} is of type {type(value).__name__}: legal are integers and floats"
        raise TypeError(msg)
    if isinstance(value, int | np.integer):
        return _integer(name, int(value), -(2**63), 2**64 - 1)
    return float(value)
