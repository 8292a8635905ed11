"""What a replay found, for a program (JSON) and for a person (text)."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from engine.accounts import Account
from engine.line import Line
from engine.program import DAY_MS
from engine.quality import Quality
from engine.quality_words import said
from kernels import SOURCE_HASH
from rules.alerts import Happening
from rules.explain import notice
from rules.levels import Level
from rules.protocol import Protocol

__all__ = ["ROUGE", "AlertCounts", "Summary", "summarise"]

ROUGE = {
    "at-recovery": "each ROUGE is taken to be closed when its condition ends, as no person is in the input",
    "never": "a ROUGE stays open until an act of the cell in the input closes it",
}
"""What was assumed of a ROUGE, in words."""


_SHOWN = 20
"""Findings on data quality that the text has; summary.json has all."""


@dataclass(frozen=True, slots=True)
class Used:
    """A protocol as it was."""

    id: str
    version: str
    hash: str
    signed: bool
    notice: str

    @classmethod
    def of(cls, protocol: Protocol) -> "Used":
        """Say of a protocol what a summary keeps."""
        return cls(protocol.id, protocol.version, protocol.hash, protocol.signed, notice(protocol))


@dataclass(frozen=True, slots=True)
class Firing:
    """How often a rule opened an alert, or raised one, at a level."""

    protocol: str
    rule: str
    level: str
    count: int
    per_100_patients_per_day: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a replay. `rows` counts the rows of alerts.parquet, `alerts` the alerts in them."""

    out: str
    time_basis: str
    rouge: str
    protocols: tuple[Used, ...]
    kernels: str
    input: str
    """Hash of what the files hold, or of the log's entries."""
    packets: int
    readings: int
    applied: int
    duplicate: int
    late: int
    quarantined: dict[str, int]
    balanced: bool
    patients: int
    patient_days: float
    alerts: int
    rows: int
    alerts_by_level: dict[str, int]
    firings: tuple[Firing, ...]
    notes: tuple[str, ...] = ()
    quality: tuple[str, ...] | None = None
    """What looks wrong with the data, of what is likely to make the replay wrong; None of a log."""

    @property
    def ok(self) -> bool:
        """Whether every packet is accounted for, and at least one was applied."""
        return self.balanced and self.applied > 0

    def write(self, folder: Path) -> None:
        """Write summary.json and summary.txt; the same input gives the same bytes."""
        kept = asdict(self)
        del kept["out"]
        (folder / "summary.json").write_text(
            json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        (folder / "summary.txt").write_text(f"{self}\n", encoding="utf-8")

    def __str__(self) -> str:
        refused = sum(self.quarantined.values())
        balance = "" if self.balanced else " (THE ACCOUNTS DO NOT BALANCE)"
        became = f"{self.applied:,} applied, {self.duplicate:,} duplicate, {self.late:,} late, {refused:,} quarantined"
        levels = ", ".join(f"{count:,} {level}" for level, count in self.alerts_by_level.items())
        lines = [f"{self.packets:,} packets received: {became}{balance}"]
        lines += [f"  quarantined {reason}: {count:,}" for reason, count in self.quarantined.items()]
        days = f"{self.patient_days:,.1f} patient-days"
        lines.append(f"{self.readings:,} readings of {self.patients:,} patients over {days}")
        # An alert that was opened ORANGE and raised to ROUGE counts at both.
        lines.append(f"{self.alerts:,} alerts; opened at a level or raised to it: {levels}")
        width = max((len(each.rule) for each in self.firings), default=0)
        if self.firings:
            lines.append(
                f"  {'rule':{width}} {'level':9} {'opened or raised':>16} {'per 100 patients a day':>23}"
            )
        for each in self.firings:
            rate = "-" if each.per_100_patients_per_day is None else f"{each.per_100_patients_per_day:.2f}"
            lines.append(f"  {each.rule:{width}} {each.level:9} {each.count:16,} {rate:>23}")
        arrival = self.time_basis == "arrival"
        lines.append(f"time: {'order of arrival' if arrival else 'event time, as if nothing had been late'}")
        lines.append(f"ROUGE: {ROUGE[self.rouge]}")
        lines += [
            f"protocol {used.id} {used.version} {used.hash}" + (f": {used.notice}" if used.notice else "")
            for used in self.protocols
        ]
        lines.append(f"kernels {self.kernels}; input {self.input}; card.json says what it rests on")
        lines += [f"note: {note}" for note in self.notes]
        if self.quality is not None:
            count = f"{len(self.quality):,} findings" if self.quality else "nothing"
            lines.append(f"data quality: {count} by which it is likely to be wrong; see report.html")
            lines += [f"  {each}" for each in self.quality[:_SHOWN]]
        return "\n".join(lines)


@dataclass(slots=True)
class AlertCounts:
    """Counts of the rows of alerts as they go by."""

    rows: int = 0
    alerts: int = 0
    firings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pl.DataFrame) -> None:
        """Count some rows."""
        self.rows += len(rows)
        begun = rows.filter(pl.col("kind").is_in([Happening.OPENED.value, Happening.RAISED.value]))
        self.alerts += int((begun["kind"] == Happening.OPENED.value).sum())
        for protocol, rule, level, count in begun.group_by("protocol", "rule", "level").len().iter_rows():
            self.firings[protocol, rule, level] += count
            self.levels[level] += count


def summarise(
    out: Path,
    line: Line,
    counts: AlertCounts,
    readings: int,
    *,
    rouge: str,
    notes: tuple[str, ...],
    quality: Quality | None,
    content: str,
) -> Summary:
    """Put together what is known at the end."""
    total: Account = line.accounts.total
    states = [shard.state for shard in line.shards]
    patients = sum(state.used for state in states)
    # From the first that was known of a patient to the newest reading; a patient of one day counts a day.
    spans = [s.readings.newest_ms[: s.used] - s.readings.first_ms[: s.used] for s in states]
    days = sum(float((span / DAY_MS).clip(1.0).sum()) for span in spans)
    order = sorted(counts.firings, key=lambda key: (-Level[key[2]], key[0], key[1]))
    return Summary(
        out=str(out),
        time_basis=line.time_basis,
        rouge=rouge,
        protocols=tuple(Used.of(each) for each in line.program.protocols),
        kernels=SOURCE_HASH,
        input=content,
        packets=total.received,
        readings=readings,
        applied=total.applied,
        duplicate=total.duplicate,
        late=total.late,
        quarantined=dict(sorted(total.quarantined.items())),
        balanced=line.accounts.balanced,
        patients=patients,
        patient_days=round(days, 3),
        alerts=counts.alerts,
        rows=counts.rows,
        alerts_by_level={level.name: counts.levels[level.name] for level in sorted(Level, reverse=True)},
        firings=tuple(
            Firing(*key, counts.firings[key], round(100 * counts.firings[key] / days, 4) if days else None)
            for key in order
        ),
        notes=notes,
        quality=tuple(said(each) for each in quality.findings if each.serious) if quality else None,
    )
