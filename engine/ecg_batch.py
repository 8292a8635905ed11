"""Many ECG records at once: each read, analysed and written by one thread, since the kernels hold no lock."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from engine.alarm import Alarm, holds, until
from engine.ecg_analysis import Analysis, analyse, as_json, follow
from engine.ecg_report import Section, page, section
from engine.progress import SILENT, Progress
from engine.strip_label import LONGEST_S, label
from ingest.formats.ecg_files import How, find_records, read_leads, read_record

__all__ = ["AT_S", "Question", "Summary", "analyse_files"]

AT_S = 300.0
"""When an alarm was raised, unless it is said: 5:00, as in PhysioNet/CinC Challenge 2015."""


@dataclass(frozen=True, slots=True)
class Question:
    """An alarm to judge: its type, and when it was raised, in seconds from the first sample."""

    kind: Alarm
    at_s: float = AT_S

    @classmethod
    def of(cls, kind: str, at_s: float | None = None) -> "Question | None":
        """Make one of what a person wrote; None of nothing.

        Raises
        ------
        ValueError
            There is no such type, the moment is not one, or it is given without an alarm.
        """
        if not kind:
            if at_s is not None:
                msg = "--at says when an alarm was raised; say which with --alarm"
                raise ValueError(msg)
            return None
        if kind not in list(Alarm):
            msg = f"--alarm {kind}: no such type; legal are {', '.join(Alarm)}"
            raise ValueError(msg)
        if at_s is not None and not 0.0 < at_s < float("inf"):
            msg = f"--at {at_s:g}: not a moment of a record; legal are seconds over 0"
            raise ValueError(msg)
        return cls(Alarm(kind), AT_S if at_s is None else at_s)


@dataclass(slots=True)
class Summary:
    """What came of it. `failed` has a line for each record that could not be analysed."""

    out: Path
    records: int = 0
    beats: int = 0
    episodes: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say how much there was, for a person."""
        records = "1 record" if self.records == 1 else f"{self.records:,} records"
        return f"{self.out}: {records}, {self.beats:,} beats, {self.episodes:,} episodes"


def analyse_files(
    paths: Sequence[str | Path],
    out: Path,
    how: How | None = None,
    *,
    strip_s: float | None = None,
    alarm: Question | None = None,
    report: Path | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Analyse records and write one JSON each, named after it, and a page of them all if asked for.

    Parameters
    ----------
    paths : sequence
        Records, patterns and folders, as `find_records` takes them.
    out : Path
        Folder, made when the first result is there.
    how : How, optional
        How files are read.
    strip_s : float, optional
        Analyse each strip of so many seconds alone, cold.
    alarm : Question, optional
        Judge this alarm in each record, from all its ECG leads.
    report : Path, optional
        HTML file to write.

    Returns
    -------
    Summary
        A record that cannot be read does not stop the others: it is in `failed`.

    Raises
    ------
    FormatError
        Nothing can begin: a path is missing, or two records have one name.
    ValueError
        Strips or an alarm, and marked beats, were both asked for.
    """
    how = how or How()
    if strip_s is not None and how.beats:
        msg = "strips and marked beats: one or the other; a strip is analysed from its samples"
        raise ValueError(msg)
    if alarm is not None and how.beats:
        msg = "an alarm and marked beats: one or the other; an alarm is judged from the samples"
        raise ValueError(msg)
    records = find_records(paths)
    summary = Summary(out)
    sections: dict[Path, Section] = {}
    faults: list[Exception] = []
    failed: dict[Path, str] = {}
    progress.step("analyse", len(records), "records")
    with ThreadPoolExecutor(min(len(records), _threads()), "ecg") as pool:
        waiting = {
            pool.submit(_one, path, how, strip_s, alarm, out, drawn=report is not None): path
            for path in records
        }
        try:
            for future in as_completed(waiting):
                path = waiting[future]
                progress.advance()
                error = future.exception()
                if isinstance(error, (ValueError, OSError)):
                    failed[path] = _said(path, error)
                elif isinstance(error, Exception):
                    faults.append(error)
                else:
                    analysis, drawn = future.result()
                    summary.records += 1
                    summary.beats += len(analysis.beats)
                    summary.episodes += len(analysis.rhythm.start)
                    if drawn is not None:
                        sections[path] = drawn
        finally:
            pool.shutdown(cancel_futures=True)
    if faults:
        raise faults[0]
    summary.failed = [failed[path] for path in records if path in failed]
    if report is not None and sections:
        progress.step("report")
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(
            page([sections[path] for path in records if path in sections], summary.failed), encoding="utf-8"
        )
    return summary


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one(
    path: Path, how: How, strip_s: float | None, alarm: Question | None, out: Path, *, drawn: bool
) -> tuple[Analysis, Section | None]:
    """Analyse one record and write its JSON."""
    record = read_record(path, how)
    answers: dict[str, int | str] = {}
    if record.marked is not None:
        analysis = follow(record.marked)
    elif record.lead is not None:
        analysis = analyse(record.lead, strip_s)
        if strip_s is None and analysis.length <= LONGEST_S * analysis.rate_hz:
            answers["label"] = label(record.lead, analysis)
    else:
        msg = f"{path}: neither a signal nor marked beats"
        raise ValueError(msg)
    if alarm is not None:
        leads = [until(lead, alarm.at_s) for lead in read_leads(path, how)]
        answers["alarm"] = int(holds(alarm.kind, leads))
    channel = record.lead.channel if record.lead else ""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{path.stem}.json").write_text(as_json(analysis, path.stem, channel, answers), encoding="ascii")
    return analysis, section(path.stem, record.lead, analysis) if drawn else None


def _said(path: Path, error: ValueError | OSError) -> str:
    """Say what is wrong with a record in one line that names it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or path}: {error.strerror}"
    text = " ".join(str(error).split())
    return text if str(path.with_suffix("")) in text else f"{path}: {text}"
