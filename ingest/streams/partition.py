"""Reading one partition of the log on Redis, as the line reads the embedded log."""

import time
import zlib
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError

from ingest.logfile import Damage, Entry, LogDamagedError, LogError, LogTrimmedError
from ingest.streams import scripts
from ingest.streams.address import shown
from ingest.streams.log import LOG, MARKS, stream_of
from ingest.streams.server import connect, explain

__all__ = ["SILENT", "PartitionLog"]

SILENT = "heartbeat"
"""Source of the empty entries that say when the log was heard."""

_BEHIND_S = 0.25
"""A partition to which nothing comes is told of the others' progress so often."""

_MOST = 4096
"""Entries of one answer of the server."""


class PartitionLog:
    """Reads a partition. For one thread; each has a connection of its own.

    What is read are the entries of the partition, and between them, without packets, the times at which the log was
    heard: the same for every partition, so that all workers see the same clock and the same silences.

    Parameters
    ----------
    url : str
        See `ingest.streams.server.connect`.
    partition : int

    Attributes
    ----------
    path : str
        The log's name, for messages; without its password.
    checkpoint_problem : str
        Always empty: the server keeps its files.

    Raises
    ------
    LogError
        The server cannot be reached, or there is no log, or no such partition.
    """

    checkpoint_problem = ""

    def __init__(self, url: str, partition: int) -> None:
        self.path = f"{shown(url)} partition {partition}"
        self._name = shown(url)  # of what is wrong with the server, which is the same for all partitions
        self.partition = partition
        self._stream = stream_of(partition)
        self._client = connect(url)
        self._waiting = connect(url, timeout_s=30.0)
        self._trim = self._client.register_script(scripts.TRIM)
        self._cursor = (-1, 0)  # an offset, and the time of the marks that were given before it
        self._told_s = 0.0
        self._mean = 1 << 20  # bytes of an entry, of late; at first what they are at most, or nearly
        try:
            held = self._client.hmget(LOG, ["id", "partitions"])
        except RedisError as error:
            self.close()
            raise explain(self._name, "opening", error) from error
        if held[0] is None or partition >= int(held[1]):
            self.close()
            there = (
                "there is no log" if held[0] is None else f"the log has partitions 0 to {int(held[1]) - 1}"
            )
            msg = f"{self.path}: {there}"
            raise LogError(msg)
        self.id = held[0].decode()
        self._partitions = int(held[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()
        self._waiting.close()

    # Where it is ---------------------------------------------------------------------------------------------

    def _ask(self, doing: str, *command: Any) -> Any:  # noqa: ANN401 - as the server answers
        try:
            return self._client.execute_command(*command)
        except RedisError as error:
            raise explain(self._name, doing, error) from error

    @property
    def next_offset(self) -> int:
        """The offset that the next entry will get, in whichever partition."""
        return int(self._ask("reading", "HGET", LOG, "next") or 0)

    @property
    def first_offset(self) -> int:
        """The oldest offset that retention has left in this partition."""
        return int(self._ask("reading", "HGET", LOG, f"first:{self.partition}") or 0)

    def receipt_ms(self, offset: int) -> int | None:
        """Give the receipt time of the first entry of this partition from `offset` on, ms UTC; None: there is none."""
        found = self._ask("reading", "XRANGE", self._stream, f"{offset}-0", "+", "COUNT", 1)
        return int(found[0][1][b"r"]) if found else None

    def offset_at(self, receipt_ms: int) -> int:
        """Give an offset before which all was received by `receipt_ms` (ms UTC), to the second."""
        found = self._ask("reading", "XREVRANGE", MARKS, f"{receipt_ms}-1", "-", "COUNT", 1)
        return int(found[0][1][b"o"]) if found else 0

    def _heard_before(self, offset: int) -> int:
        """Give the time of a mark that is not later than the entry at `offset`, by halving; 0: there is none."""
        oldest = self._ask("reading", "XRANGE", MARKS, "-", "+", "COUNT", 1)
        newest = self._ask("reading", "XREVRANGE", MARKS, "+", "-", "COUNT", 1)
        if not oldest:
            return 0
        low, high = _time(oldest[0]), _time(newest[0])
        best = 0
        while low <= high:
            middle = (low + high) // 2
            found = self._ask("reading", "XREVRANGE", MARKS, f"{middle}-1", "-", "COUNT", 1)
            if found and int(found[0][1][b"o"]) <= offset:
                best = _time(found[0])
                low = middle + 1
            else:
                high = (_time(found[0]) if found else low) - 1
        return best

    # Reading -------------------------------------------------------------------------------------------------

    def read(
        self,
        from_offset: int,
        max_bytes: int = 8 << 20,
        max_entries: int = 65536,
        damaged: list[Damage] | None = None,
    ) -> list[Entry]:
        """Read what is in this partition from `from_offset` on, with the times at which the log was heard.

        Parameters as for `ingest.log.LogReader.read`.

        Raises
        ------
        LogDamagedError
            The next entry is damaged and `damaged` was not given; or the log ends before `from_offset`.
        LogTrimmedError
            `from_offset` was removed by retention.
        LogError
            The server does not answer, or holds another log.
        """
        rows, next_offset, heard_ms = self._rows(from_offset, max_bytes, max_entries)
        entries: list[Entry] = []
        for name, fields in rows:
            offset = int(name.partition(b"-")[0])
            wrong = _what_is_wrong(fields)
            if not wrong:
                source, body = fields[b"s"].decode(), fields[b"b"]
                entries.append(Entry(offset, int(fields[b"r"]), source, body))
            elif damaged is not None:
                damaged.append(Damage(offset, offset, wrong))
            elif entries:
                return entries
            else:
                msg = f"{self.path}: {Damage(offset, offset, wrong)}"
                raise LogDamagedError(msg)
        if next_offset is None:  # as far as what was read: what others got meanwhile is for the next time
            if not entries:
                return entries
            next_offset, heard_ms = int(rows[-1][0].partition(b"-")[0]) + 1, entries[-1].receipt_ms
        now = time.monotonic()
        if not entries and (next_offset == from_offset or now - self._told_s < _BEHIND_S):
            return entries
        self._told_s = now
        return self._with_marks(entries, from_offset, next_offset, heard_ms)

    def _rows(self, from_offset: int, max_bytes: int, max_entries: int) -> tuple[list[Any], int | None, int]:
        """Give entries as the server has them; and next offset and time of the log, where these were all."""
        rows: list[Any] = []
        size = 0
        at = from_offset
        while True:
            room = max(1, (max_bytes - size) // self._mean)
            count = min(room, max_entries - len(rows), _MOST)
            try:
                with self._client.pipeline(transaction=True) as pipe:
                    pipe.hmget(LOG, ["id", "next", "receipt_ms", f"first:{self.partition}"])
                    pipe.xrange(self._stream, f"{at}-0", "+", count=count)
                    held, some = pipe.execute()
            except RedisError as error:
                raise explain(self._name, "reading", error) from error
            self._check(held, from_offset)
            sizes = [len(row[1].get(b"b", b"")) for row in some]
            if some:
                self._mean = max(64, sum(sizes) // len(sizes))
            for row, more in zip(some, sizes, strict=True):
                size += more
                if rows and size > max_bytes:
                    return rows, None, 0
                rows.append(row)
            if some:
                at = int(some[-1][0].partition(b"-")[0]) + 1
            if len(some) < count:
                return rows, int(held[1]), int(held[2])
            if len(rows) >= max_entries or size >= max_bytes:
                return rows, None, 0

    def _check(self, held: list[bytes | None], from_offset: int) -> None:
        if held[0] is None or held[0].decode() != self.id:
            msg = f"{self.path}: another log is at this address: the one that was opened is gone"
            raise LogError(msg)
        if int(held[1] or 0) < from_offset:
            msg = (
                f"{self.path}: the log ends at offset {int(held[1] or 0)}, but was read up to {from_offset}: the "
                "server has lost what it had acknowledged"
            )
            raise LogDamagedError(msg)
        if from_offset < int(held[3] or 0):
            msg = f"{self.path}: offset {from_offset} was removed by retention; the oldest is {int(held[3] or 0)}"
            raise LogTrimmedError(msg)

    def _with_marks(
        self, entries: list[Entry], from_offset: int, next_offset: int, heard_ms: int
    ) -> list[Entry]:
        """Put the times at which the log was heard between the entries; the last one is where reading goes on."""
        known = self._cursor[0] == from_offset
        since = f"{self._cursor[1]}-2" if known else f"{self._heard_before(from_offset)}-1"
        marks = self._ask("reading", "XRANGE", MARKS, since, f"{heard_ms}-1")
        last = next_offset - 1
        out: list[Entry] = []
        k = 0
        for name, fields in marks:
            ms = _time((name, fields))
            while k < len(entries) and entries[k].receipt_ms < ms:
                out.append(entries[k])
                k += 1
            out.append(Entry(min(max(int(fields[b"o"]) - 1, 0), last), ms, SILENT, b""))
        out += entries[k:]
        if not out or out[-1].offset < last or out[-1].receipt_ms < heard_ms:
            out.append(Entry(last, heard_ms, SILENT, b""))
        self._cursor = next_offset, heard_ms
        return out

    def wait_for(self, offset: int, timeout: float) -> bool:
        """Wait until an entry of this partition from `offset` on can be read; return whether one can."""
        after = f"{offset - 1}-1" if offset else "0-0"
        try:
            found = self._waiting.xread({self._stream: after}, count=1, block=max(1, round(1000 * timeout)))
        except RedisError as error:
            raise explain(self._name, "waiting", error) from error
        return bool(found)

    def trim(self, before_offset: int) -> int:
        """Remove the entries of this partition before `before_offset`; return how many."""
        try:
            keys = [LOG, MARKS, self._stream]
            return int(self._trim(keys, [self.partition, before_offset, self._partitions]))
        except RedisError as error:
            raise explain(self._name, "trimming", error) from error


def _time(mark: tuple[bytes, Any]) -> int:
    """Give the time of a mark, ms UTC."""
    return int(mark[0].partition(b"-")[0])


def _what_is_wrong(fields: dict[bytes, bytes]) -> str:
    try:
        found = zlib.crc32(fields[b"b"], zlib.crc32(fields[b"s"]))
        crc = int(fields[b"c"])
        int(fields[b"r"])
        fields[b"s"].decode()
    except (KeyError, ValueError):
        return "the entry is not one of Vigie's"
    return "" if found == crc else f"checksum {found:08x} is not the one written, {crc:08x}"
