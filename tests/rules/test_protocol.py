"""What is read, and every mistake that is told: with its line, its key and what is legal."""

# ruff: noqa: E501  (a table has one row a line)

import datetime as dt

import pytest
from pydantic import ValidationError

from rules.durations import Duration
from rules.levels import Level
from rules.protocol import NonTransmission, Protocol, ProtocolError, Rule, check_together, load


def line_of(text, part):
    return next(k for k, row in enumerate(text.splitlines(), 1) if part in row)


def test_reads(protocol):
    assert protocol.id == "essai"
    assert not protocol.signed
    gain = protocol.rule("gain")
    assert (gain.level, gain.raise_delay, gain.clear_delay) == (Level.ORANGE, Duration(30, "m"), None)
    assert gain.names == ("gain_3d", "gain_kg")
    assert protocol.triggers(gain) == {"weight"}
    assert protocol.triggers(protocol.rule("tired_gain")) == {"weight", "tired"}
    assert protocol.features_of(protocol.rule("tired_gain")) == ("gain_3d", "pain", "drift")
    assert protocol.limits_of(protocol.rule("tired_gain")) == ("gain_kg", "dry_kg")
    assert protocol.items["tired"].range == (0, 2)
    assert protocol.features["gain_3d"].window.window == 3
    assert protocol.non_transmission[0].stages == (
        ("no_weight_orange", Level.ORANGE, Duration(2, "d")),
        ("no_weight_rouge", Level.ROUGE, Duration(4, "d")),
    )
    test = protocol.tests[0]
    assert (test.expect[0].place, test.step, test.start) == (
        ("day", 7),
        Duration(1, "d"),
        dt.date(2026, 1, 5),
    )


def test_figures_have_the_unit_and_decimals_of_their_signal(protocol):
    gain, pain, limit = (protocol.figure(name) for name in ("gain_3d", "pain", "gain_kg"))
    assert (gain.unit, gain.decimals, gain.signed) == ("kg", 1, False)
    assert (pain.unit, pain.choices) == ("", ("non", "un peu", "beaucoup"))
    assert limit.unit == "kg"
    assert protocol.figure("drift").signed


def test_what_a_clinician_must_sign(protocol):
    assert protocol.to_sign == (
        "limits.dry_kg",
        "rules.gain",
        "rules.tired_gain",
        "non_transmission.no_weight",
    )


def test_a_protocol_is_frozen(protocol):
    with pytest.raises(ValidationError, match="frozen"):
        protocol.version = "2.0.0"
    with pytest.raises(ValidationError, match="frozen"):
        protocol.limits["gain_kg"].default = 9.0


def test_hash_is_of_the_content(world, good, protocol):
    assert len(protocol.hash) == 16
    assert world.loads("# a comment\n" + good).hash == protocol.hash
    assert world.loads(good.replace("default = 2.0", "default = 2")).hash == protocol.hash
    assert world.loads(good.replace("default = 2.0", "default = 2.1")).hash != protocol.hash
    assert world.loads(good.replace("4d", "5d")).hash != protocol.hash


def test_a_protocol_without_titles_keeps_its_hash_and_shows_identifiers(world, good, protocol):
    assert protocol.hash == "30fea9cb316e7090"  # from before there were titles: signatures of then hold
    assert [protocol.title_of(name) for name in ("gain", "no_weight_rouge")] == ["gain", "no_weight_rouge"]
    titled = world.loads(
        good.replace('id = "gain"', 'id = "gain"\ntitle = "Prise de poids"').replace(
            'id = "no_weight"', 'id = "no_weight"\ntitle = "Aucun poids reçu"'
        )
    )
    assert titled.hash != protocol.hash
    said = [titled.title_of(name) for name in ("gain", "no_weight_rouge", "no_weight_orange", "gone")]
    assert said == ["Prise de poids", "Aucun poids reçu, ROUGE", "Aucun poids reçu, ORANGE", "gone"]


def test_a_source_is_named_by_one_mark_and_cited_in_words(world, good):
    at = good.index("[signals.weight]")
    with pytest.raises(ProtocolError) as caught:
        world.loads(good[:at] + '[sources]\nS1x = "A, B, 2020"\nG = "C"\nS2 = 3\n\n' + good[at:])
    assert [(each.line, each.key) for each in caught.value.mistakes] == [
        (8, "sources.S1x.name"),
        (9, "sources.G.name"),
        (10, "sources.S2.reference"),
    ]
    with pytest.raises(ProtocolError, match="sources: is not a table"):
        world.loads('sources = "S17"\n' + good)


SIGNED = 'signature = { name = "Dr A. Martin", role = "cardiologue", date = 2026-11-02, hash = "%s" }'


def test_a_signature_is_of_this_very_content(world, good, protocol):
    unsigned = 'signature = "to be signed by a clinician"'
    signed = good.replace(unsigned, SIGNED % protocol.hash)
    assert world.loads(signed).signed
    assert world.loads(signed).hash == protocol.hash
    with pytest.raises(ProtocolError) as caught:
        world.loads(signed.replace("default = 2.0", "default = 2.5"))
    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.line) == ("signature.hash", 5)
    assert "was changed after it was signed" in mistake.wrong


# Each: what is replaced in the good file, by what; the key, part of its line, what is wrong, part of what is legal.
MISTAKES = {
    "top key": ('line = "essai"', 'lines = "essai"', "lines", "lines =", "unknown key 'lines'", "'line'"),
    "missing": ('title = "Essai"\n', "", "title", "", "is missing", ""),
    "version": ('"1.0.0"', '"1.0"', "version", "version =", "'1.0' has another form", "1.0.0"),
    "signature": ("to be signed by", "signed by", "signature", "signature =", "signed by a", "to be signed by a clinician"),
    "unknown signal": ("[signals.spo2]", "[signals.spo3]", "signals.spo3", "[signals.spo3]", "unknown signal", "'spo2'"),
    "waveform": ("[signals.spo2]", "[signals.ecg_lead_i]", "signals.ecg_lead_i", "[signals.ecg", "waveform", "single"),
    "merged signal": (
        "[signals.spo2]", "[signals.heart_rate_cuff]", "signals.heart_rate_cuff", "_cuff]", "join", "heart_rate",
    ),
    "signal key": ("max_step_per_day", "max_step", "signals.weight.max_step", "max_step =", "unknown key", "max_step_per_day"),
    "not a number": ("max_step_per_day = 5.0", 'max_step_per_day = "5"', "signals.weight.max_step_per_day", '"5"', "'5'", "a number"),
    "undeclared": ('signal = "tired"', 'signal = "spo"', "features.pain.signal", '"spo"', "not declared", "'spo2'"),
    "declare it": (
        'signal = "tired"', 'signal = "systolic"', "features.pain.signal", '"systolic"', "not declared",
        "[signals.systolic] in this file",
    ),
    "no signal": ('signal = "tired"\n', "", "features.pain", "[features.pain]", "needs a signal", "signals = [...]"),
    "two signals": (
        'signal = "tired"', 'signals = ["tired", "spo2"]', "features.pain.signals", "signals = [", "is given 2 signals", "series",
    ),
    "statistic": ('stat = "rise"', 'stat = "rize"', "features.gain_3d.stat", '"rize"', "unknown statistic", "'rise'"),
    "no window": ('window = "3d"\n', "", "features.gain_3d.window", "[features.gain_3d]", "is missing", "'3d'"),
    "bad window": ('window = "3d"', 'window = "3 days"', "features.gain_3d.window", "3 days", "not a duration", "'3d'"),
    "window of none": ('limit = "dry_kg"', 'limit = "dry_kg"\nwindow = "3d"', "features.drift.window", "", "no window", "no window key"),
    "no limit": ('limit = "dry_kg"\n', "", "features.drift.limit", "[features.drift]", "is missing", "compared"),
    "limit name": ('limit = "dry_kg"', 'limit = "dri_kg"', "features.drift.limit", "dri_kg", "unknown limit", "'dry_kg'"),
    "limit of none": ('window = "1d"', 'window = "1d"\nlimit = "dry_kg"', "features.pain.limit", "", "refers to no limit", "no limit key"),
    "parameter": ('window = "1d"', 'window = "1d"\nwindows = 2', "features.pain.windows", "windows = 2", "unknown key 'windows'", "'window'"),
    "parameter missing": ('stat = "rise"', 'stat = "slope"', "features.gain_3d.min_points", "[features.gain_3d]", "is missing", "fewest"),
    "parameter value": (
        'stat = "rise"', 'stat = "slope"\nmin_points = 1', "features.gain_3d.min_points", "min_points = 1", "min_points = 1", "",
    ),
    "decimals": ('window = "1d"', 'window = "1d"\ndecimals = 9', "features.pain.decimals", "decimals = 9", "9", ""),
    "label": ('label = "fatigue"\n', "", "features.pain.label", "[features.pain]", "is missing", ""),
    "reserved": ("[features.pain]", "[features.between]", "features.between", "[features.between]", "word of conditions", "any other"),
    "feature name": ("[features.pain]", "[features.Pain]", "features.Pain.name", "[features.Pain]", "'Pain'", "lower-case"),
    "both": ("[limits.dry_kg]", "[limits.gain_3d]", "limits.gain_3d", "[limits.gain_3d]", "a feature and a limit", "of its own"),
    "range": ("min = 0.5", "min = 6", "limits.gain_kg", "[limits.gain_kg]", "min 6 is not below max 5", ""),
    "default": ("default = 2.0", "default = 9", "limits.gain_kg", "[limits.gain_kg]", "default 9 is outside", "0.5 to 5 kg"),
    "nan": ("default = 2.0", "default = nan", "limits.gain_kg.default", "default = nan", "nan", ""),
    "mark": ('mark = "S17"', 'mark = "S17, X"', "limits.gain_kg.mark", "S17, X", "'S17, X'", "S1 to S85, G, D, Thesis"),
    "no mark": ('mark = "S17"\n', "", "limits.gain_kg.mark", "[limits.gain_kg]", "is missing", ""),
    "level": ('level = "ORANGE"\nwhen', 'level = "ORANJ"\nwhen', "rules[0].level", "ORANJ", "not a level", "TECHNIQUE, ORANGE, ROUGE"),
    "rule key": ("raise_delay", "raise_dilay", "rules[0].raise_dilay", "raise_dilay", "unknown key", "'raise_delay'"),
    "mute": ("raise_delay", "mute = true\nraise_delay", "rules[0].mute", "mute = true", "unknown key 'mute'", ""),
    "rule twice": ('id = "tired_gain"', 'id = "gain"', "rules[1].id", "", "is there twice", "an id of its own"),
    "when name": ('gain_3d >= gain_kg"', 'gian_3d >= gain_kg"', "rules[0].when", "gian_3d", "unknown name 'gian_3d'", "'gain_3d'"),
    "when syntax": ('gain_3d >= gain_kg"', 'gain_3d >= "', "rules[0].when", 'when = "gain_3d >= "', "not a condition", "AND, OR"),
    "when number": ('gain_3d >= gain_kg"', 'gain_3d"', "rules[0].when", 'when = "gain_3d"', "is a number", "comparison"),
    "when constant": ('gain_3d >= gain_kg"', 'gain_kg > 2"', "rules[0].when", 'when = "gain_kg > 2"', "names no feature", "gain_3d"),
    "when code": ('gain_3d >= gain_kg"', '__import__(1) > gain_3d"', "rules[0].when", "__import__", "unknown function", "ABS"),
    "clear name": ("gain_3d < gain_kg", "gain_3d < gain_lb", "rules[0].clear_when", "gain_lb", "unknown name", "'gain_kg'"),
    "delay": ('"30m"', '"30 min"', "rules[0].raise_delay", "30 min", "not a duration", "'30m'"),
    "placeholder": ("Prise de {gain_3d} en", "Prise de {gain} en", "rules[0].text", "{gain} en", "{gain} names nothing", "'gain_3d'"),
    "brace": ("Prise de {gain_3d} en", "Prise de gain_3d} en", "rules[0].text", "gain_3d} en", "brace without its pair", "{name}"),
    "code low": ("code = 256", "code = 12", "questionnaires.jour.items[0].code", "code = 12", "12", ""),
    "item is a signal": ('name = "tired"', 'name = "weight"', "questionnaires.jour.items[0].name", '"weight"', "is a signal", "another name"),
    "one choice": ('["non", "un peu", "beaucoup"]', '["non"]', "questionnaires.jour.items[0]", "[[questionnaires", "two choices", ""),
    "silence order": ('"4d"', '"1d"', "non_transmission[0]", "[[non_", "orange_after 2d is not below rouge_after 1d", ""),
    "silence too long": ('"4d"', '"400d"', "non_transmission[0]", "[[non_", "rouge_after 400d is too long", "at most 31d"),
    "silence signal": ('signals = ["weight"]', 'signals = ["wait"]', "non_transmission[0].signals", "wait", "not declared", "'weight'"),
    "silence none": ('signals = ["weight"]', "signals = []", "non_transmission[0].signals", "signals = []", "", ""),
    "silence off": ('orange_after = "2d"', 'orange_after = "2d"\nenabled = false', "non_transmission[0].enabled", "enabled", "unknown key 'enabled'", ""),
    "silence text": ("{silence}", "{jours}", "non_transmission[0].text", "{jours}", "names nothing", "silence"),
    "silence id": ('id = "no_weight"', 'id = "gain"', None, "", "", ""),
    "series": ("80.1x3", "80.1*3", "tests[0].series.weight", "80.1*3", "'80.1*3' is not a value", "'x3'"),
    "series value": ("80.1x3", "8", "tests[0].series.weight", "80.2 _ 8", "8 at step 4 is implausible", "25 to 350"),
    "series signal": ("{ weight = ", "{ wait = ", "tests[0].series", "wait =", "'wait' is not declared", "'weight'"),
    "expected rule": ('rule = "gain"', 'rule = "gian"', "tests[0].expect[0]", "gian", "unknown rule", "'gain'"),
    "expected level": ('"gain", level = "ORANGE"', '"gain", level = "ROUGE"', "tests[0].expect[0]", "expect =", "has not the level", "ORANGE"),
    "expected late": ("day 7", "day 8", "tests[0].expect[0]", "day 8", "after the end", "1 to 7"),
    "expected at": ("day 7", "7", "tests[0].expect[0].at", '"7"', "'7' has another form", "'day 6'"),
    "verdict": ('gain = "true"', 'gain = "yes"', "tests[0].verdicts.gain", "yes", "'yes'", "'undetermined'"),
    "verdict rule": ('gain = "true"', 'gian = "true"', "tests[0].verdicts.gian", "gian", "unknown rule", "'gain'"),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, (*_, key, _, _, _) in MISTAKES.items() if key is not None])
def test_a_mistake_is_told_with_its_line_and_what_is_legal(world, good, name):
    old, new, key, at, wrong, legal = MISTAKES[name]
    assert old in good
    text = good.replace(old, new, 1)
    with pytest.raises(ProtocolError) as caught:
        world.loads(text, "essai.toml")
    told = [m for m in caught.value.mistakes if m.key == key]
    assert told, str(caught.value)
    mistake = next((m for m in told if wrong in m.wrong), told[0])
    assert wrong in mistake.wrong
    assert legal in mistake.legal
    assert mistake.file == "essai.toml"
    if at:
        assert mistake.line == line_of(text, at)
    assert str(mistake) in str(caught.value)


def test_all_mistakes_are_told_in_the_order_of_the_file(world, good):
    text = good
    for name in ("version", "unknown signal", "statistic", "mark", "level", "clear name", "expected late"):
        text = text.replace(*MISTAKES[name][:2], 1)
    with pytest.raises(ProtocolError) as caught:
        world.loads(text)
    mistakes = caught.value.mistakes
    assert [m.line for m in mistakes] == sorted(m.line for m in mistakes)
    keys = [m.key for m in mistakes]
    for key in (
        "version",
        "signals.spo3",
        "features.gain_3d.stat",
        "limits.gain_kg.mark",
        "rules[0].level",
        "tests[0].expect[0]",
    ):
        assert key in keys


def test_without_an_alert_for_silence_a_protocol_is_refused(world, good):
    start, end = good.index("[[non_transmission]]"), good.index("[[tests]]")
    with pytest.raises(ProtocolError, match="must tell when nothing is received any more"):
        world.loads(good[:start] + good[end:])
    with pytest.raises(ProtocolError, match="must tell when nothing"):
        world.loads("non_transmission = []\n" + good[:start] + good[end:])


def test_no_key_mutes_or_disables_anything():
    for model in (Protocol, Rule, NonTransmission):
        for field in model.model_fields:
            assert not any(word in field for word in ("mute", "enable", "disable", "shelve", "off", "silent"))


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("a = 1\nb = = 2\n", 2, "is not TOML"),
        ("rules = 3\n", 1, "is not an array of tables"),
        ("[rules]\n", 1, "is not an array of tables"),
        ("features = 3\n", 1, "is not a table of tables"),
        ("[features]\ngain = 3\n", 1, "is not a table of tables"),
        ("signals = []\n", 1, "is not a table of tables"),
        ("[limits]\ngain = 3\n", 2, "is not a table"),
        ("[limits.gain]\nname = 'x'\n", 2, "unknown key 'name'"),
        ("[questionnaires.x]\nitems = 3\n", 2, "3"),
    ],
)
def test_another_shape(world, text, line, wrong):
    with pytest.raises(ProtocolError) as caught:
        world.loads(text)
    assert any(m.line == line and wrong in m.wrong for m in caught.value.mistakes), str(caught.value)


def test_a_file_that_cannot_be_read(world, tmp_path):
    with pytest.raises(ProtocolError, match="cannot be read"):
        load(tmp_path / "absent.toml", world.signals, world.statistics)
    (tmp_path / "latin.toml").write_bytes("titre = 'é'".encode("latin-1"))
    with pytest.raises(ProtocolError, match="is not UTF-8"):
        load(tmp_path / "latin.toml", world.signals, world.statistics)


def test_protocols_side_by_side(world, good, protocol):
    other = good.replace('id = "essai"', 'id = "autre"')
    apart = other.replace("code = 256", "code = 300").replace('"tired"', '"weary"')
    check_together([protocol, world.loads(apart)])
    with pytest.raises(ProtocolError, match="two protocols are called 'essai'"):
        check_together([protocol, protocol])
    with pytest.raises(ProtocolError, match="code 256 is an item of 'essai'"):
        check_together([protocol, world.loads(other.replace('"tired"', '"weary"'))])
    with pytest.raises(ProtocolError, match="the name is an item of 'essai'"):
        check_together([protocol, world.loads(other.replace("code = 256", "code = 300"))])


@pytest.mark.parametrize(
    ("stat", "window", "wrong", "legal"),
    [
        ('"mean"', "12h", None, None),
        ('"mean"', "30m", None, None),
        ('"slope"\nmin_points = 2', "72h", "slope counts local days, 72h does not", "'3d'"),
        ('"slope"\nmin_points = 2', "1d", "1d is too short for slope", "at least 2d"),
        ('"slope"\nmin_points = 2', "61d", "61d is too long for slope", "at most 60d"),
    ],
)
def test_windows(world, good, stat, window, wrong, legal):
    text = good.replace('"rise"\nwindow = "3d"', f'{stat}\nwindow = "{window}"')
    if wrong is None:
        assert str(world.loads(text).features["gain_3d"].window) == window
        return
    with pytest.raises(ProtocolError) as caught:
        world.loads(text)
    (mistake,) = caught.value.mistakes
    assert (mistake.key, mistake.wrong) == ("features.gain_3d.window", wrong)
    assert legal in mistake.legal
