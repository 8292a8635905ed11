"""What the operator names becomes a program and a roster: limits and their origin, protocols, zones."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.durable import DurableLine
from engine.enrolment import Enrolled, read, write
from engine.load import load
from engine.program import Options
from engine.roster import Roster
from ingest import packet
from rules.errors import ProtocolError

HEART = "insuffisance_cardiaque"
T0 = 1_790_000_000_000

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
    assert loaded.roster.in_force(patient, HEART, "gain_3d_kg")[1] == origin


def test_what_nobody_sets_is_the_protocol_s_and_needs_no_place(loaded):
    assert loaded.roster.in_force("P1", HEART, "systolic_low")[1] == "défaut du protocole [S23]"
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
        (
            "patient,programmes,until\nP1,covidom,2026-03-01T08:00\n",
            r"who.csv:2: until: .* is no time; legal: ISO",
        ),
        ("patient,programmes,from\nP1,covidom,hier\n", r"who.csv:2: from: 'hier' is no time; legal: ISO"),
        ("patient\nP1\n", r"who.csv:1: column 'programmes' is missing"),
        ("patient,programmes,age\nP1,covidom,3\n", r"who.csv:1: unknown column 'age'"),
    ],
)
def test_mistakes_name_line_and_field(tmp_path, text, said):
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(ProtocolError, match=said):
        read(tmp_path / "who.csv", ["covidom", HEART])


TIMES = st.none() | st.integers(-(10**12), 4 * 10**12)
ENROLLED = st.builds(
    Enrolled,
    st.lists(st.sampled_from(["covidom", HEART]), min_size=1, unique=True).map(tuple),
    st.none() | st.sampled_from(["Nord", 'Cellule "A", Sud']),
    st.none() | st.sampled_from(["Europe/Paris", "America/Martinique"]),
    TIMES,
    TIMES,
)


@given(st.dictionaries(st.text("ABC-019", min_size=1, max_size=9), ENROLLED, max_size=5))
def test_what_is_written_is_read(enrolled):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "who.csv"
        write(path, enrolled)
        assert read(path, ["covidom", HEART]) == enrolled
        assert list(Path(folder).iterdir()) == [path]


def test_who_is_no_longer_followed_has_no_protocol(tmp_path):
    enrolled = {
        "P1": Enrolled(("covidom",), "Nord", None, 1000, 2000),
        "P2": Enrolled(("covidom",), from_ms=9000),
    }

    def followed(at_ms):
        members = load([HEART, "covidom"], enrolment=enrolled, at_ms=at_ms).roster.members
        return [members[patient].protocols for patient in ("P1", "P2")]

    assert followed(1999) == [(1,), (1,)]
    assert followed(2000) == [(), (1,)]
    assert followed(None) == [(1,), (1,)]


def test_an_end_reaches_a_line_that_is_opened_again(tmp_path):
    """A patient whose follow-up is over sets off no alert, although a state with protocols was in the checkpoint."""

    def live(at_ms, days):
        enrolled = {"P1": Enrolled((HEART,), until_ms=5 * day), "P2": Enrolled((HEART,))}
        loaded = load([HEART], enrolment=enrolled, at_ms=at_ms)
        found = []
        with DurableLine(tmp_path / "line", loaded.program, sink=found.append, roster=loaded.roster) as line:
            for at in days:
                body = b"".join(
                    packet.spot(p, "scale", at, T0 + at * day, {1: 80 + 0.9 * max(0, at - 6)})
                    for p in ("P1", "P2")
                )
                line.log.append("gateway", body, T0 + at * day).result(10)
            line.catch_up()
            line.checkpoint()
        return {patient for alerts in found for patient in alerts["patient"]}

    day = 86_400_000
    assert live(4 * day, range(6)) == set()
    assert live(6 * day, range(6, 12)) == {"P2"}


def test_an_enrolment_that_was_not_read_from_a_file_is_checked():
    wrong = {"P1": Enrolled(("covidon",)), "P2": Enrolled(("covidom",), zone="Mars/Base")}
    with pytest.raises(ProtocolError) as error:
        load(["covidom"], enrolment=wrong)
    assert [each.key for each in error.value.mistakes] == ["P1", "P2"]


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
