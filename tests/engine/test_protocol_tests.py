"""Protocols' own tests, through the real line: the shipped ones pass, and a wrong one is told what is wrong."""

import pytest

from engine.program import protocol_signals
from engine.protocol_tests import run
from engine.protocols import load_all, shipped
from kernels.catalogue import STATISTICS
from rules.protocol import Protocol, loads
from rules.protocol_diff import differences
from rules.protocol_words import ONLY_WORDS, TITLES

PROTOCOL = """
id = "small"
version = "1.0.0"
title = "Petit"
line = "essai"
signature = "to be signed by a clinician"

[signals.weight]
readings_per_day = 1

[signals.ecg_pause]

[signals.systolic]

[signals.diastolic]

[features.gain]
signal = "weight"
stat = "rise"
window = "3d"
label = "prise de poids"

[features.pause]
signal = "ecg_pause"
stat = "last"
window = "1d"
label = "pause"

[limits.gain_kg]
label = "limite"
default = 2.0
unit = "kg"
min = 0.5
max = 5
source = "test"
mark = "D"

[[rules]]
id = "up"
problem = "weight"
level = "ORANGE"
when = "gain >= gain_kg"
clear_when = "gain < gain_kg - 0.5"
clear_delay = "2d"
text = "Prise de {gain} (limite {gain_kg})."

[[rules]]
id = "up_more"
problem = "weight"
level = "ROUGE"
when = "gain >= gain_kg + 1"
text = "Forte prise de {gain}."

[[rules]]
id = "pause"
problem = "rhythm"
level = "ROUGE"
when = "pause >= 3"
text = "Pause de {pause}."

[[non_transmission]]
id = "no_weight"
signals = ["weight"]
orange_after = "2d"
rouge_after = "4d"
text = "Aucun poids depuis {silence}."
"""


def results(tests):
    return run(loads(PROTOCOL + tests, "small.toml", protocol_signals(), STATISTICS))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_shipped_protocols_pass_their_own_tests(name):
    (protocol,) = load_all([name])
    done = run(protocol)
    assert len(done) == len(protocol.tests) > 10
    assert [str(result) for result in done if not result.passed] == []


def test_onsets_levels_days_and_verdicts():
    (one,) = results("""
[[tests]]
name = "two rules, one after the other"
series = { weight = "80 80 82 83.1" }
expect = [
  { rule = "up", level = "ORANGE", at = "day 3" },
  { rule = "up_more", level = "ROUGE", at = "step 4" },
]
verdicts = { up = "true", up_more = "true", pause = "undetermined" }
""")
    assert one.passed, str(one)
    assert str(one).startswith("ok ")


def test_what_is_wrong_is_said():
    (one,) = results("""
[[tests]]
name = "all wrong"
series = { weight = "80 80 82 _ _" }
expect = [{ rule = "up", level = "ORANGE", at = "day 2" }]
verdicts = { up = "false", pause = "true" }
""")
    assert not one.passed
    assert one.faults == (
        "up (ORANGE) at day 2: expected, did not begin to fire",
        "up (ORANGE) at day 3, step 3: began to fire, not expected",
        "no_weight_orange (ORANGE) at day 5, step 5: began to fire, not expected",
        "verdict of up: true, expected false",
        "verdict of pause: undetermined, expected true",
    )


def test_a_rule_that_goes_on_begins_once_and_one_that_came_back_begins_again():
    # Days 3 to 6 it goes on: twice on its way to recovery, and back. Day 11 it is over for more than two days.
    (one,) = results("""
[[tests]]
name = "on, nearly over, on again; over; again"
series = { weight = "80 80 82 82.5 80 82.1 80 80 80 80 80 82.2" }
expect = [
  { rule = "up", level = "ORANGE", at = "day 3" },
  { rule = "up", level = "ORANGE", at = "day 12" },
]
""")
    assert one.passed, str(one)


def test_a_limit_set_in_one_test_is_the_default_in_the_next():
    strict, usual = results("""
[[tests]]
name = "strict"
limits = { gain_kg = 1 }
series = { weight = "80 81" }
expect = [{ rule = "up", level = "ORANGE", at = "day 2" }]

[[tests]]
name = "usual"
series = { weight = "80 81" }
""")
    assert strict.passed, str(strict)
    assert usual.passed, str(usual)


def test_what_the_ecg_gives_and_a_silence_that_the_test_does_not_speak_of():
    (one,) = results("""
[[tests]]
name = "a pause; nobody speaks of weight for ten days"
series = { ecg_pause = "_ 3.4 _ _ _ _ _ _ _ _" }
expect = [{ rule = "pause", level = "ROUGE", at = "day 2" }]
verdicts = { pause = "true", up = "undetermined" }
""")
    assert one.passed, str(one)


def test_readings_that_no_device_may_send_are_an_error():
    with pytest.raises(ValueError, match="INCONSISTENT"):
        results("""
[[tests]]
name = "diastolic above systolic"
series = { systolic = "80", diastolic = "90" }
""")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_the_differences_say_cannot_change_alerts_does_not(name):
    """Every field of `rules.protocol_words.ONLY_WORDS` at once is another: the protocol passes its tests as before."""
    (protocol,) = load_all([name])
    words = {part: {f.partition(".")[2] for f in ONLY_WORDS if f.startswith(f"{part}.")} for part in TITLES}
    other = {
        "version": "9.9.9",
        "mark": "S99",
        "unit": "x",
        "min": -1e6,
        "max": 1e6,
        "decimals": 3,
        "choices": (),
    }

    def reworded(part, each):
        changed = {field: other.get(field, "autre") for field in words[part] - {"order"}}
        return type(each).model_construct(
            **{field: getattr(each, field) for field in type(each).model_fields} | changed
        )

    def asked(each):
        items = tuple(reworded("items", item) for item in reversed(each.items))
        return reworded("questionnaires", each.model_copy(update={"items": items}))

    content = {field: getattr(protocol, field) for field in Protocol.model_fields}
    for part in ("limits", "features", "signals"):
        content[part] = {key: reworded(part, each) for key, each in content[part].items()}
    for part in ("rules", "non_transmission"):
        content[part] = tuple(reworded(part, each) for each in content[part])
    content["questionnaires"] = {key: asked(each) for key, each in content["questionnaires"].items()}
    changed = reworded("header", Protocol.model_construct(**content))
    found = differences(protocol, changed, protocol_signals())
    assert len(found) > 50
    assert {each.part for each in found if each.alerts} == set()
    assert [str(result) for result in run(changed) if not result.passed] == []
