"""What is written: the same bytes for the same seed, in order, and readable by others."""

import math
from collections import Counter
from itertools import pairwise

import msgpack
import polars as pl
import pytest

from ingest.appender import HEARTBEAT
from ingest.columns import PacketKind
from ingest.decode import decode
from ingest.log import Log
from ingest.reasons import Reason
from ingest.signals import plausible_ranges
from ingest.simulator import Cohort, Item, Scenario, SimulationError, bodies, simulate, stream
from ingest.simulator.scenario import DAY_MS, PARIS_MIDNIGHT_2026

ITEMS = {"breathless": Item(300, 0, 3), "swelling": Item(301)}


def packets(found):
    for receipt, _, body in found:
        unpacker = msgpack.Unpacker(raw=False)
        unpacker.feed(body)
        for packet in unpacker:
            yield receipt, packet


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_same_seed_same_bytes(tmp_path, form):
    for name in ("a", "b"):
        simulate(60, 12, 9, tmp_path / f"{name}.{form}", format=form, items=ITEMS)
    simulate(60, 12, 10, tmp_path / f"c.{form}", format=form, items=ITEMS)
    one, two, other = ((tmp_path / f"{name}.{form}").read_bytes() for name in "abc")
    assert one == two != other
    assert (tmp_path / "a.truth.parquet").read_bytes() == (tmp_path / "b.truth.parquet").read_bytes()


def test_long_form(tmp_path):
    steps = []
    summary = simulate(
        300,
        12,
        9,
        tmp_path / "x.parquet",
        items=ITEMS,
        progress=lambda done, total: steps.append((done, total)),
    )
    table = pl.read_parquet(summary.out)
    assert table.columns == ["patient", "time", "signal", "value", "unit"]
    assert len(table) == summary.rows
    assert table["time"].is_sorted()
    assert set(table["signal"].unique()) == {
        "weight", "systolic", "diastolic", "heart_rate_cuff", "heart_rate_oximeter", "spo2", "temperature",
        "breathless", "swelling",
    }  # fmt: skip
    # One reading of a kind of a person at a time: no second copies.
    assert table.select("patient", "time", "signal").is_duplicated().sum() == 0
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    truth = pl.read_parquet(summary.truth_file)
    assert dict(truth["kind"].value_counts().iter_rows()) == {k: n for k, n in summary.truth.items() if n}


def test_csv_and_parquet_say_the_same(tmp_path):
    for form in ("parquet", "csv"):
        simulate(30, 5, 1, tmp_path / f"x.{form}", format=form)
    one = pl.read_parquet(tmp_path / "x.parquet").with_columns(
        pl.col("patient", "signal", "unit").cast(pl.String)
    )
    two = pl.read_csv(tmp_path / "x.csv", try_parse_dates=True)
    assert one["value"].fill_nan(-1).to_list() == two["value"].fill_nan(-1).to_list()
    assert one["patient"].to_list() == two["patient"].to_list()
    assert one["time"].dt.epoch("ms").to_list() == two["time"].dt.epoch("ms").to_list()


def test_bodies_are_packets_in_order_of_receipt():
    cohort = Cohort(80, 10, seed=6, items=ITEMS)
    truth = []
    found = list(bodies(cohort, truth, slot_s=30.0))
    receipts = [receipt for receipt, _, _ in found]
    assert receipts == sorted(receipts)
    seen = {}
    for receipt, (kind, patient, device, seq, t_ms, device_ms, gateway_ms, status, payload) in packets(found):
        assert kind in {PacketKind.SPOT, PacketKind.QUESTIONNAIRE}
        assert patient[0] == "P"
        assert device[1:] == patient[1:]
        assert gateway_ms <= receipt
        assert len(payload) % 2 == 0
        assert status >= 0
        assert isinstance(t_ms, int)
        assert isinstance(device_ms, int)
        values = payload[1::2]
        if (device, seq) in seen:
            before, known = seen[device, seq]
            assert receipt >= before
            assert [v for v in values if not math.isnan(v)] == [v for v in known if not math.isnan(v)]
        seen[device, seq] = (receipt, values)
    copies = sum(len(event.patient) for event in truth if event.kind == "duplicate")
    assert len(list(packets(found))) == len(seen) + copies
    assert copies > 0


def test_packets_and_long_form_hold_the_same_readings(tmp_path):
    simulate(40, 6, 8, tmp_path / "x.parquet", scenario=Scenario(nan=0.0))
    table = pl.read_parquet(tmp_path / "x.parquet")
    rows = set()
    for _, packet in packets(bodies(Cohort(40, 6, 8, scenario=Scenario(nan=0.0)))):
        if not packet[7] & 3:
            rows |= {(packet[1], packet[4], value) for value in packet[8][1::2]}
    written = set(zip(table["patient"], table["time"].dt.epoch("ms"), table["value"], strict=True))
    assert rows == written


def test_the_decoder_takes_all_but_the_faults():
    cohort = Cohort(200, 15, seed=6, items=ITEMS, scenario=Scenario(ecg_share=0.02), ecg=True)
    truth = []
    entries = [(offset, *body) for offset, body in enumerate(bodies(cohort, truth))]
    low, high = plausible_ranges({item.code: (item.low, item.high) for item in ITEMS.values()})
    batch, refused = decode(entries, low, high)
    # Counted with second copies, which are refused again: by reason, at least as many as in the truth.
    reasons = Counter(Reason(int(reason)).name for reason in refused.reason)
    kinds = Counter()
    for event in truth:
        kinds[event.kind] += len(event.patient)
    for kind, reason in (
        ("invalid", "DEVICE_INVALID"),
        ("test", "DEVICE_TEST"),
        ("implausible", "IMPLAUSIBLE"),
        ("nan", "NAN"),
        ("inconsistent", "INCONSISTENT"),
    ):
        assert kinds[kind] <= reasons.pop(reason, 0) <= 1.1 * kinds[kind] + 3
    # Clocks that are ahead; and no other reason.
    assert set(reasons) <= {"TIME_IN_FUTURE"}
    assert len(batch) + len(refused) == len(list(packets(body for _, *body in entries)))
    assert (batch.sample_at[1:] - batch.sample_at[:-1] == 7500).all()
    assert len(batch.chunk_packet) > 0


def test_log(tmp_path):
    summary = simulate(50, 8, 3, tmp_path / "x.log", format="log", scenario=Scenario(ecg_share=0.2), ecg=True)
    with Log.open(tmp_path / "x.log") as log:
        entries = log.read(0, 1 << 30)
    expected = list(bodies(Cohort(50, 8, 3, scenario=Scenario(ecg_share=0.2), ecg=True)))
    sent = [(e.receipt_ms, e.source, bytes(e.body)) for e in entries if e.source != HEARTBEAT]
    assert len(sent) == summary.rows
    assert sent == expected
    # Nobody sends at night; the log hears itself all the same, and no more often than every five minutes.
    assert all(not e.body for e in entries if e.source == HEARTBEAT)
    heard = [e.receipt_ms for e in entries]
    assert max(b - a for a, b in pairwise(heard)) == 300_000
    assert all(b.receipt_ms - a.receipt_ms == 300_000 for a, b in pairwise(entries) if b.source == HEARTBEAT)
    kinds = [packet[0] for _, packet in packets(expected)]
    assert PacketKind.ECG in kinds
    with pytest.raises(SimulationError, match="already there"):
        simulate(5, 1, 1, tmp_path / "x.log", format="log")


def test_ecg_chunks():
    cohort = Cohort(30, 3, seed=3, scenario=Scenario(ecg_share=0.5), ecg=True)
    chunks = [p for _, p in packets(bodies(cohort)) if p[0] == PacketKind.ECG]
    assert chunks
    for packet in chunks:
        lead, rate, gain, samples = packet[8]
        assert (lead, rate, gain) == (34, 250.0, 500.0)
        assert len(samples) == 2 * 7500
    keys = [(packet[2], packet[3]) for packet in chunks]
    assert len(set(keys)) == len(keys)


def test_slabs_on_disk_give_the_same(monkeypatch):
    cohort = Cohort(300, 20, seed=12, items=ITEMS)
    whole = list(bodies(cohort))
    monkeypatch.setattr("ingest.simulator.slabs._IN_MEMORY", 0)
    assert list(bodies(cohort)) == whole
    monkeypatch.setattr("ingest.simulator.slabs._SLAB", 1500)
    assert list(bodies(cohort)) == whole


def test_a_stream_begins_where_it_is_told():
    cohort = Cohort(40, 6, seed=2)
    now = PARIS_MIDNIGHT_2026 + 3 * DAY_MS
    later = list(stream(cohort, now, math.inf, slot_s=60.0))
    assert later == [body for body in bodies(cohort, slot_s=60.0) if body[0] > now]
    assert len(later) > 0


def test_a_stream_keeps_its_pace():
    import time

    cohort = Cohort(5, 2, seed=2)
    begun = time.monotonic()
    found = list(stream(cohort, cohort.start_ms, 4 * DAY_MS / 1000.0))
    # Two days and what comes late at four days a second.
    expected = (found[-1][0] - cohort.start_ms) / (4 * DAY_MS)
    assert expected * 0.9 < time.monotonic() - begun < expected + 30.0
    with pytest.raises(ValueError, match="speed = 0"):
        next(stream(cohort, 0, 0.0))


@pytest.mark.parametrize(("wrong", "named"), [({"format": "xml"}, "'xml'"), ({"ecg": True}, "long form")])
def test_what_cannot_be_written_is_said(tmp_path, wrong, named):
    with pytest.raises(SimulationError, match=named):
        simulate(5, 1, 1, tmp_path / "x.out", **wrong)
