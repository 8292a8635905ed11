"""What watches the service: the files of the documentation are these, and name only what the service measures."""

import json
import re
from pathlib import Path

import pytest
import yaml

from engine import monitoring
from engine.answered import Answered
from engine.metrics import Metrics, QueueDepth
from rules.levels import Level

DOCS = Path(__file__).parents[2] / "docs" / "monitoring"
SETTLED = {"up", "process_resident_memory_bytes"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Names of all metrics of a service, with their labels."""
    from contextlib import ExitStack

    import numpy as np

    from engine.durable import DurableLine
    from engine.load import load
    from ingest import packet
    from ingest.admission import Admission, Body
    from ingest.intake import Intake
    from ingest.sources import Source

    loaded = load(["insuffisance_cardiaque"])
    metrics = Metrics(lambda: [QueueDepth(level, 1, 2.0) for level in Level])
    metrics.registry.register(Answered(loaded.program.protocols, "Europe/Paris"))
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("measured")
        line = stack.enter_context(
            DurableLine(folder, loaded.program, sink=lambda _: None, watch=metrics.stepped)
        )
        intake = Intake(line.log, Admission(loaded.decoder(), lambda _: None), metrics.logged)
        stack.callback(intake.close)
        metrics.follow(lambda: [line], intake)
        metrics.answered("gw", 202, 0.01)
        metrics.ended("slow")
        now = 1_760_000_000_000
        body = b"".join(
            packet.spot("P1", "s", k, now - (3 - k) * 86_400_000, {1: kg}) for k, kg in enumerate((80, 84))
        )
        intake.put(Body(Source("gw", everyone=True), body + b"\xc1", now)).result(10)
        line.catch_up()
        text = metrics.expose().decode()
        assert np.isfinite(line.checkpoint_age_s)
    names = {}
    for line_ in text.splitlines():
        if line_ and not line_.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*?)\})? ", line_).groups()
            names.setdefault(name, set()).update(re.findall(r"(\w+)=", labels or ""))
    return names


def used(expression):
    """Names of metrics and labels in an expression of PromQL."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", bare))))
    metrics = set(re.findall(r"\b((?:vigie|process)_\w+|up)\b", bare))
    return metrics, by | set(re.findall(r"(\w+)=", bare))


EXPRESSIONS = [each.expression for each in monitoring.ALERTS]
EXPRESSIONS += [expression for panel in monitoring.PANELS for expression, _ in panel.targets]


def test_the_files_of_the_documentation_are_these(tmp_path):
    for written in monitoring.write(tmp_path / "new"):
        assert (DOCS / written.name).read_text(encoding="utf-8") == written.read_text(encoding="utf-8"), (
            "run: vigie monitoring docs/monitoring"
        )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_for_is_measured(expression, measured):
    metrics, labels = used(expression)
    assert metrics
    assert metrics - SETTLED <= set(measured)
    known = {"le", "job"}.union(*(measured[name] for name in metrics - SETTLED))
    assert labels <= known
    assert expression.count("(") == expression.count(")")


def test_the_rules_are_yaml_with_a_runbook_each():
    (group,) = yaml.safe_load(monitoring.rules())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [each.name for each in monitoring.ALERTS]
    headings = re.findall(r"^## (\w+)$", (DOCS / "runbooks.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [each.name for each in monitoring.ALERTS]
    for rule in group["rules"]:
        assert rule["annotations"]["runbook"].endswith("#" + rule["alert"].lower())
        assert re.fullmatch(r"\d+[mh]", rule["for"])


def test_the_dashboard_is_json_without_overlap():
    panels = json.loads(monitoring.dashboard())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels) == len({panel["id"] for panel in panels})


def test_no_metric_has_a_label_for_a_patient(measured):
    labels = set().union(*measured.values())
    about = {"source", "status", "why", "outcome", "reason"}
    assert labels <= about | {"protocol", "rule", "level", "kind", "le", "version", "standing", "kernels"}
