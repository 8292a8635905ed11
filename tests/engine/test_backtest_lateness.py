"""What lateness changes: an alert that came of it, one that opened later for it, and what is said of both."""

import json

import polars as pl
import pytest

from engine.acts import SOURCE, closing
from engine.backtest import History
from engine.backtest_lateness import LATER_MS, order_of
from engine.backtest_report import write_report
from engine.backtest_study import Terms, study, summary, write
from engine.load import load
from engine.program import DAY_MS, Options
from engine.reorder import MEASURED, Delays
from engine.replay_input import Asked
from ingest import packet, simulator
from ingest.formats import Mappings
from ingest.log import Log

HEART = "insuffisance_cardiaque"
HOUR = 3_600_000
T = 1_767_250_800_000  # 1 January 2026, 08:00 in Paris


def asked(path):
    return Asked((path,), Mappings(), "Europe/Paris", 4_000_000_000_000)


@pytest.fixture(scope="module")
def late_log(tmp_path_factory):
    """Three patients over twelve days, each with an answer, a weight and a saturation a day.

    What comes late: the weights of days 4 to 6 of `silent`, on day 7; a saturation of `low` that is 88 %, ten hours; of
    `prompt` nothing. A nurse closes what `low` has open, on day 9.
    """
    entries = []
    for day in range(12):
        for k, patient in enumerate(("silent", "low", "prompt")):
            t = T + day * DAY_MS + k * 60_000
            receipt = T + 7 * DAY_MS + HOUR if patient == "silent" and 4 <= day <= 6 else t + 1000
            spo2 = 88 if patient == "low" and day == 6 else 97
            entries.append((t + 1000, packet.questionnaire(patient, "phone", day, t, {256: 0})))
            entries.append((receipt, packet.spot(patient, "scale", day, t, {1: 80})))
            late = 10 * HOUR if spo2 == 88 else 0
            entries.append((receipt + late, packet.spot(patient, "oximeter", day, t, {9: spo2})))
    act = closing("low", HEART, "saturation", 1, workplace="desk", seq=1, t_ms=T + 9 * DAY_MS)
    entries.append((T + 9 * DAY_MS, act))
    entries += [(T + k * 10 * 60_000, b"") for k in range(6 * 24 * 12)]
    path = tmp_path_factory.mktemp("late") / "late.log"
    with Log.open(path) as log:
        for receipt, body in sorted(entries):
            source = SOURCE if body == act else "gateway"
            ticket = log.append(source, body, receipt)
        ticket.result(10)
    return path


def studied(path, kept, order, **more):
    options = more.pop("options", Options())
    return study(
        History(asked(path), kept),
        load([HEART], options=options),
        other_order=History(asked(path), kept, order=order) if order else None,
        **more,
    )


def test_alerts_that_come_of_lateness_and_those_that_are_later_for_it(late_log, tmp_path):
    found = studied(late_log, tmp_path / "kept", MEASURED)
    late = found.lateness
    gained = late.comparison.gained.select("patient", "rule").rows()
    assert ("silent", "no_weight_orange") in gained
    assert {patient for patient, _ in gained} == {"silent"}
    assert late.comparison.lost.is_empty()
    later = late.later.filter(pl.col("rule").is_in(["spo2_low", "spo2_very_low"]))
    assert later["patient"].to_list() == ["low"]
    assert later["later_ms"].to_list() == [10 * HOUR + 1000]
    # Closed by the nurse on day 9 in both: an act stays where it was.
    assert later["ended_ms"].to_list() == [T + 9 * DAY_MS]
    assert late.alerts.filter(patient="low", problem="saturation")["ended_ms"].to_list() == [T + 9 * DAY_MS]
    assert "prompt" not in {*late.later["patient"], *(patient for patient, _ in gained)}
    said = summary(found)
    assert "lateness: beside the order of measurement" in said
    assert "1 opened later, half of these by more than 10.0 h" in said


def test_the_files_say_it(late_log, tmp_path):
    found = studied(late_log, tmp_path / "kept", MEASURED)
    for name in ("one", "two"):
        write(found, tmp_path / name)
        write_report(found, tmp_path / name / "report.html")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    rows = pl.read_csv(tmp_path / "one" / "lateness.csv")
    assert set(rows["difference"]) == {"gained", "later"}
    assert json.loads((tmp_path / "one" / "card.json").read_text())["lateness"] == "measured"
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "Ce que changent les retards" in page
    assert "Alertes dues aux retards" in page
    assert "Aucun poids reçu" in page
    # What a study before left is not taken for this one's.
    write(studied(late_log, tmp_path / "kept", None), tmp_path / "one")
    assert not (tmp_path / "one" / "lateness.csv").exists()
    assert "lateness: left out" in (tmp_path / "one" / "summary.txt").read_text()


def test_a_file_says_that_it_cannot_tell_and_shows_what_delays_would_do(tmp_path):
    path = tmp_path / "cohort.parquet"
    simulator.simulate(40, 60, 5, path)
    options = Options(close_at_recovery=True, deaf_after_ms=0)
    outcomes = pl.DataFrame(
        {"patient": ["P0000003"], "t_ms": [T + 40 * DAY_MS], "kind": ["h"]},
        schema={"patient": pl.String, "t_ms": pl.Int64, "kind": pl.String},
    )
    terms = Terms(outcomes=outcomes)
    told = studied(path, tmp_path / "kept", None, options=options, terms=terms)
    assert "the history has no receipt times, so what it changed cannot be told" in summary(told)
    write_report(told, tmp_path / "told.html")
    assert "ne peut être dit" in (tmp_path / "told.html").read_text(encoding="utf-8")
    tried = studied(path, tmp_path / "kept", Delays(0.2, 12.0), options=options, terms=terms)
    late = tried.lateness
    assert late.judged.kept.time_basis == "arrival"
    assert len(late.later) > 5
    assert late.later["later_ms"].min() > LATER_MS
    assert len(late.comparison.gained) + late.comparison.same == len(late.alerts)
    assert len(late.comparison.lost) > 0
    said = summary(tried)
    assert "lateness: had 20 % come late, by 12 h in the median" in said
    assert f"  outcomes caught: {late.whole.caught}, of {tried.base.whole.caught} without lateness" in said
    write_report(tried, tmp_path / "tried.html")
    assert "Si 20\N{NO-BREAK SPACE}% des mesures arrivaient en retard" in (tmp_path / "tried.html").read_text(
        encoding="utf-8"
    )


def test_what_may_be_asked():
    assert order_of(None, has_receipts=True) is MEASURED
    assert order_of(None, has_receipts=False) is None
    assert order_of("none", has_receipts=True) is None
    assert order_of("none", has_receipts=False) is None
    assert order_of("0.1:3", has_receipts=False) == Delays(0.1, 3.0)
    with pytest.raises(ValueError, match="a log says itself when readings came; legal is none"):
        order_of("0.1:3", has_receipts=True)
