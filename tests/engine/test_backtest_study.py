"""A study and its files: the same question gives the same bytes, and the page needs nobody else."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from engine.backtest import History
from engine.backtest_outcomes import OutcomeError, read_outcomes
from engine.backtest_report import page, pieces, write_report
from engine.backtest_study import Terms, study, summary, write
from engine.load import load
from engine.program import Options
from engine.replay_input import Asked
from ingest import simulator
from ingest.formats import Mappings
from rules.explain import typeset

HEART = "insuffisance_cardiaque"
FILE = Options(close_at_recovery=True, deaf_after_ms=0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    simulator.simulate(40, 60, 3, folder / "cohort.parquet")
    return folder


def asked_for(cohort, out, **more):
    source = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", 4_000_000_000_000)
    outcomes = read_outcomes(cohort / "cohort.truth.parquet", ["decompensation", "other_admission"])
    found = study(
        History(source, cohort / "kept"),
        load([HEART], options=FILE),
        changes={"gain_3d_kg": 1.5},
        terms=Terms(outcomes=outcomes),
        **more,
    )
    write(found, out)
    write_report(found, out / "report.html", ["vigie", "backtest"])
    return found


def test_the_same_question_gives_the_same_bytes(cohort, tmp_path):
    spans = [("gain_3d_kg", [1.0, 2.0]), ("gain_7d_kg", [2.0, 3.0])]
    found = asked_for(cohort, tmp_path / "one", spans=spans)
    asked_for(cohort, tmp_path / "two", spans=spans)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        "alerts.parquet", "card.json", "differences.csv", "measures.csv", "report.html", "summary.txt", "sweep.csv",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    gained = pl.read_csv(tmp_path / "one" / "differences.csv").filter(pl.col("difference") == "gained")
    assert found.comparison is not None
    assert len(gained) == len(found.comparison.gained) > 0
    assert set(gained["rule"]) == {"weight_gain_3d"}
    alerts = pl.read_parquet(tmp_path / "one" / "alerts.parquet")
    assert dict(alerts.group_by("side").len().iter_rows()) == {
        "base": found.base.whole.alerts,
        "changed": found.changed.whole.alerts,
    }
    measures = pl.read_csv(tmp_path / "one" / "measures.csv", infer_schema_length=None)
    whole = measures.filter((pl.col("side") == "base") & pl.col("rule").is_null() | (pl.col("rule") == ""))
    by_rule = measures.filter(
        (pl.col("side") == "base") & pl.col("rule").is_not_null() & (pl.col("rule") != "")
    )
    assert by_rule["alerts"].sum() == whole.filter(pl.col("side") == "base")["alerts"][0]
    card = json.loads((tmp_path / "one" / "card.json").read_text())
    assert card["changed_limits"] == {"gain_3d_kg": 1.5}
    assert card["protocols"]["base"][0]["hash"] != card["protocols"]["changed"][0]["hash"]


def test_the_page_says_it_all_and_asks_nobody(cohort, tmp_path):
    found = asked_for(cohort, tmp_path / "out", spans=[("gain_3d_kg", [1.0, 1.5, 2.0])])
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "prise de poids en 3 jours\N{NO-BREAK SPACE}: 2 → 1,5\N{NO-BREAK SPACE}kg" in text
    assert "non signé" in text
    assert typeset(f"Alertes gagnées : {len(found.comparison.gained)}") in text
    assert text.count('role="img"') >= 2 + min(30, len(found.comparison.gained))
    for reference in ("http:", "https:", "<script", "src=", "@import", "url("):
        assert reference not in text
    first = found.comparison.gained["patient"][0]
    assert first in text
    assert "trop peu" in text  # five outcomes
    assert typeset("mesures de 40 patients ; paquets reçus : ") in text
    assert "packets" not in text
    assert "<title>prise de poids en 3 jours = 1,00</title>" in text
    assert "Prise de poids en 3 jours <small" in text
    assert '<th class="n">prise de poids en 3 jours <small class="note">gain_3d_kg</small></th>' in text


@pytest.mark.parametrize(("zone", "hours"), [("Europe/Paris", 1), ("Indian/Reunion", 4)])
def test_times_on_the_page_are_those_of_the_zone_which_is_named(cohort, zone, hours):
    found = study(
        History(Asked((cohort / "cohort.parquet",), Mappings(), zone, 4_000_000_000_000), cohort / "kept"),
        load([HEART], zone=zone, options=FILE),
        changes={"gain_3d_kg": 1.5},
        terms=Terms(zone=zone),
    )
    said = pieces(found)
    assert said["zone"] == zone
    assert said["gained"]
    for each in said["gained"]:
        # Of January and February: no clock changes between.
        local = datetime.fromtimestamp(each.opened_ms / 1000, UTC) + timedelta(hours=hours)
        assert each.opened == f"{local:%d/%m/%Y %H:%M}"
        assert f">{local:%d/%m/%Y}</text>" in each.plot
    written = page(said)
    assert f"Heures locales ({zone})." in written
    assert "UTC" not in written


def test_without_a_change_there_is_nothing_to_compare(cohort, tmp_path):
    source = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", 4_000_000_000_000)
    found = study(History(source, cohort / "kept"), load([HEART], options=FILE))
    out = tmp_path / "out"
    out.mkdir()
    (out / "differences.csv").write_text("of a study before", encoding="utf-8")
    write(found, out)
    write_report(found, out / "report.html")
    assert not (out / "differences.csv").exists()
    assert "cannot be told" in summary(found)
    assert "Alertes gagnées" not in (out / "report.html").read_text(encoding="utf-8")


def test_a_wrong_question_is_refused_before_the_first_pass(cohort, tmp_path):
    source = Asked((cohort / "cohort.parquet",), Mappings(), "Europe/Paris", 4_000_000_000_000)
    history = History(source, tmp_path / "kept")
    with pytest.raises(ValueError, match=r"legal are 0\.5 to 5 kg"):
        study(history, load([HEART], options=FILE), spans=[("gain_3d_kg", [1.0, 6.0])])
    assert not (tmp_path / "kept").exists()


def test_outcomes_in_all_forms(tmp_path):
    rows = "patient,kind,time\na,h,2026-01-05T08:00:00+01:00\na,h,2026-01-05T08:00:00+01:00\nb,d,2026-01-06T00:00:00Z\n"
    (tmp_path / "o.csv").write_text(rows, encoding="utf-8")
    found = read_outcomes(tmp_path / "o.csv")
    assert found.rows() == [("a", 1_767_596_400_000, "h"), ("b", 1_767_657_600_000, "d")]
    assert read_outcomes(tmp_path / "o.csv", ["d"]).rows() == found.rows()[1:]
    found.write_parquet(tmp_path / "o.parquet")
    assert read_outcomes(tmp_path / "o.parquet").equals(found)
    zoned = found.select(
        "patient", "kind", time=pl.from_epoch("t_ms", time_unit="ms").dt.replace_time_zone("UTC")
    )
    zoned.write_parquet(tmp_path / "z.parquet")
    assert read_outcomes(tmp_path / "z.parquet").equals(found)


@pytest.mark.parametrize(
    ("text", "kinds", "said"),
    [
        ("patient,time\na,2026-01-05T08:00:00Z\n", [], "no column for kind"),
        ("patient,kind\na,h\n", [], "no column for a time"),
        ("patient,kind,time\na,h,2026-01-05T08:00:00\n", [], "no offset"),
        ("patient,kind,time\na,h,yesterday\n", [], "legal is 2026-01-05"),
        ("patient,kind,time\na,h,12.5\n", [], "legal are ms UTC in t_ms"),
        ("patient,kind,t_ms\na,h,1\nb,,2\n", [], "row 2 lacks"),
        ("patient,kind,t_ms\na,h,1\n", ["death"], "no outcome of kind 'death'; there are h"),
        ("", [], "o.csv"),
    ],
)
def test_outcomes_that_cannot_be_used_are_refused(tmp_path, text, kinds, said):
    (tmp_path / "o.csv").write_text(text, encoding="utf-8")
    with pytest.raises(OutcomeError, match=said):
        read_outcomes(tmp_path / "o.csv", kinds)
