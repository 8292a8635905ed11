import pytest

from ingest.formats import FormatError, load_mapping
from ingest.formats.mapping import Mapping


def load(tmp_path, text):
    path = tmp_path / "map.toml"
    path.write_text(text)
    return load_mapping(path)


def test_everything(tmp_path):
    mapping = load(
        tmp_path,
        """
        separator = ";"
        decimal = ","
        [columns]
        patient = "sujet"
        [time]
        zone = "Europe/Paris"
        [signals]
        "Poids" = "weight"
        [units]
        weight = "kg"
        [[files]]
        match = "bp*.csv"
        patient = "one"
        values = [{ column = "Sys", signal = "systolic", unit = "mmHg" }]
        """,
    )
    assert mapping.columns.patient == "sujet"
    assert mapping.columns.time == "time"
    assert mapping.for_file("bp_2019.csv").values[0].signal == "systolic"
    assert mapping.for_file("other.csv") is mapping


def test_a_zone_given_fills_what_is_empty(tmp_path):
    mapping = load(tmp_path, '[time]\nzone = "UTC"\n[[files]]\nmatch = "a*"\n').with_zone("Europe/Paris")
    assert mapping.time.zone == "UTC"
    assert mapping.for_file("a").time.zone == "Europe/Paris"


def test_columns_given(tmp_path):
    mapping = Mapping().with_columns(patient="who", unit=None)
    assert (mapping.columns.patient, mapping.columns.unit) == ("who", "unit")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[colums]\npatient = 'x'", ("colums", "no such key")),
        ("[time]\nzone = 'Europe/Pariss'", ("time.zone", "Europe/Paris")),
        ("[time]\ntime_of_day = '25:00'", ("time_of_day",)),
        ("[time]\nunit = 'h'", ("time.unit", "'auto'")),
        ("separator = ';;'", ("separator",)),
        ("decimal = ','\nseparator = ','", ("both",)),
        ("[signals]\na = 'weight'\n[[values]]\ncolumn='x'\nsignal='weight'\nunit='kg'", ("exclude",)),
        ("[time", ("map.toml",)),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(FormatError) as caught:
        load(tmp_path, text)
    for word in ("map.toml", *words):
        assert word in str(caught.value)
