"""Why a packet is refused: one code for each reason, the same in the decoder, in quarantine and in metrics."""

from enum import IntEnum

__all__ = ["Reason"]


class Reason(IntEnum):
    """Reason of a quarantine; 0 is none. The first group is about bytes, the second about content."""

    OK = 0
    TRUNCATED = 1  # the body ends inside the packet: the rest of the body is refused
    BAD_MSGPACK = 2  # reserved byte 0xc1: the rest of the body is refused
    TOO_LONG = 3  # a length larger than what is left of the body: the rest of the body is refused
    TOO_DEEP = 4  # nested deeper than the format allows: the rest of the body is refused
    NOT_A_PACKET = 5  # well-formed msgpack, but not an array of nine

    BAD_KIND = 16
    BAD_PATIENT = 17  # not 1 to 40 printable ASCII characters
    BAD_DEVICE = 18
    BAD_SEQUENCE = 19  # not an integer from 0 to 2**63 - 1
    BAD_TIME = 20  # a time that is not an integer, or not nil where nil is legal
    TIME_BEFORE_2000 = 21
    TIME_IN_FUTURE = 22  # more than 5 minutes after receipt
    BAD_STATUS = 23
    BAD_PAYLOAD = 24  # not an array of pairs, empty, or more than 16 pairs
    UNKNOWN_SIGNAL = 25
    REPEATED_SIGNAL = 26
    NOT_A_NUMBER = 27  # a value of another type
    NAN = 28
    INFINITE = 29
    IMPLAUSIBLE = 30  # outside the plausible range of its signal
    INCONSISTENT = 31  # systolic - diastolic under 10 mmHg, or mean pressure not between them
    DEVICE_TEST = 32  # the device says: demonstration or test data
    DEVICE_INVALID = 33  # the device says: measurement invalid or unreliable
    BAD_ECG_RATE = 34  # not 100 to 1000 Hz
    BAD_ECG_GAIN = 35
    BAD_ECG_SAMPLES = 36  # not bytes, odd number, none, or more than 5 minutes
    ACT_NOT_ALLOWED = 37  # an act of the cell from a source that is not the cell
    BAD_ACT = 38
    NOT_ENROLLED = 39  # its source may not send for this patient

    UNKNOWN_UNIT = 48  # rows of files: no such unit, or not one of this signal
    BAD_ROW = 49  # rows of files: a number or a time that cannot be read, an empty value, too many or too few fields
    NAIVE_TIME = (
        50  # rows of files: a time without offset and no zone given, or one that the zone's clocks skip
    )
