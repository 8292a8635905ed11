"""Faults: at the stated rates, and each in the truth."""

import numpy as np
import pytest

from ingest.columns import Status
from ingest.simulator import Cohort, Item, Scenario
from ingest.simulator.cohort import draw
from ingest.simulator.faults import spoil
from ingest.simulator.measure import measure, midnights
from ingest.simulator.packets import NAN, stack
from ingest.simulator.scenario import DAY_MS, PARIS_MIDNIGHT_2026

ITEMS = {"breathless": Item(300, 0, 3), "swelling": Item(301)}


def run(cohort):
    tables, truth = [], []
    for number in range(cohort.blocks):
        block = draw(cohort, number)
        truth += block.truth
        measured, noted = measure(cohort, block)
        truth += noted
        arrived, noted = spoil(cohort, block, measured)
        truth += noted
        tables.append(arrived)
    return [stack(list(parts)) for parts in zip(*tables, strict=True)], truth


@pytest.fixture(scope="module")
def month():
    cohort = Cohort(1000, 60, seed=4, items=ITEMS)
    return cohort, *run(cohort)


def number(truth, kind):
    return sum(len(event.patient) for event in truth if event.kind == kind)


@pytest.mark.parametrize("kind", ["invalid", "test", "late", "duplicate"])
def test_packet_faults_come_at_their_rate(month, kind):
    cohort, tables, truth = month
    packets = sum(int((~table.again).sum()) for table in tables)
    rate = getattr(cohort.scenario, kind)
    spread = 5.0 * (rate / packets) ** 0.5
    assert number(truth, kind) / packets == pytest.approx(rate, abs=spread)


@pytest.mark.parametrize("kind", ["implausible", "nan", "inconsistent"])
def test_reading_faults_come_at_their_rate(month, kind):
    cohort, tables, truth = month
    letters = "B" if kind == "inconsistent" else "WBOT"
    packets = sum(int((~table.again).sum()) for table in tables if table.device.letter in letters)
    rate = getattr(cohort.scenario, kind)
    assert number(truth, kind) / packets == pytest.approx(rate, abs=5.0 * (rate / packets) ** 0.5)


def test_status_and_values_show_the_faults_of_the_truth(month):
    _, tables, truth = month
    invalid = sum(int(((t.status & Status.INVALID) != 0)[~t.again].sum()) for t in tables)
    tests = sum(int(((t.status & Status.TEST) != 0)[~t.again].sum()) for t in tables)
    missing = sum(int((t.milli[~t.again] == NAN).sum()) for t in tables)
    assert invalid == number(truth, "invalid") > 0
    assert tests == number(truth, "test") > 0
    assert missing == number(truth, "nan") > 0


def test_the_other_person_weighs_otherwise_and_is_in_the_truth(month):
    cohort, tables, truth = month
    scale = tables[0]
    events = [event for event in truth if event.kind == "other_person"]
    total = number(truth, "other_person")
    days = cohort.patients * cohort.days
    rate = cohort.scenario.other_person
    assert total / days == pytest.approx(rate, abs=5.0 * (rate / days) ** 0.5)
    key = {
        (p, s): m
        for p, s, m in zip(
            scale.patient.tolist(), scale.seq.tolist(), scale.milli[:, 0].tolist(), strict=True
        )
    }
    own = {}
    strange = {(p, s) for e in events for p, s in zip(e.patient.tolist(), e.seq.tolist(), strict=True)}
    for (p, s), m in key.items():
        if (p, s) not in strange and m > 25_000:
            own.setdefault(p, []).append(m)
    far = [
        abs(kg * 1000 - np.median(own[p])) > 4000
        for e in events
        for p, kg in zip(e.patient.tolist(), e.value.tolist(), strict=True)
        if p in own
    ]
    assert np.mean(far) > 0.97


def test_duplicates_are_the_same_packet_again_later(month):
    _, tables, truth = month
    for table in tables:
        first = {}
        for row in np.flatnonzero(~table.again):
            first[int(table.patient[row]), int(table.seq[row])] = row
        assert len(first) == int((~table.again).sum())  # a sequence number is given once
        for row in np.flatnonzero(table.again):
            same = first[int(table.patient[row]), int(table.seq[row])]
            for name in ("t_ms", "device_ms", "gateway_ms", "status"):
                assert getattr(table, name)[row] == getattr(table, name)[same]
            np.testing.assert_array_equal(table.milli[row], table.milli[same])
            assert table.receipt_ms[row] > table.receipt_ms[same]
    assert sum(int(table.again.sum()) for table in tables) == number(truth, "duplicate") > 0


def test_sequence_numbers_follow_the_time_of_measurement(month):
    _, tables, _ = month
    for table in tables:
        rows = np.flatnonzero(~table.again)
        rows = rows[np.lexsort((table.seq[rows], table.patient[rows]))]
        same = np.diff(table.patient[rows]) == 0
        assert (np.diff(table.seq[rows])[same] == 1).all()
        assert (np.diff(table.true_ms[rows])[same] > 0).all()


def test_clocks(month):
    cohort, tables, truth = month
    moved = {
        (e.kind, e.device, p): s
        for e in truth
        if e.kind.startswith("clock")
        for p, s in zip(e.patient.tolist(), e.value.tolist(), strict=True)
    }
    assert {kind for kind, _, _ in moved} == {"clock_slow", "clock_fast", "clock_dead"}
    for table in tables:
        letter = table.device.letter
        dead = np.array([("clock_dead", letter, p) in moved for p in table.patient.tolist()])
        ahead = np.array(
            [
                moved.get(("clock_slow", letter, p), moved.get(("clock_fast", letter, p), 0.0))
                for p in table.patient.tolist()
            ]
        )
        np.testing.assert_array_equal((table.status & Status.CLOCK_NOT_SET) != 0, dead)
        np.testing.assert_array_equal(table.t_ms[dead], table.gateway_ms[dead])
        np.testing.assert_allclose((table.t_ms - table.true_ms)[~dead] / 1000.0, ahead[~dead], atol=0.001)
    assert cohort.days == 60


def test_nothing_arrives_before_it_was_measured(month):
    _, tables, _ = month
    for table in tables:
        assert (table.gateway_ms >= table.true_ms).all()
        assert (table.receipt_ms >= table.gateway_ms).all()


def test_a_link_that_is_down_delivers_nothing(month):
    _, tables, truth = month
    outages = {}
    for event in truth:
        if event.kind == "outage":
            for p, low, high in zip(
                event.patient.tolist(), event.onset_ms.tolist(), event.end_ms.tolist(), strict=True
            ):
                outages.setdefault(p, []).append((low, high))
    for table in tables:
        for p, at, again in zip(
            table.patient.tolist(), table.receipt_ms.tolist(), table.again.tolist(), strict=True
        ):
            assert again or not any(low <= at < high for low, high in outages.get(p, ()))


def test_without_faults_there_are_none():
    clean = Scenario(
        other_person=0, implausible=0, invalid=0, test=0, nan=0, inconsistent=0, clock_slow=0, clock_fast=0,
        clock_dead=0, late=0, outages_per_year=0, duplicate=0, irregular_pulse=0, gaps_per_year=0, adherence=1.0,
        decompensations_per_year=0, other_admissions_per_year=0,
    )  # fmt: skip
    tables, truth = run(Cohort(40, 10, seed=2, items=ITEMS, scenario=clean))
    assert sum(len(event.patient) for event in truth) == 0
    assert [len(table) for table in tables] == [400, 800, 400, 400, 400]
    assert all((table.status == 0).all() for table in tables)


def test_one_fault_more_leaves_the_rest_as_it_was():
    some = run(Cohort(50, 20, seed=3))[0]
    more = run(Cohort(50, 20, seed=3, scenario=Scenario(outages_per_year=50.0)))[0]
    for one, other in zip(some, more, strict=True):
        np.testing.assert_array_equal(one.milli, other.milli)
        np.testing.assert_array_equal(one.true_ms, other.true_ms)


def test_days_are_local_days_over_the_change_of_clocks():
    # 29 March 2026 has 23 hours in Paris.
    starts = midnights(PARIS_MIDNIGHT_2026, 120, "Europe/Paris")
    lengths = np.diff(starts)
    assert sorted(set(lengths.tolist())) == [DAY_MS - 3_600_000, DAY_MS]
    assert np.flatnonzero(lengths < DAY_MS).tolist() == [31 + 28 + 28]
