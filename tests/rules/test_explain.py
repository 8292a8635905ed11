import math
import re
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.explain import (
    UNDETERMINED,
    dates_text,
    figure_text,
    moment_text,
    notice,
    number_text,
    sentence,
    silence_sentence,
)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (82.4, 1, "82,4"),
        (2.0, 1, "2,0"),
        (2, 0, "2"),
        (-0.04, 1, "0,0"),
        (-2.05, 1, "−2,1"),
        (2.675, 2, "2,68"),
        (0.5, 0, "1"),
        (9999, 0, "9999"),
        (12500, 0, "12\u202f500"),
        (1234567.5, 1, "1\u202f234\u202f567,5"),
        (math.nan, 1, UNDETERMINED),
        (math.inf, 1, UNDETERMINED),
        (1e-9, 3, "0,000"),
    ],
)
def test_numbers(value, decimals, text):
    assert number_text(value, decimals) == text


def test_differences_have_their_sign():
    assert [number_text(v, 1, signed=True) for v in (2, -2, 0)] == ["+2,0", "−2,0", "0,0"]


def test_sentence(protocol):
    rule = protocol.rule("gain")
    text = sentence(protocol, rule, {"gain_3d": 2.3}, {"gain_kg": 1.36})
    assert text == "Prise de 2,3\u00a0kg en 3 jours (limite 1,36\u00a0kg)."


def test_a_figure_beside_a_limit_is_not_rounded_to_it(protocol):
    rule = protocol.rule("gain")
    for value, limit, shown in (
        (1.96, 2.0, "1,96"),
        (2.0, 2.0, "2,0"),
        (2.04, 2.0, "2,04"),
        (1.4, 1.36, "1,4"),
    ):
        text = sentence(protocol, rule, {"gain_3d": value}, {"gain_kg": limit})
        assert text.startswith(f"Prise de {shown}\u00a0kg "), text


def test_answers_differences_and_french_signs(protocol):
    rule = protocol.rule("tired_gain")
    values = {"gain_3d": 2.0, "pain": 2.0, "drift": 3.25}
    text = sentence(protocol, rule, values, {"gain_kg": 2.0, "dry_kg": 78.5})
    assert text == ("Prise de 2,0\u00a0kg, fatigue\u00a0: beaucoup\u202f; écart +3,3\u00a0kg à 78,5\u00a0kg.")


def test_what_is_missing_is_said_to_be(protocol):
    rule = protocol.rule("tired_gain")
    text = sentence(protocol, rule, {"gain_3d": 2.0, "pain": math.nan}, {})
    assert (
        text
        == f"Prise de 2,0\u00a0kg, fatigue\u00a0: {UNDETERMINED}\u202f; écart {UNDETERMINED} à {UNDETERMINED}."
    )


def test_an_answer_between_two_choices_is_a_number(protocol):
    assert figure_text(protocol.figure("pain"), 1.0) == "un peu"
    assert figure_text(protocol.figure("pain"), 7.0) == "7"


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (1, "1\u00a0heure"),
        (36.9, "36\u00a0heures"),
        (48, "2\u00a0jours"),
        (54.2, "2\u00a0jours et 6\u00a0heures"),
        (73, "3\u00a0jours et 1\u00a0heure"),
        (96, "4\u00a0jours"),
        (175, "7\u00a0jours"),
        (math.nan, UNDETERMINED),
    ],
)
def test_silence(hours, text):
    assert silence_sentence("Aucun poids depuis {silence}.", hours) == f"Aucun poids depuis {text}."


def test_an_unsigned_protocol_says_so(protocol):
    assert (
        notice(protocol) == "Protocole «\u00a0Essai\u00a0» 1.0.0 non signé\u00a0: à signer par un clinicien."
    )


@given(value=st.integers(-350_000, 350_000).map(lambda milli: milli / 1000), decimals=st.integers(0, 3))
def test_a_number_reads_back_to_within_half_a_unit(value, decimals):
    text = number_text(value, decimals)
    back = float(text.replace(",", ".").replace("−", "-").replace("\u202f", ""))
    assert abs(back - value) <= 0.5 * 10**-decimals + 1e-9


@given(value=st.floats())
def test_no_figure_ever_shows_a_point_a_nan_or_an_exponent(protocol, value):
    text = figure_text(protocol.figure("gain_3d"), value)
    assert text == UNDETERMINED or re.fullmatch(r"[−]?[\d\u202f]+,\d\u00a0kg", text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_french_signs_are_kept_on_their_line_wherever_words_and_figures_meet(shipped, data):
    """Words are typeset once, without the figures between them: no sign may stand where the two meet."""
    rule = data.draw(st.sampled_from(shipped.rules))
    values = st.sampled_from([math.nan, 0.0, 2.0, -1.25, 12_500.5])
    figures = {name: data.draw(values) for name in (*shipped.features, *shipped.limits)}
    text = sentence(shipped, rule, figures, figures)
    assert not re.search(r" [:»%;!?]|« ", text), text


halves = st.builds(lambda whole, d: (whole + 0.5) / 10**d, st.integers(0, 10**6), st.integers(0, 3))


@given(value=st.floats(0, 1e12) | halves, decimals=st.integers(0, 3))
def test_a_number_is_rounded_as_its_shortest_text_is(value, decimals):
    exact = Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    assert number_text(value, decimals).replace("\u202f", "").replace(",", ".") == f"{exact:f}"


def test_moments_and_dates_are_written_in_one_way():
    assert moment_text(1_795_784_700_000, ZoneInfo("Europe/Paris")) == "27/11/2026 14:05"
    assert (
        dates_text("decompensation 2026-03-02, death 2026-12-31")
        == "decompensation 02/03/2026, death 31/12/2026"
    )
    assert (
        dates_text("aucune ; 12-34 et 20260302 n’en sont pas") == "aucune ; 12-34 et 20260302 n’en sont pas"
    )
