"""What watches a service from outside: alert rules for Prometheus and a dashboard for Grafana, from one table.

Each alert is about something that an operator must do, and names the page that says what. `vigie monitoring DIR` writes
``alerts.yml`` and ``dashboard.json``; those in docs/monitoring are these.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ALERTS", "PANELS", "Alert", "Panel", "dashboard", "rules", "write"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule: `expression` true for `wait` raises it."""

    name: str
    expression: str
    wait: str
    severity: str
    summary: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: some expressions with their legends; `unit` is Grafana's name."""

    title: str
    unit: str
    targets: tuple[tuple[str, str], ...]


_RUNBOOK = "docs/monitoring/runbooks.md"
_PAGE, _TICKET = "page", "ticket"

ALERTS = (
    Alert("VigieDown", 'up{job="vigie"} == 0', "1m", _PAGE, "The service does not answer"),
    Alert("VigieBehind", "vigie_lag_seconds > 30", "2m", _PAGE, "The line is behind what is received"),
    Alert("VigieUnbalanced", "vigie_accounts_balanced == 0", "0m", _PAGE, "Packets are not accounted for"),
    Alert(
        "VigieLogRefuses",
        'sum(rate(vigie_requests_total{status=~"500|503|507"}[5m])) > 0',
        "1m",
        _PAGE,
        "Senders are told that nothing was taken",
    ),
    Alert(
        "VigieCheckpointOld",
        "vigie_checkpoint_age_seconds > 900 and vigie_line_next_offset > vigie_checkpoint_offset + 1000",
        "5m",
        _TICKET,
        "No checkpoint was made for a quarter of an hour",
    ),
    Alert("VigieProblems", "vigie_problems > 0", "0m", _TICKET, "The service names a problem"),
    Alert(
        "VigieProtocolSignature",
        'vigie_protocol_signed{standing=~"altered|expired|not yet valid"} == 0',
        "10m",
        _TICKET,
        "A protocol is not what was signed, or its signature does not hold today",
    ),
    Alert(
        "VigieQuarantine",
        'sum by (source) (rate(vigie_packets_total{outcome="quarantined"}[15m])) '
        "> 0.1 * sum by (source) (rate(vigie_packets_received_total[15m]))",
        "15m",
        _TICKET,
        "More than a tenth of a source's packets are refused",
    ),
    Alert(
        "VigieSourceLimited",
        'sum by (source) (rate(vigie_requests_total{status="429"}[15m])) > 0',
        "15m",
        _TICKET,
        "A source is over its limits",
    ),
    Alert(
        "VigieWrongKeys",
        'sum(rate(vigie_requests_total{status="401"}[15m])) > 1',
        "15m",
        _TICKET,
        "Many requests without a good key",
    ),
    Alert(
        "VigieSlowAnswers",
        "histogram_quantile(0.99, sum by (le) (rate(vigie_answer_seconds_bucket[5m]))) > 1",
        "10m",
        _TICKET,
        "One answer in a hundred takes more than a second",
    ),
    Alert(
        "VigieQueueWaits",
        'vigie_queue_oldest_seconds{level="ROUGE"} > 1800',
        "5m",
        _TICKET,
        "A ROUGE line has waited for half an hour",
    ),
    Alert(
        "VigieSilence",
        "sum(rate(vigie_packets_received_total[1h])) == 0",
        "1h",
        _PAGE,
        "No packet from any source for an hour",
    ),
)


def _quantile(metric: str, share: float) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket[$__rate_interval])))"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return ((_quantile(metric, 0.5), "half"), (_quantile(metric, 0.99), "99 %"))


def _rate(metric: str, by: str) -> tuple[str, str]:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))", " ".join(
        f"{{{{{x}}}}}" for x in by.split(", ")
    )


PANELS = (
    Panel("Packets by outcome", "pps", (_rate("vigie_packets_total", "outcome"),)),
    Panel("Packets by source", "pps", (_rate("vigie_packets_received_total", "source"),)),
    Panel("Answers by status", "reqps", (_rate("vigie_requests_total", "status"),)),
    Panel("Time to an answer", "s", _quantiles("vigie_answer_seconds")),
    Panel("From receipt to the queue", "s", _quantiles("vigie_alert_delay_seconds")),
    Panel("How far the line is behind", "s", (("vigie_lag_seconds", "lag"),)),
    Panel("Alerts by level", "short", (_rate("vigie_alerts_total", "level, kind"),)),
    Panel("Open lines of the queue", "short", (("vigie_queue_lines", "{{level}}"),)),
    Panel("Oldest open line", "s", (("vigie_queue_oldest_seconds", "{{level}}"),)),
    Panel("Quarantine by reason", "pps", (_rate("vigie_quarantined_total", "reason"),)),
    Panel(
        "Where a batch's time goes",
        "s",
        (
            *(
                (f"rate(vigie_line_{k}_seconds_sum[$__rate_interval])", k)
                for k in ("decode", "process", "commit")
            ),
            ("rate(vigie_log_commit_seconds_sum[$__rate_interval])", "log"),
        ),
    ),
    Panel(
        "Kernels and rules",
        "s",
        (*_quantiles("vigie_line_kernels_seconds"), *_quantiles("vigie_line_rules_seconds")),
    ),
    Panel("Lateness of packets", "s", _quantiles("vigie_lateness_seconds")),
    Panel("Patients", "short", (("vigie_patients", "patients"),)),
    Panel("Memory", "bytes", (("process_resident_memory_bytes", "process"), ("vigie_state_bytes", "state"))),
    Panel("Age of the checkpoint", "s", (("vigie_checkpoint_age_seconds", "age"),)),
)


def rules() -> str:
    """Give the alert rules as YAML that Prometheus reads."""
    lines = [
        "# Made by `vigie monitoring`; the job of the service is called vigie.",
        "groups:",
        "  - name: vigie",
        "    rules:",
    ]
    for each in ALERTS:
        lines += [
            f"      - alert: {each.name}",
            # JSON's strings are YAML's.
            f"        expr: {json.dumps(each.expression)}",
            f"        for: {each.wait}",
            f"        labels: {{severity: {each.severity}}}",
            "        annotations:",
            f"          summary: {json.dumps(each.summary)}",
            f"          runbook: {_RUNBOOK}#{each.name.lower()}",
        ]
    return "\n".join(lines) + "\n"


def dashboard() -> str:
    """Give the dashboard as JSON that Grafana imports."""
    width, height, columns = 8, 8, 3
    panels: list[dict[str, Any]] = [
        {
            "id": k + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": {"x": k % columns * width, "y": k // columns * height, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + n), "expr": expression, "legendFormat": legend}
                for n, (expression, legend) in enumerate(panel.targets)
            ],
        }
        for k, panel in enumerate(PANELS)
    ]
    made = {
        "title": "Vigie",
        "uid": "vigie",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def write(folder: Path) -> list[Path]:
    """Write both into a folder, which is made if it is not there; give what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "alerts.yml", folder / "dashboard.json"]
    for path, text in zip(written, (rules(), dashboard()), strict=True):
        path.write_text(text, encoding="utf-8")
    return written
