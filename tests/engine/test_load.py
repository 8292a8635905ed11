"""What the operator names becomes a program and a roster: limits and their origin, protocols, zones."""

import math

import numpy as np
import pytest

from engine.enrolment import read
from engine.load import load
from engine.program import Options
from engine.roster import Roster
from rules.errors import ProtocolError

HEART = "insuffisance_cardiaque"

BOOK = """
[[programme]]
protocol = "insuffisance_cardiaque"
limit = "gain_3d_kg"
value = 2.5
author = "Dr P"
date = 2026-01-01
reason = "pilote"

[[cell]]
cell = "Nord"
protocol = "insuffisance_cardiaque"
limit = "gain_3d_kg"
value = 1.8
author = "Dr C"
date = 2026-01-02
reason = "file courte"

[[patient]]
patient = "P1"
protocol = "insuffisance_cardiaque"
limit = "gain_3d_kg"
value = 1.5
author = "Dr A"
date = 2026-01-03
reason = "insuffisance rénale"

[[patient]]
patient = "P1"
protocol = "insuffisance_cardiaque"
limit = "dry_weight_kg"
value = 74
author = "Dr A"
date = 2026-01-03
reason = "sortie"
"""

ENROLMENT = """\
patient,cell,programmes,zone
P1,Nord,insuffisance_cardiaque+covidom,
P2,Nord,insuffisance_cardiaque,America/Martinique
P3,,covidom,
"""


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "book.toml").write_text(BOOK)
    (tmp_path / "who.csv").write_text(ENROLMENT)
    return load([HEART, "covidom"], limits=tmp_path / "book.toml", enrolment=tmp_path / "who.csv")


@pytest.mark.parametrize(
    ("patient", "value", "origin"),
    [
        ("P1", 1.5, "patient, Dr A, 03/01/2026 : insuffisance rénale"),
        ("P2", 1.8, "cellule Nord, Dr C, 02/01/2026 : file courte"),
        ("P3", 2.5, "programme, Dr P, 01/01/2026 : pilote"),
        ("unknown", 2.5, "programme, Dr P, 01/01/2026 : pilote"),
    ],
)
def test_the_nearest_limit_counts_and_says_where_it_is_from(loaded, patient, value, origin):
    state = placed(loaded, ["P1", "P2", "P3", "unknown"])
    column = [loaded.program.limit_names[q] for q in loaded.program.own].index((0, "gain_3d_kg"))
    slot = ["P1", "P2", "P3", "unknown"].index(patient)
    assert state["limits"][slot, column] == value
    assert loaded.roster.origin(patient, HEART, "gain_3d_kg") == origin


def test_what_nobody_sets_is_the_protocol_s_and_needs_no_place(loaded):
    assert loaded.roster.origin("P1", HEART, "systolic_low") == "défaut du protocole [S23]"
    assert len(loaded.program.own) == 2
    state = placed(loaded, ["P2"])
    assert math.isnan(state["limits"][0, [n for _, n in own_names(loaded)].index("dry_weight_kg")])


def test_protocols_and_zone_of_each_patient(loaded):
    state = placed(loaded, ["P1", "P2", "P3", "unknown"])
    assert state["programmes"].tolist()[:4] == [0b11, 0b01, 0b10, 0b11]
    zones = loaded.program.options.zones
    assert [zones[z] for z in state["zone"].tolist()[:4]] == [
        "Europe/Paris", "America/Martinique", "Europe/Paris", "Europe/Paris",
    ]  # fmt: skip


def test_a_book_needs_its_places(loaded):
    bare = load([HEART, "covidom"])
    with pytest.raises(ValueError, match="without a place for them"):
        Roster(bare.program, book=loaded.roster.book)


def test_options_are_kept(tmp_path):
    assert load([HEART], options=Options(tick_ms=1000), zone="UTC").program.options == Options(
        tick_ms=1000, zones=("UTC",)
    )


def test_the_fingerprint_tells_limits_and_enrolment_apart(loaded, tmp_path):
    same = load([HEART, "covidom"], limits=tmp_path / "book.toml", enrolment=tmp_path / "who.csv")
    assert same.fingerprint == loaded.fingerprint
    (tmp_path / "book.toml").write_text(BOOK.replace("value = 1.8", "value = 1.9"))
    other = load([HEART, "covidom"], limits=tmp_path / "book.toml", enrolment=tmp_path / "who.csv")
    assert other.fingerprint != loaded.fingerprint
    assert load([HEART, "covidom"], limits=tmp_path / "book.toml").fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient,programmes\nP1,covidon\n", r"who.csv:2: programmes: unknown protocol 'covidon'.*'covidom'"),
        ("patient,programmes\nP 1,covidom\n", r"who.csv:2: patient: 'P 1' is no id"),
        ("patient,programmes\nP1,covidom\nP1,covidom\n", r"who.csv:3: patient: 'P1' is there twice"),
        ("patient,programmes,zone\nP1,covidom,Mars/Base\n", r"who.csv:2: zone: 'Mars/Base' is no time zone"),
        ("patient,programmes\nP1\n", r"who.csv:2: too many or too few fields"),
        ("patient\nP1\n", r"who.csv:1: column 'programmes' is missing"),
        ("patient,programmes,age\nP1,covidom,3\n", r"who.csv:1: unknown column 'age'"),
    ],
)
def test_mistakes_name_line_and_field(tmp_path, text, said):
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(ProtocolError, match=said):
        read(tmp_path / "who.csv", ["covidom", HEART])


def own_names(loaded):
    return [loaded.program.limit_names[q] for q in loaded.program.own]


class FakeState:
    """What `Roster.place` uses of a state."""

    def __init__(self, patients, limits):
        self.patients = patients
        n = len(patients)
        self.arrays = {
            "programmes": np.zeros(n, np.uint64),
            "limits": np.zeros((n, limits)),
            "zone": np.zeros(n, np.uint8),
        }

    def patient_ids(self, slots):
        return [self.patients[slot] for slot in slots]


def placed(loaded, patients):
    state = FakeState(patients, len(loaded.program.own))
    loaded.roster.place(state, np.arange(len(patients), dtype=np.int32))
    return state.arrays
