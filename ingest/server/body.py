"""The body of a request: read within a time and a size, decompressed within a size."""

import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

__all__ = [
    "ENCODINGS",
    "BadBodyError",
    "BadEncodingError",
    "NoRoomError",
    "Room",
    "TooLargeError",
    "collect",
    "expand",
]

ENCODINGS = ("identity", "gzip", "zstd")
_PIECE = 1 << 16


class BadBodyError(Exception):
    """The body cannot be read; the message says why and what is legal."""


class BadEncodingError(BadBodyError):
    """The body is encoded in a way that is not known."""


class TooLargeError(Exception):
    """The body, or what it expands to, is larger than is legal."""


class NoRoomError(Exception):
    """Too many bytes of bodies are in memory already."""


class Room:
    """Bounds the bytes of all bodies that are being read or wait for their answer, in all and by source.

    Parameters
    ----------
    most, most_of_one : int
        Bytes.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._used: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def part(self, source: str) -> Iterator[Callable[[int], None]]:
        """Give a function that takes so many bytes more; what was taken is given back at the end of the block."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._all + size > self._most or self._used[source] + size > self._most_of_one:
                raise NoRoomError
            taken += size
            self._all += size
            self._used[source] += size

        try:
            yield take
        finally:
            self._all -= taken
            self._used[source] -= taken
            if not self._used[source]:
                del self._used[source]


async def collect(pieces: AsyncIterator[bytes], most: int, take: Callable[[int], None]) -> bytes:
    """Put the pieces of a body together; `take` is told of each before it is kept.

    Raises
    ------
    TooLargeError
        As soon as they are more than `most` bytes.
    """
    got = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > most:
            msg = f"the body has more than the {most} bytes that are legal"
            raise TooLargeError(msg)
        take(len(piece))
        got.append(piece)
    return b"".join(got)


def expand(data: bytes, encoding: str, most: int) -> bytes:
    """Undo the compression of a body, without ever holding more than `most` bytes of what comes out.

    Parameters
    ----------
    data : bytes
    encoding : str
        The header ``Content-Encoding``: one of `ENCODINGS`; "" is identity.
    most : int
        Bytes that may come out.

    Raises
    ------
    TooLargeError
        More would come out.
    BadEncodingError
        The encoding is another.
    BadBodyError
        The data are not of it, or cut short.
    """
    name = encoding.strip().lower() or "identity"
    if name == "identity":
        return data
    if name == "gzip":
        out = _gunzip(data, most)
    elif name == "zstd":
        out = _unzstd(data, most)
    else:
        msg = f"Content-Encoding {encoding[:40]!r}; legal are {', '.join(ENCODINGS)}"
        raise BadEncodingError(msg)
    if len(out) > most:
        msg = f"the body expands to more than the {most} bytes that are legal"
        raise TooLargeError(msg)
    return out


def _gunzip(data: bytes, most: int) -> bytes:
    out = bytearray()
    rest = data
    while rest:  # a gzip file may have several members
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(rest, most + 1 - len(out))
        except zlib.error as error:
            msg = f"the body is not gzip, or damaged: {error}"
            raise BadBodyError(msg) from error
        if len(out) > most:
            break
        if not member.eof:
            msg = "the gzip body is cut short"
            raise BadBodyError(msg)
        rest = member.unused_data
    if not data:
        msg = "the gzip body is empty"
        raise BadBodyError(msg)
    return bytes(out)


def _unzstd(data: bytes, most: int) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            pieces = []
            left = most + 1
            while left > 0 and (piece := stream.read(min(left, _PIECE))):
                pieces.append(piece)
                left -= len(piece)
    except OSError as error:
        msg = f"the body is not zstd, or damaged: {error}"
        raise BadBodyError(msg) from error
    if not data:
        msg = "the zstd body is empty"
        raise BadBodyError(msg)
    return b"".join(pieces)
