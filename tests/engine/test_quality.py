"""Data quality: a clean programme has nothing to remark, and each fault is found, with its figures, where it is."""

import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import wfdb

from engine import quality_french
from engine.protocols import load_all
from engine.quality import SITE_COLUMNS, inspect
from engine.quality_findings import Finding
from engine.quality_page import write_page
from engine.quality_words import KINDS, said
from engine.replay import replay
from ingest.formats import FormatError, Mappings
from ingest.log import Log
from rules.explain import typeset

PARIS = ZoneInfo("Europe/Paris")
NOW_MS = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)
DAYS, PEOPLE = 80, 16
COLUMNS = ("patient", "time", "signal", "value", "unit", "site")


def clean():
    """Two sites, eight patients each, eighty days over the change of clocks in spring: readings at breakfast."""
    rng = np.random.default_rng(5)
    rows = []
    for day in range(DAYS):
        for p in range(PEOPLE):
            at = datetime(2026, 2, 20, 7, 30, tzinfo=PARIS) + timedelta(days=day, minutes=7 * (p % 8))
            weight, systolic = 70 + p + round(rng.normal(0, 0.4), 1), 120 + round(rng.normal(0, 6))
            who = (f"p{p:02}", at, "nord" if p < PEOPLE // 2 else "sud")
            for signal, value, unit in (
                ("weight", weight, "kg"), ("systolic", systolic, "mm[Hg]"), ("diastolic", systolic - 45, "mm[Hg]"),
            ):  # fmt: skip
                rows.append((who[0], who[1].isoformat(), signal, float(value), unit, who[2]))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


@pytest.fixture(scope="module")
def good():
    return clean()


def look(tmp_path, rows, **options):
    rows.write_csv(tmp_path / "export.csv")
    return inspect([tmp_path / "export.csv"], latest_ms=NOW_MS, **options)


def found(report):
    return {(each.kind, each.group, each.signal): each for each in report.findings}


def put(rows, value, column="value"):
    """Make a fault: another value in a column of some rows."""
    return lambda f: f.with_columns(pl.when(rows).then(value).otherwise(pl.col(column)).alias(column))


nord = pl.col("site") == "nord"
weight = pl.col("signal") == "weight"
some = nord & (pl.int_range(pl.len()) % 100 == 3)
value, time, day = pl.col("value"), pl.col("time"), pl.col("time").str.head(10)


def of(patient):
    return pl.col("patient") == patient


def local(offset):
    """Local times, with another offset written behind them."""
    return time.str.head(19) + offset


def test_a_clean_programme_has_nothing_to_remark(tmp_path, good):
    report = look(tmp_path, good)
    assert report.findings == ()
    assert "nothing to remark" in str(report)
    assert (report.files, report.rows, report.patients) == (1, len(good), PEOPLE)
    assert [site.name for site in report.sites] == ["nord", "sud"]
    assert [site.patients for site in report.sites] == [8, 8]
    assert all(site.by_day == (24,) * DAYS and site.days_share == 1 for site in report.sites)
    assert (report.first_day, report.last_day) == ("2026-02-20", "2026-05-10")
    medians = {each.name: each.median for each in report.sites[0].signals}
    assert abs(medians["weight"] - good.filter(nord & weight)["value"].median()) < 2


EXCHANGED = pl.col("signal").replace({"systolic": "diastolic", "diastolic": "systolic"})
UNCHANGING = time.str.to_datetime(time_zone="UTC").dt.offset_by("1h").dt.strftime("%FT%T")
OVERSEAS = time.str.replace("+01:00", "-05:00", literal=True).str.replace("+02:00", "-04:00", literal=True)
FAULTS = {
    "unit_wrong": (
        put(~weight & nord, value / 10), "nord", "systolic", 640, {"unit": "cm[Hg] or kPa", "said": "mm[Hg]"},
    ),
    "unit_median": (
        put(weight & nord, value / 0.45359237), "nord", "weight", 640, {"unit": "[lb_av]", "said": "kg"},
    ),
    "unit_mixed": (
        put(weight & of("p03") & (day.str.ends_with("5")), value / 0.4536), "nord", "weight", None, {"unit": "[lb_av]"},
    ),
    "unit_spellings": (put(weight & nord, pl.lit("kilos"), "unit"), "", "weight", 2, {"units": "kilos 640, kg 640"}),
    "refused": (put(some, pl.lit("furlong"), "unit"), "", "", None, {"reason": "UNKNOWN_UNIT"}),
    "naive": (put(time != "", local(""), "time"), "", "", 3840, {"overlap": 0, "gap": 0}),
    "mixed_offsets": (put(nord, local(""), "time"), "", "", 1920, {"names": "export.csv"}),
    "future": (put(some, pl.lit("2027-05-01T08:00:00Z"), "time"), "nord", "", None, {}),
    "ancient": (put(some, pl.lit("1970-01-02T08:00:00Z"), "time"), "nord", "", None, {}),
    "midnight_local": (put(nord, day + "T00:00:00", "time"), "nord", "", 1920, {}),
    "midnight_utc": (put(nord, day + "T00:00:00Z", "time"), "nord", "", 1920, {}),
    "dst_later": (put(nord, local("Z"), "time"), "nord", "", None, {"minutes": 60}),
    "dst_earlier": (put(nord, UNCHANGING, "time"), "nord", "", None, {"minutes": -60}),
    "clock_differs": (put(nord, OVERSEAS, "time"), "nord", "", None, {"hours": 6}),
    "implausible": (
        put(weight & nord & day.str.ends_with("5"), pl.lit(500.0)), "nord", "weight", None, {"low": 25, "high": 350},
    ),
    "same": (lambda f: pl.concat([f, f.filter(nord & weight).head(50)]), "nord", "weight", 50, {}),
    "conflict": (
        lambda f: pl.concat([f, f.filter(nord & weight).head(50).with_columns(value + 1)]), "nord", "weight", 50, {},
    ),
    "swapped": (put(nord & ~weight, EXCHANGED, "signal"), "nord", "", 640, {}),
    "disorder": (lambda f: f.reverse(), "export.csv", "", None, {}),
    "silent": (lambda f: f.filter(~of("p01") | (time < "2026-04-01")), "nord", "", 1, {"longest": 40}),
    "few_days": (lambda f: f.filter(~nord | day.str.contains("[13579]$")), "nord", "", None, {}),
    "constant": (put(weight & of("p02"), pl.lit(80.0)), "nord", "weight", 1, {"longest": DAYS}),
    "copied": (
        lambda f: pl.concat([f, f.filter(of("p02")).with_columns(patient=pl.lit("p99"), site=pl.lit("sud"))]),
        "", "weight", 2, {"sites": "nord, sud"},
    ),
    "moved": (put(of("p02") & (time > "2026-04"), pl.lit("sud"), "site"), "", "", None, {}),
}  # fmt: skip
"""Of each kind: what makes it of clean rows; group, signal, count and some of the detail of what is found."""


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_where_it_is(tmp_path, good, kind):
    fault, group, signal, count, detail = FAULTS[kind]
    report = look(tmp_path, fault(good))
    each = found(report)[kind, group, signal]
    assert count in (None, each.count)
    assert each.count > 0
    assert detail.items() <= each.detail.items()
    # The other site is as it was: what is found of it is that the two differ, or of their clocks together.
    assert {f.kind for f in report.findings if f.group == "sud"} <= {"clock_differs"}
    assert said(each) in str(report)
    french = quality_french.said(each)
    assert str(each.detail.get("longest", "")) in french
    assert not re.search(r"\b(the|of|readings|are|rows)\b| [:;?!%]", french), french


def test_every_kind_is_tested():
    assert set(FAULTS) | {"disorder_more"} == set(KINDS)


def test_the_page_has_its_own_words_for_all_that_the_terminal_says():
    assert quality_french.KINDS == KINDS
    assert len(quality_french.COLUMNS) == len(SITE_COLUMNS)
    more = Finding("disorder_more", "", "", 1200, 1300)
    assert quality_french.said(more) == "1200 autres fichiers ont des lignes en désordre."


def test_a_file_with_every_fault_beside_a_good_one(tmp_path, good):
    """A folder without a column of sites: its folders are the sites, and what is said is what a replay then does."""
    bad = pl.concat(
        [
            FAULTS["conflict"][0](good.filter(nord)),
            good.filter(nord).head(20).with_columns(unit=pl.lit("furlong")),
            good.filter(nord).head(30).with_columns(value=pl.lit(-1.0)),
            good.filter(nord).head(30).with_columns(time=pl.lit("yesterday")),
        ]
    ).drop("site")
    for name, rows in (("bad", bad.reverse()), ("good", good.filter(~nord).drop("site"))):
        (tmp_path / "year" / name).mkdir(parents=True)
        rows.write_csv(tmp_path / "year" / name / "export.csv")
    report = inspect([tmp_path / "year"], latest_ms=NOW_MS)
    bad_site, good_site = report.sites
    assert (bad_site.name, good_site.name) == ("bad", "good")
    assert report.refused == {"BAD_ROW": 30, "UNKNOWN_UNIT": 20}
    assert (bad_site.rows_refused, bad_site.implausible, bad_site.conflict) == (50, 30, 80)
    assert (good_site.rows_refused, good_site.implausible, good_site.conflict, good_site.out_of_order) == (
        0,
        0,
        0,
        0,
    )
    assert bad_site.out_of_order > 1000
    first = found(report)["refused", "", ""]
    assert first.where.startswith("bad/export.csv, row ")
    summary = replay([tmp_path / "year"], ["insuffisance_cardiaque"], tmp_path / "out")
    assert summary.quarantined["BAD_ROW"] == 30
    assert summary.quarantined["UNKNOWN_UNIT"] == 20
    assert summary.quarantined["IMPLAUSIBLE"] == bad_site.implausible


def test_json_and_page(tmp_path, good):
    report = look(tmp_path, FAULTS["implausible"][0](good))
    report.write(tmp_path / "q.json")
    kept = json.loads((tmp_path / "q.json").read_text())
    assert kept["serious"] == report.serious == 2 - 1
    assert sum(kept["sites"][0]["by_day"]) == kept["sites"][0]["readings"] == len(good) // 2
    assert kept["findings"][0]["text"] == said(report.findings[0])
    write_page(report, tmp_path / "q.html")
    page = (tmp_path / "q.html").read_text()
    assert page.count("<svg") == 2
    assert all(f"<h2>{name}</h2>" in page for name in ("nord", "sud"))
    assert "http" not in page.replace("http://www.w3.org", "")
    assert '<html lang="fr">' in page
    for said_ in ("Qualité des données", "du 20/02/2026 au 10/05/2026", "poids <small", "invraisemblables"):
        assert said_ in page
    assert quality_french.said(report.findings[0]) in page
    assert said(report.findings[0]) not in page
    # The same files give the same bytes.
    look(tmp_path, FAULTS["implausible"][0](good)).write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "q.json").read_bytes()


def test_items_and_notes_are_said_in_french(tmp_path, good):
    protocols = load_all(["covidom"])
    item = next(iter(protocols[0].items.values()))
    folder = tmp_path / "files"
    folder.mkdir()
    answers = good.filter(pl.col("signal") == "weight").with_columns(
        signal=pl.lit(item.name), value=pl.lit(1.0), unit=pl.lit("")
    )
    pl.concat([good, answers]).write_csv(folder / "export.csv")
    (folder / "labels.csv").write_text("a,b\n1,2\n")
    (folder / "scan.pdf").write_text("")
    (folder / "ann.hea").write_text("ann 1 128 1000\nann.dat 16 200/mV 16 0 0 0 0 ECG\n")
    wfdb.wrsamp(
        "ok", fs=250, units=["mV"], sig_name=["II"], d_signal=np.zeros((1000, 1), np.int64), fmt=["16"],
        adc_gain=[200.0], baseline=[0], write_dir=str(folder),
    )  # fmt: skip
    report = inspect([folder], latest_ms=NOW_MS, protocols=["covidom"])
    assert len(report.notes) == 4
    write_page(report, tmp_path / "q.html", protocols)
    page = (tmp_path / "q.html").read_text(encoding="utf-8")
    for note in report.notes:
        assert note not in page
        assert quality_french.note_text(note) in page
    assert 'lang="en"' not in page
    assert str(tmp_path) not in page
    assert page.count(typeset(item.label)) == 3  # its unit, and a line in each site
    assert item.name not in page.replace(f"{item.name}</small>", "")
    assert f"item {item.code}" not in page
    # Without the protocol there is nothing but its number.
    write_page(report, tmp_path / "alone.html")
    assert f'<th scope="row">question {item.code}' in (tmp_path / "alone.html").read_text(encoding="utf-8")
    assert quality_french.note_text("something that has no French yet") is None


def test_a_name_in_a_file_cannot_break_the_page(tmp_path, good):
    report = look(tmp_path, good.with_columns(site=pl.lit("<script>alert(1)</script>")))
    write_page(report, tmp_path / "q.html")
    assert "<script" not in (tmp_path / "q.html").read_text()


def test_what_is_in_no_unit_but_the_mapping_is_said(tmp_path, good):
    rows = FAULTS["unit_median"][0](good).with_columns(unit=pl.lit(""))
    units = {"weight": "kg", "systolic": "mmHg", "diastolic": "mmHg"}
    report = look(tmp_path, rows, mapping=Mappings(units=units))
    text = said(found(report)["unit_median", "nord", "weight"])
    assert "looks like [lb_av], the file or mapping says kg (mapping)" in text
    # And the other way: kilograms that a mapping takes for pounds.
    report = look(
        tmp_path, good.with_columns(unit=pl.lit("")), mapping=Mappings(units=units | {"weight": "lb"})
    )
    assert found(report)["unit_median", "nord", "weight"].detail["unit"] == "kg"


def test_what_has_no_columns_to_look_at_is_refused(tmp_path):
    Log.open(tmp_path / "log").close()
    with pytest.raises(FormatError, match="is a log"):
        inspect([tmp_path / "log"])
    (tmp_path / "x.csv").write_text("patient,time,signal,value,unit\n")
    assert inspect([tmp_path / "x.csv"]).first_day == ""


def test_a_site_that_ended_is_not_silent_since(tmp_path, good):
    """Days are expected up to the end of the site's own data: an old programme beside a newer one has no gaps."""
    old = good.filter(~nord | (time < "2026-03-15"))
    report = look(tmp_path, old)
    assert [(site.name, site.silent, site.days_share) for site in report.sites] == [
        ("nord", 0, 1),
        ("sud", 0, 1),
    ]
