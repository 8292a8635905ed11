"""Protocols by file or by name."""

import pytest

from engine import protocols
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
