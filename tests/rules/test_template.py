import pytest

from rules.template import filled


def test_what_is_asked_for_is_in_it_and_the_rest_is_good(world):
    protocol = world.loads(filled("poids_nord", 'Poids "nord"', "insuffisance cardiaque", "congestion"))
    assert (protocol.id, protocol.title, protocol.line) == (
        "poids_nord",
        'Poids "nord"',
        "insuffisance cardiaque",
    )
    assert {rule.problem for rule in protocol.rules} == {"congestion"}
    assert not protocol.signed
    for rule in protocol.rules:
        verdicts = {test.verdicts.get(rule.id) for test in protocol.tests}
        assert verdicts >= {"true", "false", "undetermined"}


def test_a_text_of_several_lines_is_refused():
    with pytest.raises(ValueError, match=r"title 'a\\nb': legal are"):
        filled("poids", "a\nb", "ligne", "poids")
