"""Each field that the hash is of is compared and the right thing named; figures are written as French people do."""

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rules.durations import Duration, parse
from rules.fields import Part
from rules.levels import Level
from rules.model import (
    Expected,
    Feature,
    Header,
    Item,
    Limit,
    NonTransmission,
    Protocol,
    Questionnaire,
    Rule,
    RuleTest,
    SignalUse,
    Signature,
    Source,
)
from rules.protocol_diff import as_json, differences, marks, report
from rules.protocol_words import KEYS, ONLY_WORDS, TITLES, WORDS

SHIPPED = Path(__file__).resolve().parents[2] / "rules" / "protocols"
WORDS_OF = {
    part: WORDS[model]
    for part, model in {
        "header": Header, "rules": Rule, "non_transmission": NonTransmission, "limits": Limit, "features": Feature,
        "questionnaires": Questionnaire, "items": Item, "signals": SignalUse, "tests": RuleTest,
        "sources": Source,
    }.items()
}  # fmt: skip
LISTS = ("rules", "non_transmission", "tests")
TABLES = ("limits", "features", "questionnaires", "signals", "sources")

number = st.floats(allow_nan=False, allow_infinity=False, width=32)
whole = st.integers(0, 4095)
duration = st.builds(Duration, st.integers(1, 999), st.sampled_from("dhm"))
words = st.text(min_size=1, max_size=30).filter(str.strip)  # as `Line` wants it: blank is no text
KINDS = {
    "default": number, "min": number, "max": number, "readings_per_day": number, "max_step_per_day": number,
    "per_day": number, "code": whole, "low": whole, "high": whole, "decimals": whole,
    "window": duration, "raise_delay": duration, "clear_delay": duration, "orange_after": duration,
    "rouge_after": duration, "step": duration, "level": st.sampled_from(Level),
    "signals": st.lists(words, min_size=1, max_size=3).map(tuple),
    "choices": st.lists(words, max_size=3).map(tuple),
    "start": st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)),
    "expect": st.lists(
        st.builds(Expected, rule=st.just("gain"), level=st.just("ORANGE"), at=st.integers(1, 99).map("day {}".format)),
        max_size=3,
    ).map(tuple),
    "parameters": number, "verdicts": st.sampled_from(["true", "false", "undetermined"]),
    "series": words,
}  # fmt: skip


def rebuilt(part, **changed):
    """The same part with other fields; nothing of it is checked or kept, the hash neither."""
    return type(part).model_construct(
        **{name: getattr(part, name) for name in type(part).model_fields} | changed
    )


def places(protocol):
    """Every field of every part: part, key, field, and the name in it where the field is a table."""
    for field in ("id", "version", "title", "line"):
        yield "header", "", field, None
    parts = [(part, key, each) for part in TABLES for key, each in getattr(protocol, part).items()]
    parts += [
        (part, getattr(each, KEYS[type(each)]), each) for part in LISTS for each in getattr(protocol, part)
    ]
    parts += [
        ("items", f"{name}.{item.name}", item)
        for name, each in protocol.questionnaires.items()
        for item in each.items
    ]
    for part, key, each in parts:
        for field in type(each).model_fields:
            if field == KEYS.get(type(each)) or (part == "questionnaires" and field == "items"):
                continue
            value = getattr(each, field)
            if isinstance(value, dict):
                yield from ((part, key, field, name) for name in value)
            else:
                yield part, key, field, None


def piece(protocol, part, key):
    if part == "header":
        return protocol
    if part == "items":
        name, _, item = key.partition(".")
        return next(each for each in protocol.questionnaires[name].items if each.name == item)
    if part in TABLES:
        return getattr(protocol, part)[key]
    return next(each for each in getattr(protocol, part) if getattr(each, KEYS[type(each)]) == key)


def with_piece(protocol, part, key, new):
    """The protocol with `new` in the place of a piece; None takes it away."""
    if part == "header":
        return new
    if part == "items":
        name, _, item = key.partition(".")
        old = protocol.questionnaires[name]
        items = tuple(new if each.name == item else each for each in old.items)
        changed = {**protocol.questionnaires, name: rebuilt(old, items=tuple(each for each in items if each))}
        return rebuilt(protocol, questionnaires=changed)
    old = getattr(protocol, part)
    if part in TABLES:
        table = {name: new if name == key else each for name, each in old.items()}
        return rebuilt(protocol, **{part: {name: each for name, each in table.items() if each is not None}})
    row = [new if getattr(each, KEYS[type(each)]) == key else each for each in old]
    return rebuilt(protocol, **{part: tuple(each for each in row if each is not None)})


def drawn(data, protocol):
    """A place, its value, another one, and the protocol with that; protocols are too long to be drawn themselves."""
    every = list(places(protocol))
    part, key, field, name = every[data.draw(st.integers(0, len(every) - 1))]
    old = piece(protocol, part, key)
    before = getattr(old, field)[name] if name else getattr(old, field)
    kind = number if (part, field) == ("tests", "limits") else KINDS.get(field, words)
    if isinstance(before, str) and field == "parameters":
        kind = words
    after = data.draw(kind)
    assume(json.dumps(plain(after)) != json.dumps(plain(before)))
    value = {**getattr(old, field), name: after} if name else after
    changed = with_piece(protocol, part, key, rebuilt(old, **{field: value}))
    return part, key, f"{field}.{name}" if name else field, before, after, changed


def said(value):
    """A word or a duration of JSON, as it is read."""
    try:
        return parse(value).french.replace("\N{NO-BREAK SPACE}", " ")
    except ValueError:
        return value


def plain(value):
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Part):
        return value.model_dump(mode="json")
    if isinstance(value, Level):
        return value.name
    return str(value) if isinstance(value, dt.date | Duration) else value


def test_a_protocol_is_no_different_from_itself(shipped, world):
    again = world.loads((SHIPPED / f"{shipped.id}.toml").read_text(encoding="utf-8"))
    assert differences(shipped, again, world.signals) == ()
    assert report(shipped, again, ()).endswith("Aucune différence.")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(data=st.data())
def test_every_change_of_one_field_is_reported_and_names_it(shipped, world, data):
    part, key, field, before, after, changed = drawn(data, shipped)
    assert changed.hash != shipped.hash
    (found,) = differences(shipped, changed, world.signals)
    assert (found.part, found.key, found.field, found.change) == (part, key, field, "changed")
    assert (found.before, found.after) == (plain(before), plain(after))
    assert key.replace("items.", "") in found.text
    then, _, now = found.text.rpartition(" → ")
    assert then
    assert now
    if WORDS_OF[part].get(field.partition(".")[0]):
        assert WORDS_OF[part][field.partition(".")[0]] in found.text
    (back,) = differences(changed, shipped, world.signals)
    assert (back.before, back.after, back.alerts) == (found.after, found.before, found.alerts)
    assert TITLES[part] in report(shipped, changed, [found]).splitlines()
    assert json.loads(json.dumps(as_json(shipped, changed, [found])))["differences"][0]["text"] == found.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_what_is_taken_away_or_added_is_said_whole(shipped, world, data):
    here = sorted({(part, key) for part, key, _, _ in places(shipped)} - {("header", "")})
    part, key = data.draw(st.sampled_from(here))
    less = with_piece(shipped, part, key, None)
    found = differences(shipped, less, world.signals)
    gone = [each for each in found if (each.part, each.key) == (part, key)]
    assert [(each.change, each.field, each.after) for each in gone] == [("removed", "", None)]
    # With a questionnaire go its questions, and nothing else.
    assert all(part == "questionnaires" and each.part == "items" for each in found if each not in gone)
    back = differences(less, shipped, world.signals)
    assert [(each.change, each.part, each.key, each.after) for each in back] == [
        ("added", each.part, each.key, each.before) for each in found
    ]
    content = gone[0].before
    for value in content.values():
        if isinstance(value, str) and " " not in value and part != "tests":
            assert said(value) in gone[0].text


@pytest.mark.parametrize("part", LISTS)
def test_another_order_is_a_difference_as_it_is_for_the_hash(shipped, world, part):
    old = getattr(shipped, part)
    turned = rebuilt(shipped, **{part: old[::-1]})
    found = differences(shipped, turned, world.signals)
    if len(old) == 1:
        assert found == ()
        return
    assert turned.hash != shipped.hash
    assert [(each.part, each.field) for each in found] == [(part, "order")]


def test_tables_have_no_order_and_questions_do(shipped, world):
    turned = rebuilt(shipped, **{part: dict(reversed(getattr(shipped, part).items())) for part in TABLES})
    assert turned.hash == shipped.hash
    assert differences(shipped, turned, world.signals) == ()
    for name, each in shipped.questionnaires.items():
        asked = {**shipped.questionnaires, name: rebuilt(each, items=each.items[::-1])}
        (found,) = differences(shipped, rebuilt(shipped, questionnaires=asked), world.signals)
        assert (found.part, found.field, found.alerts) == ("items", "order", False)


def test_figures_are_written_as_french_people_do(world, good, protocol):
    def said(old, new):
        return [
            each.text for each in differences(protocol, world.loads(good.replace(old, new, 1)), world.signals)
        ]

    assert said("default = 2.0", "default = 1.5") == ["prise de poids (gain_kg) : 2,0 → 1,5 kg"]
    assert said("default = 2.0\n", "") == ["prise de poids (gain_kg) : 2 kg → à fixer"]
    assert said("max = 5\nsource", "max = 6\nsource") == [
        "prise de poids (gain_kg) : maximum permis : 5 → 6 kg"
    ]
    assert said("max_step_per_day = 5.0", "max_step_per_day = 4.5") == [
        "poids (weight) : saut permis par jour : 5,0 → 4,5 kg"
    ]
    assert said('raise_delay = "30m"', 'raise_delay = "2h"') == [
        "gain : confirmée après : 30 minutes → 2 heures"
    ]
    assert said('raise_delay = "30m"\n', "") == ["gain : confirmée après : 30 minutes → aucun"]
    assert said('clear_when = "gain_3d < gain_kg - 0.3"\n', "") == [
        "gain : fin : gain_3d < gain_kg - 0.3 → condition fausse"
    ]
    assert said("gain_3d >= gain_kg AND", "gain_3d >=  gain_kg AND") == [
        "tired_gain : condition : 'gain_3d >= gain_kg AND pain = 2' → 'gain_3d >=  gain_kg AND pain = 2'"
    ]
    assert said('mark = "S17"', 'mark = "G"') == ["prise de poids (gain_kg) : marque : S17 → G (à signer)"]
    assert said('"un peu"', '"assez"') == [
        "fatigue (pain) : réponses affichées : non ; un peu ; beaucoup → non ; assez ; beaucoup",
        "Fatigué ? (jour.tired) : réponses : non ; un peu ; beaucoup → non ; assez ; beaucoup",
    ]
    assert said('orange_after = "2d"', 'orange_after = "36h"') == [
        "no_weight : ORANGE après : 2 jours → 36 heures"
    ]
    assert said('at = "day 7"', 'at = "day 6"') == [
        "gain : alertes attendues : gain ORANGE jour 7 → gain ORANGE jour 6"
    ]


def test_what_cannot_change_an_alert_is_told_from_what_can(world, good, protocol):
    words = good.replace("en 3 jours (limite", "en trois jours (limite").replace("1.0.0", "1.0.1")
    found = differences(protocol, world.loads(words), world.signals)
    assert [each.alerts for each in found] == [False, False]
    assert report(protocol, world.loads(words), found).endswith(
        "2 différences, aucune ne peut changer les alertes."
    )
    level = good.replace('level = "ORANGE"', 'level = "ROUGE"', 1).replace(
        'rule = "gain", level = "ORANGE"', 'rule = "gain", level = "ROUGE"'
    )
    found = differences(protocol, world.loads(level), world.signals)
    assert [(each.part, each.alerts) for each in found] == [("rules", True), ("tests", False)]
    assert report(protocol, world.loads(level), found).endswith(
        "2 différences, dont 1 peut changer les alertes."
    )


def test_a_signature_is_a_difference_though_the_hash_is_the_same(world, protocol):
    by = Signature(name="Dr A. Martin", role="cardiologue", date=dt.date(2026, 11, 2), hash=protocol.hash)
    signed = protocol.model_copy(update={"signature": by})
    (found,) = differences(protocol, signed, world.signals)
    assert (found.part, found.change, found.alerts) == ("signature", "added", False)
    assert "Dr A. Martin" in found.text
    longer = by.model_copy(update={"valid_until": dt.date(2027, 12, 31)})
    (found,) = differences(signed, protocol.model_copy(update={"signature": longer}), world.signals)
    assert (found.field, found.text) == ("valid_until", "valable jusqu'au : aucun → 31/12/2027")


def test_two_tests_of_one_name_are_two(world, good, protocol):
    twice = world.loads(good + good[good.index("[[tests]]") :])
    (found,) = differences(protocol, twice, world.signals)
    assert (found.part, found.key, found.change) == ("tests", "gain (2)", "added")


def test_another_reference_of_a_mark_is_told_and_changes_no_alert(world, good, protocol):
    sources = '[sources]\nS17 = "ESC, Weight gain, 2020"\n\n'
    at = good.index("[signals.weight]")
    cited = world.loads(good[:at] + sources + good[at:])
    (found,) = differences(protocol, cited, world.signals)
    assert (found.part, found.key, found.change, found.alerts) == ("sources", "S17", "added", False)
    newer = world.loads(good[:at] + sources.replace("2020", "2024") + good[at:])
    (found,) = differences(cited, newer, world.signals)
    assert found.text == "S17 : « ESC, Weight gain, 2020 » → « ESC, Weight gain, 2024 »"


def test_the_marks_that_differences_speak_of_have_their_key(world, good, protocol):
    at = good.index("[signals.weight]")
    cited = good[:at] + '[sources]\nS23 = "Black, BEAT-HF, 2014"\n\n' + good[at:].replace('"S17"', '"S23"')
    newer = world.loads(cited)
    found = differences(protocol, newer, world.signals)
    key = {"S17": "source que ce protocole ne cite pas", "S23": "Black, BEAT-HF, 2014"}
    assert marks(protocol, newer, found) == key
    assert "  S23 : Black, BEAT-HF, 2014" in report(protocol, newer, found).splitlines()
    without = world.loads(good.replace("default = 2.0", "default = 2.5"))
    assert "Marques" not in report(protocol, without, differences(protocol, without, world.signals))
    fewer = world.loads(
        good.replace(
            "[features.pain]",
            '[features.more]\nsignal = "tired"\nstat = "last"\nlabel = "plus"\nmark = "D"\n\n[features.pain]',
        )
    )
    (found,) = differences(protocol, fewer, world.signals)
    assert marks(protocol, fewer, [found]) == {"D": "proposition de conception : à signer par un clinicien"}


def test_no_field_of_a_protocol_is_without_words():
    assert set(WORDS) >= set(KEYS)
    for model, fields in WORDS.items():
        assert set(fields) == set(model.model_fields) - {KEYS.get(model)}
    parts = set(Protocol.model_fields) - {"id", "version", "title", "line"}
    assert parts | {"header", "items"} == set(TITLES)
    assert {name.partition(".")[2] for name in ONLY_WORDS} - {"order"} <= {
        f for w in WORDS.values() for f in w
    }
    assert "items" in Questionnaire.model_fields
