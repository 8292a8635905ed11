"""Appending to the log on Redis: bodies are shared out by patient, and a group is one step of the server."""

import secrets
import zlib
from collections.abc import Iterator
from itertools import pairwise
from time import time_ns
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from redis.exceptions import RedisError

from ingest.appender import Appender, Waiting
from ingest.logfile import LogError
from ingest.streams import scripts
from ingest.streams.address import shown
from ingest.streams.server import Client, checks, connect, explain
from kernels.partition import Spans, gather, share
from kernels.wire import MAX_DEPTH

__all__ = ["LOG", "MARKS", "MOST_PARTITIONS", "PARTITIONS", "StreamLog", "lease_of", "stream_of"]

LOG = "{vigie}:log"
MARKS = "{vigie}:marks"
PARTITIONS = 16
"""Of a new log, where nothing else is said."""

MOST_PARTITIONS = 64

_ENTRY_BYTES = 1 << 20
"""Bodies are put together up to so many bytes: a reader takes an entry whole."""

_STEP_BYTES = 8 << 20
"""Of one step of the server, in which nobody else is served."""

FORMAT = 1

Piece = tuple[int, bytes, bytes, int]
"""Partition, source, bytes of packets, receipt time (ms UTC)."""


def stream_of(partition: int) -> str:
    """Name the stream of a partition."""
    return f"{{vigie}}:p:{partition}"


def lease_of(partition: int) -> str:
    """Name the lease of a partition."""
    return f"{{vigie}}:lease:{partition}"


class StreamLog(Appender):
    """Appends to a log on Redis, from any thread; several processes may.

    Parameters
    ----------
    url : str
        See `ingest.streams.server.connect`.
    partitions : int, optional
        How many a new log gets, 1 to 64; a log that is there keeps its own.
    queue_bytes : int
        Bodies that may wait for the server.

    Attributes
    ----------
    id : str
        Of the log: another one at the same address is not written to.
    partitions : int
    problems : list of str
        What of the server's settings may lose what it acknowledged.

    Raises
    ------
    ValueError
        The address is none, or `partitions` is not what the log has.
    LogError
        The server cannot be reached, or what it holds is not a log of this version.
    """

    def __init__(self, url: str, partitions: int | None = None, *, queue_bytes: int = 64 << 20) -> None:
        if partitions is not None and not 1 <= partitions <= MOST_PARTITIONS:
            msg = f"{partitions} partitions: legal are 1 to {MOST_PARTITIONS}"
            raise ValueError(msg)
        super().__init__(shown(url), queue_bytes)
        self.name = shown(url)
        self._client = connect(url)
        wanted = partitions or PARTITIONS
        try:
            held = self._create(wanted)
            self.problems = [f"{self.name}: {problem}" for problem in checks(self._client)]
        except RedisError as error:
            self._client.close()
            raise explain(self.name, "opening", error) from error
        except BaseException:
            self._client.close()
            raise
        self.id, self.partitions = held
        if partitions is not None and partitions != self.partitions:
            self._client.close()
            msg = f"{self.name}: {partitions} partitions: the log has {self.partitions}, for good"
            raise ValueError(msg)
        self._append = self._client.register_script(scripts.APPEND)
        self._keys = [LOG, MARKS, *map(stream_of, range(self.partitions))]
        self._stack = np.empty(MAX_DEPTH, np.int64)
        self._part_at = np.empty(self.partitions + 1, np.int64)
        self._writer.start()

    def _create(self, partitions: int) -> tuple[str, int]:
        create = self._client.register_script(scripts.CREATE)
        keys = [LOG, MARKS, *map(stream_of, range(partitions))]
        held = create(keys, [secrets.token_hex(8), partitions])
        if held[0] != str(FORMAT).encode():
            msg = f"{self.name}: log format {held[0]!r}; this version of Vigie reads format {FORMAT}"
            raise LogError(msg)
        return held[1].decode(), int(held[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def next_offset(self) -> int:
        """The offset that the next entry will get.

        Raises
        ------
        LogError
            The server does not say.
        """
        return self._number("next")

    @property
    def slowest(self) -> int:
        """Offset before which every partition's worker has taken all; as of a second ago.

        Raises
        ------
        LogError
            The server does not say.
        """
        try:
            said = self._client.hmget(LOG, [f"at:{k}" for k in range(self.partitions)])
        except RedisError as error:
            raise explain(self.name, "reading", error) from error
        return min(int(each or 0) for each in said)

    def behind_s(self) -> float:
        """Give how long the oldest entry that a worker has not taken has waited, in seconds, to the second.

        Raises
        ------
        LogError
            The server does not say.
        """
        slowest = self.slowest
        if slowest >= self.next_offset:
            return 0.0
        try:
            for name, fields in _marks_back(self._client):
                if int(fields[b"o"]) <= slowest:
                    return max(0.0, time_ns() / 1e9 - int(name.partition(b"-")[0]) / 1000)
        except RedisError as error:
            raise explain(self.name, "reading", error) from error
        return 0.0

    def _number(self, field: str) -> int:
        try:
            return int(self._client.hget(LOG, field) or 0)
        except RedisError as error:
            raise explain(self.name, "reading", error) from error

    def _write(self, group: list[Waiting]) -> int:
        first = None
        for part in _parts(group, _STEP_BYTES):
            arguments: list[bytes | str | int] = [self.id]
            for partition, source, data, receipt_ms in self._pieces(part):
                arguments += [partition, receipt_ms, source, data, zlib.crc32(data, zlib.crc32(source))]
            at, _ = self._append(self._keys, arguments)
            first = int(at) if first is None else first
        return first or 0

    def _written(self) -> None:
        """Nothing is left to do: the server sees to its files."""

    def _explain(self, error: Exception) -> LogError:
        if isinstance(error, RedisError):
            return explain(self.name, "appending", error)
        return super()._explain(error)

    def _pieces(self, group: list[Waiting]) -> Iterator[Piece]:
        """Put the packets of each source and partition together, in the order in which they came.

        All of a group is received when it is written: at its greatest receipt time.
        """
        receipt_ms = max(waiting.receipt_ms for waiting in group)
        of: dict[bytes, list[Waiting]] = {}
        for waiting in group:
            if waiting.body:
                of.setdefault(waiting.source, []).append(waiting)
        if not of:
            yield -1, b"", b"", receipt_ms
        for source, mine in of.items():
            for part in _parts(mine, _ENTRY_BYTES):
                bodies = [waiting.body for waiting in part]
                yield from ((p, source, data, receipt_ms) for p, data in self._shared(source, bodies))

    def _shared(self, source: bytes, bodies: list[bytes]) -> Iterator[tuple[int, bytes]]:
        body_at = np.zeros(len(bodies) + 1, np.int64)
        np.cumsum([len(body) for body in bodies], out=body_at[1:])
        data = bodies[0] if len(bodies) == 1 else b"".join(bodies)
        blob = np.frombuffer(data, np.uint8)
        # Of what names no patient, so that one source's garbage is not all of one worker's.
        nobody = zlib.crc32(source) % self.partitions
        spans = _spans(len(data))
        count = share(blob, body_at, self.partitions, nobody, self._stack, spans)
        out = np.empty(len(data), np.uint8)
        gather(blob, spans, count, self._part_at, out)
        for partition, (begin, end) in enumerate(pairwise(self._part_at.tolist())):
            if end > begin:
                yield partition, out[begin:end].tobytes()
        for k in np.flatnonzero(spans.owner[:count] < 0).tolist():
            yield nobody, data[int(spans.begin[k]) : int(spans.end[k])]

    def close(self) -> None:
        """Write what waits, then let go of the server."""
        if self._stop_writing():
            self._client.close()


def _parts(group: list[Waiting], most: int) -> Iterator[list[Waiting]]:
    """Cut batches into parts of at most so many bytes, or of one batch."""
    part: list[Waiting] = []
    size = 0
    for waiting in group:
        if part and size + len(waiting.body) > most:
            yield part
            part, size = [], 0
        part.append(waiting)
        size += len(waiting.body)
    if part:
        yield part


def _spans(size: int) -> Spans:
    room: list[npt.NDArray[np.int64]] = [np.empty(size, np.int64) for _ in range(3)]
    return Spans(*room)


def _marks_back(client: Client) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Give the marks from the newest one back."""
    until = "+"
    while some := client.xrevrange(MARKS, until, "-", count=200):
        yield from some
        until = f"({some[-1][0].decode()}"
