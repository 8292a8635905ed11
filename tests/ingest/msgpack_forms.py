"""Every way in which msgpack spells a value, so that tests can choose one that no encoder would."""

import struct

_UNSIGNED = ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8))
_SIGNED = ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8))


def integers(value):
    """All encodings of an integer, shortest first."""
    forms = []
    if -32 <= value <= 127:
        forms.append(bytes([value & 0xFF]))
    for tag, width in _UNSIGNED:
        if 0 <= value < 1 << 8 * width:
            forms.append(bytes([tag]) + value.to_bytes(width, "big"))
    for tag, width in _SIGNED:
        if -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1:
            forms.append(bytes([tag]) + value.to_bytes(width, "big", signed=True))
    assert forms, value
    return forms


def float64(value):
    return b"\xcb" + struct.pack(">d", value)


def float32(value):
    return b"\xca" + struct.pack(">f", value)


def numbers(value):
    """All encodings of a number that give exactly it: as an integer too when it is whole."""
    forms = []
    if isinstance(value, int):
        forms += integers(value)
    if float(value) == value:
        forms.append(float64(value))
        if abs(value) < 1e30 and struct.unpack(">f", struct.pack(">f", value))[0] == value:
            forms.append(float32(value))
        if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**64:
            forms += integers(int(value))
    return forms


def texts(value):
    forms = [bytes([0xA0 + len(value)]) + value] if len(value) < 32 else []
    return forms + _sized(value, (0xD9, 0xDA, 0xDB))


def binaries(value):
    return _sized(value, (0xC4, 0xC5, 0xC6))


def ids(value):
    return texts(value) + binaries(value)


def arrays(elements):
    """All encodings of an array whose elements are encoded already."""
    inside, n = b"".join(elements), len(elements)
    forms = [bytes([0x90 + n]) + inside] if n < 16 else []
    return [*forms, b"\xdc" + n.to_bytes(2, "big") + inside, b"\xdd" + n.to_bytes(4, "big") + inside]


def _sized(value, tags):
    return [
        bytes([tag]) + len(value).to_bytes(width, "big") + value
        for tag, width in zip(tags, (1, 2, 4), strict=True)
        if len(value) < 1 << 8 * width
    ]
