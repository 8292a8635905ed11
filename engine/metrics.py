"""What the service measures, as Prometheus reads it: names in base units, labels bounded, no patient in any.

Counts that the line keeps anyway (accounts, state, log) are read when somebody asks; only what would be gone by then is
noted as it happens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from time import time_ns

import numpy as np
import numpy.typing as npt
import polars as pl
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from engine.accounts import Accounts
from engine.durable import DurableLine, Step
from ingest.intake import Group, Intake
from kernels import SOURCE_HASH
from rules.levels import Level

__all__ = ["Metrics", "QueueDepth"]

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATENESS = (1.0, 10.0, 60.0, 300.0, 3600.0, 21600.0, 86400.0, 604800.0)
_STATUSES = frozenset({202, 400, 401, 408, 413, 415, 422, 429, 500, 503, 507})


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Open lines of the queue of one level, and how long the oldest has waited."""

    level: Level
    lines: int
    oldest_s: float


class Metrics:
    """All metrics of one service.

    Parameters
    ----------
    queue : callable
        Gives the depth of the queue by level; asked when the metrics are.
    """

    def __init__(self, queue: Callable[[], Iterable[QueueDepth]]) -> None:
        self.registry = CollectorRegistry()
        self._queue = queue
        histogram = self._histogram
        self._requests = Counter(
            "vigie_requests", "Bodies by source and status of the answer", ["source", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._bytes = Counter(
            "vigie_received_bytes", "Bytes of bodies that were logged", ["source"], registry=self.registry
        )
        self._ended = Counter(
            "vigie_connections_ended", "Connections ended before a request was whole", ["why"],
            registry=self.registry,
        )  # fmt: skip
        self._alerts = Counter(
            "vigie_alerts", "Transitions of alerts that the line gave", ["protocol", "rule", "level", "kind"],
            registry=self.registry,
        )  # fmt: skip
        self._answer = histogram("vigie_answer_seconds", "From a request's head to its answer")
        self._judge = histogram("vigie_intake_judge_seconds", "Judging a group of bodies")
        self._commit = histogram("vigie_log_commit_seconds", "Having a group of bodies on the disk")
        self._decode = histogram("vigie_line_decode_seconds", "Decoding a batch of the log")
        self._kernels = histogram("vigie_line_kernels_seconds", "From packets to features, a batch and shard")
        self._rules = histogram("vigie_line_rules_seconds", "From features to transitions, a batch and shard")
        self._process = histogram("vigie_line_process_seconds", "A batch through all shards")
        self._deliver = histogram("vigie_line_commit_seconds", "A batch's quarantine, history and alerts")
        self._lateness = Histogram(
            "vigie_lateness_seconds", "From a packet's event to its receipt", buckets=_LATENESS,
            registry=self.registry,
        )  # fmt: skip
        self._delay = Histogram(
            "vigie_alert_delay_seconds", "From the receipt of a packet to its alert in the queue", buckets=_FAST,
            registry=self.registry,
        )  # fmt: skip
        self._watermark_ms = 0
        ProcessCollector(registry=self.registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, buckets=_FAST, registry=self.registry)

    def expose(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def follow(self, lines: Callable[[], Sequence[DurableLine]], intake: Intake | None = None) -> None:
        """Read from now on what the lines of this process, and its intake, keep count of."""
        self.registry.register(_Standing(self, lines, intake))

    def busy(self) -> dict[str, float]:
        """Give for how many seconds each part was at work since the start."""
        parts = {
            "intake": self._judge,
            "the disk": self._commit,
            "the line": self._process,
            "the queue": self._deliver,
        }
        return {name: histogram._sum.get() for name, histogram in parts.items()}  # noqa: SLF001 - not shown otherwise

    # What happens --------------------------------------------------------------------------------------------

    def answered(self, source: str, status: int, seconds: float) -> None:
        """A body was answered; `source` is "" where it is not known."""
        known = str(status) if status in _STATUSES else "other"
        self._requests.labels(source, known).inc()
        self._answer.observe(seconds)

    def logged(self, group: Group) -> None:
        """A group of bodies is on the disk."""
        sizes: dict[str, int] = {}
        for body in group.bodies:
            sizes[body.source.name] = sizes.get(body.source.name, 0) + len(body.data)
        for source, size in sizes.items():
            self._bytes.labels(source).inc(size)
        self._judge.observe(group.judged_s - group.begun_s)
        self._commit.observe(group.logged_s - group.judged_s)

    def ended(self, why: str) -> None:
        """A connection was ended."""
        self._ended.labels(why).inc()

    def stepped(self, step: Step) -> None:
        """The line took a batch."""
        self._decode.observe(step.decode_s)
        self._process.observe(step.process_s)
        self._deliver.observe(step.commit_s)
        for outcome in step.done.outcomes:
            self._kernels.observe(outcome.kernel_s)
            self._rules.observe(outcome.rule_s)
        batch = step.done.batch
        if len(batch):
            self._watermark_ms = max(self._watermark_ms, int(batch.t_ms.max()))
            late_s = np.maximum((batch.receipt_ms - batch.t_ms) / 1000.0, 0.0)
            _observe(self._lateness, _LATENESS, late_s)
        alerts = step.done.alerts
        if len(alerts):
            # On a tick there is no packet to count from.
            by_packet = alerts.filter(pl.col("offset").is_not_null())["clock_ms"].to_numpy()
            _observe(self._delay, _FAST, time_ns() / 1e9 - by_packet / 1e3)
            counted = alerts.group_by("protocol", "rule", "level", "kind").len()
            for protocol, rule, level, kind, count in counted.iter_rows():
                self._alerts.labels(protocol, rule, level, kind).inc(count)

    @property
    def watermark_ms(self) -> int:
        """Newest event time since the start, ms UTC; 0 while there was none."""
        return self._watermark_ms

    def queue(self) -> Iterable[QueueDepth]:
        """Give the depth of the queue now."""
        return self._queue()


def _observe(histogram: Histogram, bounds: tuple[float, ...], values: npt.NDArray[np.float64]) -> None:
    """Note many values at once: the library takes them one by one."""
    # Its buckets are private, but bounded and cumulative only when shown: one number each is all there is to add.
    places = np.searchsorted(np.array(bounds), values, side="left")
    counts = np.bincount(places, minlength=len(bounds) + 1)
    for bucket, count in zip(histogram._buckets, counts.tolist(), strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
    histogram._sum.inc(float(values.sum()))  # noqa: SLF001


class _Standing(Collector):
    """What is read when somebody asks."""

    def __init__(
        self, metrics: Metrics, lines: Callable[[], Sequence[DurableLine]], intake: Intake | None
    ) -> None:
        self._metrics = metrics
        self._lines = lines
        self._intake = intake

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: the names are all ours."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        yield InfoMetricFamily(
            "vigie_build", "Version and kernels", {"version": version("vigie"), "kernels": SOURCE_HASH}
        )
        if self._intake is not None:
            waiting, waiting_bytes = self._intake.waiting
            yield _gauge("vigie_intake_waiting_bodies", "Bodies that wait to be judged", waiting)
            yield _gauge("vigie_intake_waiting_bytes", "Bytes of them", waiting_bytes)
        yield _gauge(
            "vigie_watermark_timestamp_seconds", "Newest event time", self._metrics.watermark_ms / 1000
        )
        if held := self._lines():
            yield from _of_lines(held)
        lines = GaugeMetricFamily("vigie_queue_lines", "Open lines of the queue", labels=["level"])
        oldest = GaugeMetricFamily(
            "vigie_queue_oldest_seconds", "How long the oldest open line has waited", labels=["level"]
        )
        for depth in self._metrics.queue():
            lines.add_metric([depth.level.name], depth.lines)
            oldest.add_metric([depth.level.name], depth.oldest_s)
        yield lines
        yield oldest


def _of_lines(lines: Sequence[DurableLine]) -> Iterator[Metric]:
    """Give what lines keep count of: sums, and of what must not be great or old the worst."""
    yield from _accounts(
        Accounts.together(line.accounts() for line in lines),
        balanced=not any(line.unbalanced for line in lines),
    )
    next_offset = max(line.log.next_offset for line in lines)
    reached = min(line.next_offset for line in lines)
    yield _gauge("vigie_log_next_offset", "Entries of the log ever", next_offset)
    first_offset = min(line.log.first_offset for line in lines)
    yield _gauge("vigie_log_first_offset", "The oldest entry that is kept", first_offset)
    yield _gauge("vigie_line_next_offset", "Entries that went through the line", reached)
    yield _gauge("vigie_lag_entries", "Entries that wait", max(0, next_offset - reached))
    yield _gauge(
        "vigie_lag_seconds", "How long the oldest of them has waited", max(line.lag_s() for line in lines)
    )
    shards = [shard for line in lines for shard in line.line.shards]
    yield _gauge("vigie_patients", "Patients in the state", sum(shard.state.used for shard in shards))
    size = sum(a.nbytes for shard in shards for a in shard.state.arrays.values())
    yield _gauge("vigie_state_bytes", "Memory of the state of spot readings", size)
    yield _gauge(
        "vigie_checkpoint_offset",
        "Offset of the newest whole checkpoint",
        min(line.committed_offset or 0 for line in lines),
    )
    yield _gauge(
        "vigie_checkpoint_age_seconds",
        "Time since it was whole",
        max(line.checkpoint_age_s for line in lines),
    )
    problems = sum(len(line.problems) for line in lines)
    yield _gauge("vigie_problems", "What an operator must look at", problems)


def _accounts(accounts: Accounts, *, balanced: bool) -> Iterator[Metric]:
    packets = CounterMetricFamily(
        "vigie_packets", "Packets by source and what became of them", labels=["source", "outcome"]
    )
    received = CounterMetricFamily("vigie_packets_received", "Packets by source", labels=["source"])
    refused = CounterMetricFamily(
        "vigie_quarantined", "Packets refused by source and reason", labels=["source", "reason"]
    )
    for source, account in accounts.by_source.items():
        received.add_metric([source], account.received)
        packets.add_metric([source, "applied"], account.applied)
        packets.add_metric([source, "duplicate"], account.duplicate)
        packets.add_metric([source, "late"], account.late)
        reasons = account.quarantined
        packets.add_metric([source, "quarantined"], sum(reasons.values()))
        for reason, count in reasons.items():
            refused.add_metric([source, reason], count)
    yield received
    yield packets
    yield refused
    yield _gauge("vigie_accounts_balanced", "1: every packet received is accounted for", float(balanced))


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)
