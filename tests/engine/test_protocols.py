"""Protocols by file or by name."""

from pathlib import Path

import pytest

from engine import protocols
from engine.program import Program
from engine.protocol_tests import run
from rules.errors import ProtocolError


def test_shipped_protocols_are_found_by_name_and_go_together():
    names = list(protocols.shipped())
    assert "insuffisance_cardiaque" in names
    assert [each.id for each in protocols.load_all(names)] == names


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "insuffisance_cardiaque").write_text("")
    assert protocols.find("insuffisance_cardiaque").absolute().parent == tmp_path


def test_a_name_that_is_none_lists_those_close_to_it():
    with pytest.raises(ProtocolError, match="did you mean 'covidom'"):
        protocols.find("covidon")


def test_one_protocol_twice_is_refused():
    with pytest.raises(ProtocolError, match="two protocols are called 'covidom'"):
        protocols.load_all(["covidom", "covidom"])


@pytest.fixture
def other(tmp_path):
    """Another version of a shipped protocol, written as `text` says."""

    def make(name="other.toml", was='version = "0.1.0"', now='version = "0.2.0"', of="covidom"):
        text = protocols.find(of).read_text(encoding="utf-8")
        assert was in text
        (tmp_path / name).write_text(text.replace(was, now, 1), encoding="utf-8")
        return tmp_path / name

    return make


def test_other_versions_of_protocols_in_force_are_candidates(other):
    in_force = protocols.load_all(["insuffisance_cardiaque", "covidom"])
    (candidate,) = protocols.load_candidates([other()], in_force)
    assert (candidate.id, candidate.version) == ("covidom", "0.2.0")
    assert protocols.load_candidates([], in_force) == []


def test_what_is_no_candidate_is_refused(other):
    in_force = protocols.load_all(["covidom"])
    of = "insuffisance_cardiaque"
    for given, said in (
        (
            [other("heart.toml", of=of)],
            f"{of} is not among the protocols in force.*one other version each of covidom",
        ),
        ([protocols.find("covidom")], "is the version of covidom that is in force"),
        ([other(), other("second.toml", now='version = "0.3.0"')], "is a second candidate for covidom"),
    ):
        with pytest.raises(ProtocolError, match=said):
            protocols.load_candidates(given, in_force)


def test_a_new_protocol_passes_its_own_tests_and_is_not_overwritten(tmp_path):
    path = protocols.begin("poids_nord", tmp_path / "p.toml", "Poids", "insuffisance cardiaque", "congestion")
    (protocol,) = protocols.load_all([path])
    results = run(protocol)
    assert len(results) >= 4
    assert [str(result) for result in results if not result.passed] == []
    text = path.read_text(encoding="utf-8")
    with pytest.raises(FileExistsError):
        protocols.begin("autre", path, "Poids", "insuffisance cardiaque", "congestion")
    assert path.read_text(encoding="utf-8") == text


def test_a_new_protocol_with_a_name_that_is_none_is_not_written(tmp_path):
    with pytest.raises(ProtocolError, match="'Poids' has another form"):
        protocols.begin("Poids", tmp_path / "p.toml", "Poids", "ligne", "poids")
    assert list(tmp_path.iterdir()) == []


def test_a_shipped_protocol_is_not_ones_own():
    for given in (protocols.shipped()["covidom"], Path("covidom")):
        with pytest.raises(ProtocolError, match=r"comes with Vigie; legal: .*copy"):
            protocols.load_own(given)
    with pytest.raises(ProtocolError, match="there is no such file"):
        protocols.load_own(Path("nowhere.toml"))


def test_the_title_of_a_rule_changes_no_number_that_alerts_are_known_by(other):
    """An alert's id is made of its rule's key: a rule that is called otherwise raises the same alerts."""
    titled = other(was='title = "Fièvre"', now='title = "Température haute"')
    keys = [
        {row.id: row.key for row in Program([each]).rule_rows}
        for each in (protocols.load_all(["covidom"])[0], protocols.load_own(titled))
    ]
    assert keys[0] == keys[1]
    assert protocols.load_own(titled).title_of("fever") == "Température haute"
