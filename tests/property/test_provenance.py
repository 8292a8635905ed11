"""Each alert carries what it rests on, and from that alone it can be had again."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from line_cases import DAY, SMALL, assert_same, program, run, streams

from engine.program import protocol_signals
from kernels import SOURCE_HASH
from kernels.catalogue import STATISTICS
from rules import conditions
from rules.alerts import SCHEMA
from rules.evaluate import TRUE, UNDETERMINED
from rules.evaluate import Program as Verdicts
from rules.protocol import load

SPEAKS_OF_WHEN = ("opened", "raised", "evidence")


def figures(row, name):
    return {figure["name"]: figure["value"] for figure in row[name]}


@pytest.mark.parametrize("name", ["small", "insuffisance_cardiaque"])
@settings(max_examples=25)
@given(entries=streams(most=20))
def test_the_condition_holds_on_what_the_alert_shows(name, entries):
    of = program(name, own=True)
    (protocol,) = of.protocols
    alerts, _ = run(of, entries)
    assert alerts.schema == SCHEMA
    for row in alerts.iter_rows(named=True):
        assert row["protocol"] == protocol.id
        assert row["version"] == protocol.version
        assert row["protocol_hash"] == protocol.hash
        assert row["kernels"] == SOURCE_HASH
        assert row["sentence"]
        if row["kind"] not in SPEAKS_OF_WHEN:
            continue
        values = figures(row, "features") | figures(row, "limits")
        if "silence_h" in values:
            assert values["silence_h"] >= values["after_h"]
            continue
        rule = protocol.rule(row["rule"])
        node = conditions.compile(rule.when, (*protocol.features, *protocol.limits)).node
        verdict = Verdicts([node]).run({key: np.array([value], float) for key, value in values.items()}, 1)
        # A delay may end on a tick while the newest reading has left the condition undetermined, which changes
        # nothing: it is never one that does not hold.
        legal = (TRUE, UNDETERMINED) if row["offset"] is None else (TRUE,)
        assert verdict[0, 0] in legal, (rule.when, values)
        for limit in row["limits"]:
            assert limit["origin"]


@settings(max_examples=40)
@given(entries=streams(most=20, acts=False))
def test_the_features_follow_from_the_points(entries):
    """Recomputed in plain Python for the features that need no calendar."""
    of = program(own=True)
    alerts, _ = run(of, entries)
    for row in alerts.iter_rows(named=True):
        values = figures(row, "features")
        points = {}
        for point in row["points"]:
            points.setdefault(point["signal"], []).append((point["t_ms"], point["value"]))
        for series in points.values():
            assert series == sorted(series)
            assert len(set(series)) == len(series)
        weights = in_pattern(points.get("weight", []))
        if "weight_now" in values:
            assert values["weight_now"] == (
                weights[-1][1] if weights else pytest.approx(math.nan, nan_ok=True)
            )
        if "drift" in values:
            dry = figures(row, "limits")["dry_kg"]
            assert values["drift"] == pytest.approx(weights[-1][1] - dry, nan_ok=True)
        if "rate_now" in values:
            assert values["rate_now"] == points["heart_rate"][-1][1]


def in_pattern(series, step=5.0):
    kept = []
    for t, value in series:
        if not kept or abs(value - kept[-1][1]) <= step * max(1.0, (t - kept[-1][0]) / DAY):
            kept.append((t, value))
    return kept


@settings(max_examples=20)
@given(entries=streams(most=20))
def test_replaying_them_gives_the_alert_again(entries):
    """The same log, the same program: the same ids and rows, to the last column."""
    one, _ = run(program(own=True), entries)
    other, _ = run(program(own=True), entries)
    assert_same(other, one)


@settings(max_examples=30)
@given(entries=streams(most=25))
def test_an_id_is_one_alert(entries):
    alerts, _ = run(program(own=True), entries)
    of_id = alerts.group_by("alert_id").agg(
        pl.struct("patient", "protocol", "opened_by", "onset_ms").n_unique().alias("alerts"),
        (pl.col("kind") == "opened").sum().alias("opened"),
    )
    assert (of_id["alerts"] == 1).all()
    assert (of_id["opened"] == 1).all()


def test_the_origin_of_each_limit_is_told():
    from line_cases import START, WEIGHT, Sender

    sender = Sender()
    entries = [
        (START + day * DAY, "g", sender.packet(patient, "scale", START + day * DAY, {WEIGHT: 80 + 2 * day}))
        for day in range(2)
        for patient in ("p0", "p1")
    ]
    alerts, _ = run(program(own=True), entries)
    rows = alerts.filter(patient="p0", rule="dry").to_dicts()
    (limit,) = [limit for limit in rows[0]["limits"] if limit["name"] == "dry_kg"]
    assert limit["value"] == 79.5
    assert "patient" in limit["origin"]
    assert alerts.filter(patient="p1", rule="dry").is_empty()
    gain = alerts.filter(patient="p1", rule="gain").to_dicts()[0]
    assert "protocole" in gain["limits"][0]["origin"]


def test_another_protocol_is_another_hash(tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text(SMALL.read_text().replace("default = 2.0", "default = 2.1"))
    other = load(changed, protocol_signals(), STATISTICS)
    assert other.hash != program().protocols[0].hash
