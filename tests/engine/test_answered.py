"""A service that starts looks at who answers for its protocols: it warns, or refuses; and measures it."""

import datetime as dt
import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from engine.answered import Answered, at_start, look, today
from engine.config import Settings
from engine.protocols import begin, load_own
from rules.errors import ProtocolError
from rules.signature import made, write

DAY = dt.date(2026, 11, 27)


@pytest.fixture
def protocols(tmp_path):
    """One signed for a year, one unsigned."""
    paths = [begin(name, tmp_path / f"{name}.toml", name, "essai", "poids") for name in ("signe", "libre")]
    write(paths[0], made(load_own(paths[0]), "Dr A", "cardiologue", DAY, DAY, dt.date(2027, 11, 26)))
    return [load_own(path) for path in paths]


def test_those_for_which_nobody_answers_are_named(protocols):
    assert look(protocols, DAY) == ["protocol libre 0.1.0 is unsigned: nobody answers for its figures"]
    assert look(protocols[:1], DAY, refuse=True) == []
    assert look(protocols[:1], dt.date(2027, 11, 27)) == [
        "protocol signe 0.1.0 is signed, but was valid until 2027-11-26 only"
    ]
    assert "valid from 2026-11-27 only" in look(protocols[:1], dt.date(2026, 11, 26))[0]


def test_they_are_refused_where_the_settings_say_so(protocols, caplog):
    with pytest.raises(ProtocolError, match=r'libre: .* unsigned.*; legal: .*unsigned_protocols = "warn"'):
        look(protocols, DAY, refuse=True)
    registry = CollectorRegistry()
    with caplog.at_level(logging.WARNING, "vigie"):
        at_start(Settings(), protocols[1:], registry)
    assert "libre 0.1.0 is unsigned" in caplog.text
    with pytest.raises(ProtocolError):
        at_start(Settings(unsigned_protocols="refuse"), protocols[1:], registry)


def test_the_metric_says_how_each_stands(protocols, monkeypatch):
    registry = CollectorRegistry()
    registry.register(Answered(protocols, "Europe/Paris"))
    monkeypatch.setattr("engine.answered.today", lambda _zone: DAY)
    said = generate_latest(registry).decode()
    assert 'vigie_protocol_signed{protocol="signe",standing="signed",version="0.1.0"} 1.0' in said
    assert 'vigie_protocol_signed{protocol="libre",standing="unsigned",version="0.1.0"} 0.0' in said
    monkeypatch.setattr("engine.answered.today", lambda _zone: dt.date(2028, 1, 1))
    said = generate_latest(registry).decode()
    assert 'vigie_protocol_signed{protocol="signe",standing="expired",version="0.1.0"} 0.0' in said


def test_the_date_is_that_of_the_zone():
    assert today("Pacific/Kiritimati") - today("Pacific/Niue") == dt.timedelta(days=1)
