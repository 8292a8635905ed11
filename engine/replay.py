"""Replay: what was recorded goes through the line, as if it came now; alerts and a summary come out.

A log is taken in the order of arrival, with its receipt times, and gives exactly the alerts that were live. Files have
no receipt times: they are taken in event-time order, as if nothing had been late, and end at their last event.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import polars as pl

from engine import feature_rows, quality_page, replay_page, replay_state, replay_strips
from engine.card import file_hash, made_with, plain_command, protocols_of, write_card
from engine.line import Line, Processed, Taken
from engine.load import Loaded, load
from engine.program import Options
from engine.progress import SILENT, Progress
from engine.quality import Quality
from engine.replay_input import Asked, Input, is_log_among, open_input
from engine.replay_summary import AlertCounts, Summary, summarise
from engine.report import merge
from engine.segments import Segments
from ingest.columns import NO_TIME
from ingest.formats import Mappings
from ingest.reasons import Reason
from rules.alerts import SCHEMA
from rules.protocol import Protocol

__all__ = ["CLOSING", "QUARANTINE", "Summary", "replay"]

CLOSING = ("at-recovery", "never")
"""What is assumed of a ROUGE whose condition is over."""

QUARANTINE = pl.Schema(
    {
        "source": pl.String,  # file, or who sent it
        "offset": pl.Int64,  # of the log entry; row of a file
        "at": pl.Int64,  # byte in the entry's body; row of a file
        "receipt_ms": pl.Int64,  # null where a file's row has no time that can be read
        "reason": pl.String,
        "raw": pl.Binary,
    }
)
"""Columns of quarantine.parquet."""

_WORK = ".replay"
_MOST_WAITING = 100_000  # rows of alerts or of quarantine that are in memory


def replay(  # noqa: PLR0913 - an option is a parameter
    paths: Sequence[Path],
    protocols: Sequence[str | Path],
    out: Path,
    *,
    mapping: Mappings | None = None,
    zone: str = "Europe/Paris",
    resume: bool = False,
    shards: int = 1,
    limits: Path | None = None,
    enrolment: Path | None = None,
    close_rouge: str | None = None,
    features: bool = False,
    progress: Progress = SILENT,
    commit_s: float = 30.0,
    then: Callable[[Path, Progress], object] = lambda _out, _progress: None,
    command: Sequence[str] = (),
) -> Summary:
    """Replay files or a log.

    Parameters
    ----------
    paths : sequence of Path
        Tables, WFDB records, folders of these; or one log.
    protocols : sequence
        Files, or names of shipped protocols.
    out : Path
        Folder for alerts.parquet, quarantine.parquet, summary.json, summary.txt, card.json, report.html and strips/; of
        files quality.json and quality.html too, before the first reading goes through. Made if it is not there.
    mapping : Mappings, optional
        How tables are read.
    zone : str
        Of times without an offset, where the mapping names none, and of patients' local days.
    resume : bool
        Go on with a replay into `out` that was interrupted, if there is one.
    shards : int
        Threads. The alerts do not depend on it.
    limits, enrolment : Path, optional
        See `engine.load`.
    close_rouge : str, optional
        One of `CLOSING`. By default "at-recovery" for files, "never" for a log: its acts are in it.
    features : bool
        Write features.parquet too: what the rules saw, `engine.feature_rows.SCHEMA`.
    progress : Progress
    commit_s : float
        Seconds between two moments to which an interrupted replay can go back.
    then : callable
        Called with `out` and `progress` when all is written, while an interruption still loses nothing; for the queue.
    command : sequence of str
        What was asked, for the card.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError, OSError, LogError
        The input, the protocols or an option cannot be used; the message says which, and what is legal.
    """
    log = is_log_among(paths)
    rouge = close_rouge or ("never" if log else "at-recovery")
    if rouge not in CLOSING:
        msg = f"close_rouge {rouge!r}; legal: {', '.join(CLOSING)}"
        raise ValueError(msg)
    closes = rouge == "at-recovery"
    options = Options(close_at_recovery=closes) if log else Options(close_at_recovery=closes, deaf_after_ms=0)
    loaded = load(protocols, limits=limits, enrolment=enrolment, zone=zone, options=options)
    work = out / _WORK
    if not resume and work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    asked = Asked(tuple(paths), mapping or Mappings(), zone, _begun(work))
    source = open_input(asked, loaded, work / "sorted")
    fingerprint = " ".join([source.fingerprint, loaded.fingerprint, str(shards), *["features"] * features])
    done = False
    try:
        source.prepare(progress)
        quality = _quality(source, loaded.program.protocols, out, progress)
        with loaded.line(shards=shards, time_basis=source.time_basis) as line:
            for shard in line.shards:
                shard.watch_features = features
            run = _Run(work, line, source, fingerprint)
            if resume:
                run.go_back(progress)
            run.go(commit_s, progress)
            progress.step("hash of the input")
            content = source.content()
            summary = run.finish(out, rouge, quality, content)
        card = _card(summary, loaded, asked, out / "alerts.parquet", command)
        write_card(card, out / "card.json")
        replay_page.write_page(summary, loaded.program.protocols, card, quality, out / "report.html")
        replay_strips.write(out, source, progress)
        then(out, progress)
        done = True
    finally:
        source.close(remove=done)
    shutil.rmtree(work, ignore_errors=True)
    return summary


def _quality(source: Input, protocols: Sequence[Protocol], out: Path, progress: Progress) -> Quality | None:
    """Look at what is read and write what it is like."""
    found = source.quality(progress)
    paths = out / "quality.json", out / "quality.html"
    if found is None:
        # Those of a replay before would be taken for this one's.
        for path in paths:
            path.unlink(missing_ok=True)
        return None
    found.write(paths[0])
    quality_page.write_page(found, paths[1], protocols)
    if found.serious:
        progress.note(
            f"data quality: {found.serious:,} findings by which the replay is likely to be wrong: {paths[1]}"
        )
    return found


def _card(
    summary: Summary, loaded: Loaded, asked: Asked, alerts: Path, command: Sequence[str]
) -> dict[str, object]:
    """Say what a replay rests on, and what came of it: whoever has the one gets the other again."""
    mapping = json.dumps(asked.mapping.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return {
        "input": summary.input,
        "time_basis": summary.time_basis,
        "readings": summary.readings,
        "patients": summary.patients,
        **made_with(),
        "protocols": protocols_of(loaded),
        "limits_book": loaded.roster.book.digest,
        "enrolment": loaded.fingerprint,
        "mapping": hashlib.blake2b(mapping.encode(), digest_size=16).hexdigest(),
        "zone": asked.zone,
        "rouge": summary.rouge,
        "alerts": file_hash(alerts),
        "command": plain_command(command),
    }


def _begun(work: Path) -> int:
    """When the replay was begun, ms UTC: what lies after it has not happened. Kept, so that it is one time for all."""
    path = work / "begun"
    if not path.exists():
        unfinished = path.with_name("begun.new")
        unfinished.write_text(str(time.time_ns() // 1_000_000), encoding="ascii")
        unfinished.replace(path)
    return int(path.read_text(encoding="ascii"))


class _Run:
    """A replay on its way."""

    def __init__(self, work: Path, line: Line, source: Input, fingerprint: str) -> None:
        self._work = work
        self._line = line
        self._source = source
        self._fingerprint = fingerprint
        self._start = source.first
        self._readings = 0
        self._committed = False
        self._held = SCHEMA.to_frame()
        self._open({})

    def _open(self, kept: dict[str, list[str]]) -> None:
        rows = self._work / "rows"
        self._alerts = Segments(rows, "alerts", SCHEMA, kept.get("alerts", ()))
        self._refused = Segments(rows, "quarantine", QUARANTINE, kept.get("quarantine", ()))
        self._features = Segments(rows, "features", feature_rows.SCHEMA, kept.get("features", ()))

    def go_back(self, progress: Progress) -> None:
        """Go to where the replay before was, if there was one."""
        found = replay_state.resume(self._work / "checkpoints", self._line, self._fingerprint)
        if found is None:
            progress.note("nothing of a replay was safe yet: it begins at the start")
            return
        segments, counts, self._held = found
        self._open(segments)
        self._readings = counts["readings"]
        self._committed = True
        self._start = self._line.next_offset
        progress.note(f"going on at {self._start:,} of {self._source.end:,}")

    def go(self, commit_s: float, progress: Progress) -> None:
        """Take all batches through the line."""
        unit = "rows" if self._line.time_basis == "event" else "entries"
        progress.step("replay", self._source.end - self._start, unit)
        batches = self._source.batches(self._start)
        at = self._start
        for batch in batches:
            due = time.monotonic() + commit_s
            # To where all that was begun is done: only there is the line's state that of one offset.
            for processed in self._line.stream(self._until(due, chain([batch], batches))):
                self._take(processed)
                progress.advance(processed.batch.next_offset - at)
                at = processed.batch.next_offset
            if self._committed or self._is_due(due):
                # What took long enough to be kept on the way is kept at its end too: strips and the queue come after.
                self._commit()

    def _is_due(self, due: float) -> bool:
        waiting = self._alerts.waiting + self._refused.waiting + self._features.waiting
        return time.monotonic() >= due or waiting > _MOST_WAITING

    def _until(self, due: float, batches: Iterator[Taken]) -> Iterator[Taken]:
        """Give batches until it is time to keep what came of them."""
        for batch in batches:
            yield batch
            if self._is_due(due):
                return

    def _take(self, processed: Processed) -> None:
        batch, refused = processed.batch, processed.quarantine
        # Rows of the newest moment wait for the next batch: their order must not depend on where batches are cut.
        rows = merge([self._held, processed.alerts])
        self._features.add(feature_rows.rows(self._line.program, processed))
        newest = pl.col("clock_ms") >= processed.clock_ms
        self._held = rows.filter(newest)
        self._alerts.add(rows.filter(~newest))
        self._readings += len(batch.code)
        if refused is not None and len(refused):
            self._refused.add(
                pl.DataFrame(
                    {
                        "source": [batch.sources[k] for k in refused.source.tolist()],
                        "offset": refused.offset,
                        "at": refused.at,
                        "receipt_ms": [None if t == NO_TIME else t for t in refused.receipt_ms.tolist()],
                        "reason": [Reason(k).name for k in refused.reason.tolist()],
                        "raw": refused.raw,
                    },
                    schema=QUARANTINE,
                )
            )

    def _commit(self) -> None:
        self._committed = True
        # Rows first: the checkpoint names their files.
        self._alerts.commit()
        self._refused.commit()
        self._features.commit()
        files = {
            "alerts": self._alerts.files,
            "quarantine": self._refused.files,
            "features": self._features.files,
        }
        counts = {"readings": self._readings}
        replay_state.commit(
            self._work / "checkpoints", self._line, self._fingerprint, files, counts, self._held
        )

    def finish(self, out: Path, rouge: str, quality: Quality | None, content: str) -> Summary:
        """Write what comes out."""
        self._alerts.add(self._held)
        counts = AlertCounts()
        for rows in self._alerts.finish(out / "alerts.parquet"):
            counts.add(rows)
        for _ in self._refused.finish(out / "quarantine.parquet"):
            pass
        if self._line.shards[0].watch_features:
            for _ in self._features.finish(out / "features.parquet"):
                pass
        else:
            # That of a replay before would be taken for this one's.
            (out / "features.parquet").unlink(missing_ok=True)
        summary = summarise(
            out,
            self._line,
            counts,
            self._readings,
            rouge=rouge,
            notes=tuple(self._source.notes()),
            quality=quality,
            content=content,
        )
        summary.write(out)
        return summary
