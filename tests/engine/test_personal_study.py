"""Proposed limits on a history: learnt of the past alone, judged as a replay that has them, said whatever they lose."""

import json
import statistics
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from engine.acts import SOURCE, setting
from engine.backtest import History
from engine.backtest_judge import TRANSITIONS, only
from engine.backtest_measures import episodes
from engine.backtest_outcomes import OUTCOMES, read_outcomes
from engine.backtest_study import Terms
from engine.load import compose, load
from engine.personal import Learning
from engine.personal_learn import learn
from engine.personal_report import write_report
from engine.personal_study import proposals
from engine.personal_write import book_text, summary, write
from engine.program import DAY_MS, Options
from engine.replay import replay
from engine.replay_input import Asked
from engine.roster import Member
from ingest import simulator
from ingest.formats import Mappings
from ingest.log import Log, LogReader
from rules.explain import typeset
from rules.limits import LimitBook
from rules.protocol import ProtocolError

HEART = "insuffisance_cardiaque"
FILE = Options(close_at_recovery=True, deaf_after_ms=0)
SHORT = Learning(stable_days=14, min_readings=12, min_days=7, apart_days=5, oldest_days=20, judge_days=20)
FAR_MS = 4_000_000_000_000


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(30, 60, 3, folder / "cohort.parquet")
    return folder


@pytest.fixture(scope="module")
def systolic(cohort):
    return asked_for(cohort)


def asked_for(cohort, limit="systolic_low", name="cohort.parquet", book=None, **more):
    asked = Asked((cohort / name,), Mappings(), "Europe/Paris", FAR_MS)
    loaded = load([HEART], options=FILE, limits=book)
    terms = more.pop("terms", Terms())
    return proposals(History(asked, cohort / "kept"), loaded, limit, learning=SHORT, terms=terms, **more)


def completed(found, path):
    """The proposed book as a person hands it in."""
    text = book_text(found).replace('author = "à compléter"', 'author = "Dr A. Petit"')
    text = text.replace('date = "à compléter"', "date = 2026-03-02")
    path.write_text(text.replace('reason = "à compléter"', 'reason = "essai"'), encoding="utf-8")
    return path


@pytest.mark.parametrize("limit", ["systolic_low", "dry_weight_kg"])
def test_a_replay_with_the_proposed_book_gives_the_same_alerts(cohort, tmp_path, limit):
    found = asked_for(cohort, limit)
    assert len(found.made) > 10
    book = completed(found, tmp_path / "book.toml")
    replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out", limits=book)
    alerts = pl.read_parquet(tmp_path / "out" / "alerts.parquet").filter(pl.col("kind") != "evidence")
    history = History(
        Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS), cohort / "kept"
    )
    judged = history.judge(found.proposed)
    assert judged.transitions.equals(alerts.select(list(TRANSITIONS)))
    assert found.study.changed.alerts.equals(episodes(only(judged, since_ms=found.cut.ms)))
    assert not found.study.changed.alerts.equals(found.study.base.alerts)


def test_centre_and_spread_are_of_what_the_rule_saw_on_the_days_named(cohort, systolic, tmp_path):
    replay([cohort / "cohort.parquet"], [HEART], tmp_path / "out", features=True)
    seen = pl.read_parquet(tmp_path / "out" / "features.parquet").filter(pl.col("feature") == "systolic_now")
    ids = pl.read_parquet(cohort / "cohort.parquet").filter(pl.col("signal") == "systolic")
    moments = {(row["patient"], row["t"]) for row in _times(ids)}
    values: dict[str, dict[int, float]] = {}
    for row in seen.sort("offset").iter_rows(named=True):
        if (row["patient"], row["t_ms"]) in moments and row["value"] is not None:
            values.setdefault(row["patient"], {})[row["t_ms"]] = row["value"]
    zone = ZoneInfo("Europe/Paris")
    learnt = systolic.table.filter(pl.col("centre").is_not_null())
    assert len(learnt) > 20
    for row in learnt.iter_rows(named=True):
        assert row["until"] - row["from"] == timedelta(days=13)
        assert row["until"] < systolic.cut.day
        mine = [
            value
            for t, value in values[row["patient"]].items()
            if row["from"] <= datetime.fromtimestamp(t / 1000, UTC).astimezone(zone).date() <= row["until"]
        ]
        assert row["readings"] == len(mine) >= SHORT.min_readings
        assert row["centre"] == statistics.median(mine)
        mad = statistics.median(abs(value - row["centre"]) for value in mine)
        assert row["spread"] == pytest.approx(max(1.4826 * mad, 1.0))


def _times(rows):
    name = next(each for each in ("t_ms", "time_ms", "time") if each in rows.columns)
    column = pl.col(name) if rows[name].dtype.is_integer() else pl.col(name).dt.epoch("ms")
    return rows.select("patient", t=column).iter_rows(named=True)


def test_nothing_after_the_cut_is_learnt_from(cohort, systolic):
    rows = pl.read_parquet(cohort / "cohort.parquet")
    time = next(each for each in ("t_ms", "time_ms", "time") if each in rows.columns)
    at = pl.col(time) if rows[time].dtype.is_integer() else pl.col(time).dt.epoch("ms")
    after = (at >= systolic.cut.ms) & (pl.col("signal") == "systolic")
    rows.with_columns(value=pl.when(after).then(pl.col("value") - 15).otherwise("value")).write_parquet(
        cohort / "lower.parquet"
    )
    soon = OUTCOMES.to_frame().vstack(
        pl.DataFrame(
            [(p, systolic.cut.ms + DAY_MS, "x") for p in systolic.table["patient"]], OUTCOMES, orient="row"
        )
    )
    found = asked_for(cohort, name="lower.parquet", terms=Terms(outcomes=soon))
    learnt = ["patient", "status", "proposed", "centre", "spread", "readings", "from", "until"]
    assert found.table.select(learnt).equals(systolic.table.select(learnt))
    assert not found.table["alerts_before"].equals(systolic.table["alerts_before"])


def test_a_reading_that_came_after_the_cut_is_not_known_at_it(cohort, systolic):
    history = History(
        Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS), cohort / "kept"
    )
    judged = history.judge(load([HEART], options=FILE))
    cut, late = systolic.cut, pl.col("t_ms") >= systolic.cut.ms - 3 * DAY_MS
    delayed = pl.when(late).then(cut.ms + DAY_MS).otherwise("clock_ms").alias("clock_ms")
    said = judged, systolic.patients, OUTCOMES.to_frame(), systolic.asked, SHORT, cut
    came_late = learn(systolic.rows.with_columns(delayed), *said)
    assert came_late.equals(learn(systolic.rows.filter(~late), *said))
    assert not came_late.equals(learn(systolic.rows, *said))


def test_neither_a_rouge_nor_an_outcome_is_in_a_stable_period(cohort, systolic):
    patient = systolic.made["patient"][0]
    last = systolic.made["until"][0]
    at = round(datetime(last.year, last.month, last.day, 12, tzinfo=UTC).timestamp()) * 1000
    outcomes = pl.DataFrame([(patient, at, "hospitalisation")], OUTCOMES, orient="row")
    found = asked_for(cohort, terms=Terms(outcomes=outcomes))
    (row,) = found.table.filter(pl.col("patient") == patient).to_dicts()
    assert row["until"] is None or row["until"] < last - timedelta(days=SHORT.apart_days)
    others = pl.col("patient") != patient
    assert found.table.filter(others).equals(systolic.table.filter(others))
    history = History(
        Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS), cohort / "kept"
    )
    base = episodes(history.judge(load([HEART], options=FILE)))
    rouge = base.filter((pl.col("level") == "ROUGE") & pl.col("clinical"))
    assert len(rouge)
    both = rouge.join(systolic.table.filter(pl.col("from").is_not_null()), on="patient")
    assert len(both)
    for each in both.iter_rows(named=True):
        opened, ended = (
            None if ms is None else datetime.fromtimestamp(ms / 1000, ZoneInfo("Europe/Paris")).date()
            for ms in (each["opened_ms"], each["ended_ms"])
        )
        assert opened > each["until"] or (ended is not None and ended < each["from"])


def test_an_outcome_that_is_lost_is_said_everywhere(cohort, tmp_path):
    without = asked_for(cohort, "spo2_low")
    lost = without.study.comparison.lost.filter("clinical")
    assert len(lost)
    outcomes = lost.head(1).select(
        "patient", t_ms=pl.col("opened_ms") + 60_000, kind=pl.lit("hospitalisation")
    )
    found = asked_for(cohort, "spo2_low", terms=Terms(outcomes=outcomes.cast(OUTCOMES), window_days=0.1))
    row = found.made.row(0, named=True)
    assert row["patient"] == lost["patient"][0]
    assert row["outcomes_lost"].startswith("hospitalisation 20")
    assert (row["outcomes"], row["caught_before"], row["caught_after"]) == (1, 1, 0)
    assert (found.made["outcomes_lost"] != "").sum() == 1
    assert row["direction"] == "further"
    write(found, tmp_path)
    write_report(found, tmp_path / "report.html")
    assert "warning: 1 proposals lose a known outcome" in summary(found)
    assert book_text(found).count("# PERD : hospitalisation") == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert typeset("Perd : hospitalisation") in page
    assert page.count("1 proposition perd</strong> l’alerte qui précédait un événement") == 1


def test_outcomes_are_said_in_french_where_their_kinds_are_vigies_own(cohort, tmp_path):
    lost = asked_for(cohort, "spo2_low").study.comparison.lost.filter("clinical")
    outcomes = lost.head(1).select(
        "patient", t_ms=pl.col("opened_ms") + 60_000, kind=pl.lit("other_admission")
    )
    found = asked_for(cohort, "spo2_low", terms=Terms(outcomes=outcomes.cast(OUTCOMES), window_days=0.1))
    write_report(found, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    at = datetime.fromtimestamp(outcomes["t_ms"][0] / 1000, ZoneInfo("Europe/Paris"))
    assert page.count(f"autre hospitalisation {at:%d/%m/%Y}") == 2
    assert "other_admission" not in page
    # Files keep the kinds that they were given.
    assert found.made["outcomes_lost"][0] == f"other_admission {at:%Y-%m-%d}"


def test_a_proposal_is_drawn_by_the_days_of_the_zone(systolic, tmp_path):
    write_report(systolic, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    first = systolic.made.row(0, named=True)
    # Two days before the stable period, from its local midnight, which is another day by UTC.
    assert f">{first['from'] - timedelta(days=2):%d/%m/%Y}</text>" in page
    assert f">{systolic.cut.day:%d/%m/%Y}</text>" in page


def test_counts_of_patients_add_up_to_those_of_all(cohort):
    outcomes = read_outcomes(cohort / "cohort.truth.parquet", ["decompensation", "other_admission"])
    found = asked_for(cohort, terms=Terms(outcomes=outcomes))
    table, study = found.table, found.study
    assert table["alerts_before"].sum() == study.base.whole.alerts
    assert table["alerts_after"].sum() == study.changed.whole.alerts
    for name, side in (("rouge_before", study.base), ("rouge_after", study.changed)):
        assert table[name].sum() == side.whole.by_level["ROUGE"]
    assert table["gained"].sum() == len(study.comparison.gained)
    assert table["lost"].sum() == len(study.comparison.lost)
    assert table["caught_before"].sum() == study.base.whole.caught > 0
    assert table["caught_after"].sum() == study.changed.whole.caught
    assert table["outcomes"].sum() == study.base.whole.outcomes
    unchanged = table.filter(pl.col("status") != "proposed")
    assert unchanged["alerts_before"].equals(unchanged["alerts_after"])
    assert found.by_direction["patients"].sum() == len(found.made)


def test_the_same_question_gives_the_same_bytes_and_a_page_that_asks_nobody(cohort, systolic, tmp_path):
    for name, found in (("one", systolic), ("two", asked_for(cohort))):
        write(found, tmp_path / name, ["vigie", "limits", "propose"])
        write_report(found, tmp_path / name / "report.html", ["vigie", "limits", "propose"])
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        "alerts.parquet", "card.json", "differences.csv", "measures.csv", "proposals.csv", "proposals.parquet",
        "proposed.toml", "report.html", "summary.txt",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    for reference in ("http:", "https:", "<script", "src=", "@import", "url("):
        assert reference not in page
    assert typeset(f"Propositions : {len(systolic.made)}") in page
    assert page.count('class="proposed"') == min(30, len(systolic.made))
    table = pl.read_parquet(tmp_path / "one" / "proposals.parquet")
    assert len(table) == len(pl.read_csv(tmp_path / "one" / "proposals.csv")) == 30
    said = json.loads((tmp_path / "one" / "card.json").read_text(encoding="utf-8"))["personal_limits"]
    assert (said["limit"], said["spreads"], said["least_step"]) == ("systolic_low", 3.0, 5.0)


def test_a_proposed_book_is_refused_until_each_entry_is_completed(systolic, tmp_path):
    protocols = load([HEART]).program.protocols
    path = tmp_path / "proposed.toml"
    path.write_text(book_text(systolic), encoding="utf-8")
    with pytest.raises(ProtocolError, match="author, date, reason left 'à compléter'") as caught:
        LimitBook.load(path, protocols)
    assert len(caught.value.mistakes) == len(systolic.made)
    book = LimitBook.load(completed(systolic, path), protocols)
    for patient, value in systolic.made.select("patient", "proposed").iter_rows():
        assert book.resolve(HEART, "systolic_low", None, patient)[0] == value


BOOK = """
[[patient]]
patient = "{patient}"
protocol = "insuffisance_cardiaque"
limit = "systolic_low"
value = 75
author = "Dr A. Petit"
date = 2030-01-01
reason = "hypotension connue"
"""


def test_a_limit_of_the_book_is_the_one_in_force_whatever_its_date(cohort, systolic, tmp_path):
    patient = systolic.made.sort("proposed")["patient"][-1]
    (tmp_path / "book.toml").write_text(BOOK.format(patient=patient), encoding="utf-8")
    found = asked_for(cohort, book=tmp_path / "book.toml")
    (row,) = found.made.filter(pl.col("patient") == patient).to_dicts()
    assert (row["in_force"], row["direction"]) == (75.0, "nearer")
    assert "hypotension connue" in row["origin"]
    assert found.proposed.roster.in_force(patient, HEART, "systolic_low")[0] == row["proposed"]
    assert "# en vigueur : 75 mmHg (patient, Dr A. Petit" in book_text(found)


def test_who_does_not_follow_the_protocol_has_no_row_and_who_left_no_proposal(cohort, tmp_path):
    rows = pl.read_parquet(cohort / "cohort.parquet")
    time = next(each for each in ("t_ms", "time_ms", "time") if each in rows.columns)
    at = pl.col(time) if rows[time].dtype.is_integer() else pl.col(time).dt.epoch("ms")
    kept = rows.filter((pl.col("patient") != "P0000003") | (at < rows.select(at.min()).item() + 30 * DAY_MS))
    kept.write_parquet(tmp_path / "left.parquet")
    base = load([HEART], options=FILE)
    others = compose(
        base.program.protocols,
        None,
        {"P0000004": Member(())},
        Options(close_at_recovery=True, deaf_after_ms=0),
    )
    asked = Asked((tmp_path / "left.parquet",), Mappings(), "Europe/Paris", FAR_MS)
    found = proposals(History(asked, tmp_path / "kept"), others, "systolic_low", learning=SHORT)
    by = dict(found.table.select("patient", "status").iter_rows())
    assert "P0000004" not in by
    assert by["P0000003"] == "not_followed"
    assert len(by) == 29


def test_acts_are_the_limits_in_force_and_one_about_the_patient_is_left_alone(tmp_path):
    simulator.simulate(6, 40, 3, tmp_path / "plain.log", format="log", slot_s=3600)
    reader = LogReader(tmp_path / "plain.log")
    entries = reader.read(reader.first_offset, 1 << 30, 1 << 20)
    reader.close()
    begun = entries[0].receipt_ms

    def act(patient, value, seq, *, of_cell=False):
        said = HEART, "systolic_low", value, "jean.roy", "essai"
        return setting(patient, *said, of_cell=of_cell, workplace="desk", seq=seq, t_ms=begun)

    acts = [
        act("P0000001", 85.0, 1),
        act("P0000002", 100.0, 2, of_cell=True),
        act("P0000003", 85.0, 3),
        act("P0000003", None, 4),
    ]
    with Log.open(tmp_path / "acts.log") as log:
        log.append(SOURCE, b"".join(acts), begun).result(10)
        for entry in entries:
            log.append(entry.source, entry.body, entry.receipt_ms)
        log.append(SOURCE, act("P0000005", 85.0, 5), entries[-1].receipt_ms).result(10)
    asked = Asked((tmp_path / "acts.log",), Mappings(), "Europe/Paris", FAR_MS)
    learning = Learning(
        stable_days=10, min_readings=6, min_days=4, oldest_days=10, judge_days=10, least_step=0.0, drift=20.0
    )
    history = History(asked, tmp_path / "kept")
    found = proposals(history, load([HEART]), "systolic_low", learning=learning)
    by = {row["patient"]: row for row in found.table.to_dicts()}
    assert [by[f"P000000{n}"]["in_force"] for n in (1, 2, 3, 4, 5)] == [85.0, 100.0, 90.0, 90.0, 85.0]
    assert by["P0000001"]["status"] == by["P0000005"]["status"] == "set_by_act"
    assert by["P0000002"]["origin"] == "cellule, par une proposition signée"
    assert by["P0000002"]["status"] == "proposed"
    replay(
        [tmp_path / "acts.log"], [HEART], tmp_path / "out", limits=completed(found, tmp_path / "book.toml")
    )
    theirs = pl.read_parquet(tmp_path / "out" / "alerts.parquet").filter(pl.col("kind") != "evidence")
    assert history.judge(found.proposed).transitions.equals(theirs.select(list(TRANSITIONS)))


def test_threads_change_nothing(cohort, systolic, tmp_path):
    asked = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS)
    history = History(asked, tmp_path / "kept", shards=1)
    found = proposals(history, load([HEART], options=FILE), "systolic_low", learning=SHORT)
    assert found.table.equals(systolic.table)


def test_a_history_too_short_to_learn_and_to_judge_is_refused(cohort):
    asked = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS)
    history = History(asked, cohort / "kept")
    with pytest.raises(ValueError, match=r"the history has 6\d days; legal are at least 28 .* 60 to judge"):
        proposals(history, load([HEART], options=FILE), "systolic_low")


def test_without_a_proposal_there_is_one_side_and_an_empty_book(cohort, tmp_path):
    asked = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS)
    learning = Learning(stable_days=14, min_readings=500, min_days=14, oldest_days=20, judge_days=20)
    found = proposals(
        History(asked, cohort / "kept"), load([HEART], options=FILE), "systolic_low", learning=learning
    )
    assert set(found.table["status"]) == {"too_few_readings"}
    assert found.study.changed is None
    write(found, tmp_path)
    write_report(found, tmp_path / "report.html")
    assert LimitBook.load(tmp_path / "proposed.toml", load([HEART]).program.protocols).own() == frozenset()
    assert "too few readings" in (tmp_path / "summary.txt").read_text(encoding="utf-8")
    assert found.cut.day > date(2026, 1, 1)


def test_readings_that_drift_are_no_stable_period(cohort, systolic):
    asked = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", FAR_MS)
    learning = replace(SHORT, drift=0.3)
    found = proposals(
        History(asked, cohort / "kept"), load([HEART], options=FILE), "systolic_low", learning=learning
    )
    drifting = found.table.filter(pl.col("status") == "drifting")
    assert 0 < len(drifting) < 30
    assert drifting["proposed"].null_count() == len(drifting)
    still = pl.col("patient").is_in(found.made["patient"].implode())
    wanted = ["patient", "proposed", "centre", "spread"]
    assert (
        found.made.sort("patient")
        .select(wanted)
        .equals(systolic.made.filter(still).sort("patient").select(wanted))
    )
