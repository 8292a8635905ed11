"""Mappings that are proposed: what names say is taken, what values say is only said."""

import tomllib
from pathlib import Path

import pytest

from ingest.formats import FormatError, Mappings, load_mapping, open_paths
from ingest.formats.guess import words
from ingest.formats.suggest import suggest
from ingest.formats.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[3]

WIDE = """Date;Identifiant patient;Poids (kg);PAS;PAD;Pouls;Température;Commentaire
05/03/2026 08:00;p1;82,4;131;78;70;36,8;rien
25/03/2026 08:00;p1;82,1;128;75;66;36,7;
"""
LONG = """patient_id,date_mesure,type_mesure,valeur
p1,2026-03-05T08:00:00,Poids,181.4
p1,2026-03-06T08:00:00,Pouls,70
p2,2026-03-06T08:00:00,Humeur,3
"""


def propose(paths, mapping=None, **options):
    return suggest(paths, mapping or Mappings(), Vocabulary(), zone="Europe/Paris", **options)


def decided(found, tmp_path, **units):
    """Save what was proposed, with what a person decides in place of each question mark."""
    text = found.text
    for signal, unit in units.items():
        for said in (f'signal = "{signal}", unit = "?"', f'{signal} = "?"'):
            text = text.replace(said, said.replace("?", unit))
    (tmp_path / "map.toml").write_text(text)
    return load_mapping(tmp_path / "map.toml")


def test_a_wide_french_table(tmp_path, packets_of):
    (tmp_path / "export.csv").write_text(WIDE)
    found = propose([tmp_path / "export.csv"])
    said = tomllib.loads(found.text)
    assert said["columns"] == {"patient": "Identifiant patient", "time": "Date"}
    assert said["time"] == {"format": "%d/%m/%Y %H:%M", "zone": "Europe/Paris"}
    assert said["decimal"] == ","
    assert [(v["column"], v["signal"], v["unit"]) for v in said["values"]] == [
        ("Poids (kg)", "weight", "kg"), ("PAS", "systolic", "?"), ("PAD", "diastolic", "?"),
        ("Pouls", "heart_rate_cuff", "/min"), ("Température", "temperature", "?"),
    ]  # fmt: skip
    assert "values look like mm[Hg] (median 129.5)" in found.text
    assert any("PAS: values look like mm[Hg]" in point for point in found.to_decide)
    assert '# not read: "Commentaire"' in found.text
    # As it is, it is refused, with what is legal; decided, it is read.
    as_it_is = decided(found, tmp_path)
    with pytest.raises(
        FormatError, match=r"column 'PAS': unit '\?'; legal for systolic are mm\[Hg\], cm\[Hg\], kPa"
    ):
        open_paths([tmp_path / "export.csv"], mapping=as_it_is)
    mapping = decided(found, tmp_path, systolic="mmHg", diastolic="mmHg", temperature="Cel")
    assert propose([tmp_path / "export.csv"], mapping) is None
    with open_paths([tmp_path / "export.csv"], mapping=mapping) as source:
        packets, refused = packets_of(source)
    assert not refused
    assert next(values for *_, values in packets) == {1: 82400, 2: 131000, 3: 78000, 6: 70000, 11: 36800}


def test_a_long_table_with_names_and_a_unit_that_nobody_says(tmp_path, packets_of):
    (tmp_path / "export.csv").write_text(LONG)
    found = propose([tmp_path / "export.csv"])
    said = tomllib.loads(found.text)
    assert said["signals"] == {"Poids": "weight", "Pouls": "heart_rate"}
    # A pulse has one unit; a weight has not, and what it looks like is not what is written.
    assert said["units"] == {"weight": "?", "heart_rate": "/min"}
    assert "# weight: values look like [lb_av] (median 181.4)" in found.text
    assert '"Humeur" is not known' in found.text
    with pytest.raises(FormatError, match=r"units.weight: '\?'; legal for weight are kg, g"):
        open_paths([tmp_path / "export.csv"], mapping=decided(found, tmp_path))
    with open_paths([tmp_path / "export.csv"], mapping=decided(found, tmp_path, weight="lb")) as source:
        packets, refused = packets_of(source)
    assert [values for *_, values in packets] == [{1: 82282}, {5: 70000}]
    assert len(refused) == 1


def test_a_folder_of_several_forms_and_a_mapping_that_is_added_to(tmp_path):
    (tmp_path / "year").mkdir()
    for month in ("01", "02"):
        (tmp_path / "year" / f"site-{month}.csv").write_text(LONG)
    (tmp_path / "year" / "cuff.csv").write_text(WIDE)
    (tmp_path / "year" / "known.csv").write_text(
        "patient,time,signal,value,unit\np,2026-01-01T00:00:00Z,weight,80,kg\n"
    )
    (tmp_path / "year" / "wards.csv").write_text("ward,beds\nnord,12\n")
    found = propose([tmp_path / "year"])
    said = tomllib.loads(found.text)
    assert [each["match"] for each in said["files"]] == ["cuff.csv", "site-0*.csv"]
    assert set(found.files) == {"cuff.csv", "site-01.csv", "site-02.csv"}
    # A mapping of one form: its text stays, what is missing comes behind it.
    text = '# mine\n[[files]]\nmatch = "cuff.csv"\ncolumns = { patient = "Identifiant patient", time = "Date" }\n'
    text += 'values = [{ column = "PAS", signal = "systolic", unit = "mmHg" }]\n'
    (tmp_path / "mine.toml").write_text(text)
    more = propose([tmp_path / "year"], load_mapping(tmp_path / "mine.toml"), given=text)
    assert more.text.startswith(text)
    assert [each["match"] for each in tomllib.loads(more.text)["files"]] == ["cuff.csv", "site-0*.csv"]


def test_dates_that_fit_two_ways_are_said(tmp_path):
    (tmp_path / "export.csv").write_text("id,jour,poids kg\np1,05/03/2026,80\np1,06/03/2026,81\n")
    found = propose([tmp_path / "export.csv"])
    assert any("fit %d/%m/%Y and %m/%d/%Y" in point for point in found.to_decide)
    assert any("08:00 is an assumption" in point for point in found.to_decide)
    assert tomllib.loads(found.text)["time"]["time_of_day"] == "08:00"


def test_a_header_that_values_contradict_is_kept_and_said(tmp_path):
    (tmp_path / "export.csv").write_text(
        "ipp,timestamp,weight_kg\np1,2026-03-05T08:00:00Z,181\np1,2026-03-06T08:00:00Z,180\n"
    )
    found = propose([tmp_path / "export.csv"])
    assert tomllib.loads(found.text)["values"] == [{"column": "weight_kg", "signal": "weight", "unit": "kg"}]
    assert found.to_decide == ("export.csv: weight_kg: the header says kg, values look like [lb_av]",)


def test_real_exports(home_folder):
    found = propose([home_folder])
    said = {each["match"]: each for each in tomllib.loads(found.text)["files"]}
    cuff = {v["column"]: (v["signal"], v["unit"]) for v in said["home_blood_pressure.csv"]["values"]}
    assert cuff == {
        "Sys.mmHg.": ("systolic", "mmHg"),
        "Dias.mmHg.": ("diastolic", "mmHg"),
        "Pulse.bpm.": ("heart_rate_cuff", "/min"),
    }
    assert said["weight_log.csv"]["time"]["format"] == "%m-%d-%Y"


def test_nothing_is_proposed_where_nothing_is_known_or_all_is(tmp_path):
    (tmp_path / "wards.csv").write_text("ward,beds\nnord,12\n")
    assert propose([tmp_path / "wards.csv"]) is None
    (tmp_path / "known.csv").write_text(
        "patient,time,signal,value,unit\np,2026-01-01T00:00:00Z,weight,80,kg\n"
    )
    assert propose([tmp_path / "known.csv"]) is None
    with pytest.raises(
        FormatError, match=r"no column 'patient'.*it has 'ward', 'beds'.*vigie quality .*wards.csv suggests"
    ):
        open_paths([tmp_path / "wards.csv"])


def test_the_example_of_the_documentation_is_what_is_proposed(tmp_path):
    (tmp_path / "export.csv").write_text(WIDE)
    proposed = propose([tmp_path / "export.csv"]).text.splitlines()
    page = (ROOT / "docs" / "pilot.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0].splitlines()
    assert len(example) > 8
    assert [line for line in example if not line.startswith("# times") and line not in proposed] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SpO2 (%)", ["spo2", "%"]),
        ("SaO2", ["sao2"]),
        ("WeightKg", ["weight", "kg"]),
        ("PoidsKG", ["poids", "kg"]),
        ("dateHeure", ["date", "heure"]),
    ],
)
def test_words_of_a_column(name, said):
    assert words(name) == said
