"""The words of pages: French typography, and French for every action of the audit trail."""

import ast
import re
from pathlib import Path

import pytest

from triage.web.words import BACK, DEEDS, KINDS, answered, figure
from triage.work.clockwork import Kind

TRIAGE = Path(__file__).resolve().parents[3] / "triage"
SCRIPTS = sorted((TRIAGE / "web" / "static" / "js").glob("*.js"))
NOTED = {"seen", "note", "_note", "_move", "Deed"}
NB = "\N{NO-BREAK SPACE}"


def loose(text):
    """Whether an ordinary space stands where French has one that does not break."""
    return re.search(r"\w [:;?!»]|« ", text) is not None


def noted():
    """Actions that the code notes: the lower-case words among what the calls that write an entry are given."""
    for path in TRIAGE.rglob("*.py"):
        # The register of identities has a journal of its own.
        if path.parent.name == "identity":
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in NOTED:
                for given in call.args:
                    for each in [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]:
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value


def test_every_action_of_the_trail_has_french_words():
    found = {each for each in noted() if each and each != "vigie"} | {kind.value for kind in Kind}
    assert {"signed in", "limits taken back", "claimed", "patient seen", "account reset"} <= found
    assert found - DEEDS.keys() == set()


@pytest.mark.parametrize("table", [KINDS, DEEDS, BACK], ids=["kinds", "deeds", "back"])
def test_words_are_typeset(table):
    assert [text for text in table.values() if loose(text)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_scripts_say_is_typeset(path):
    source = re.sub(r"/\*.*?\*/|//.*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [
        said for said in re.findall(r"[\"`]([^\"`\n]*)[\"`]", source) if loose(said) and "${" not in said
    ] == []


def test_an_answer_is_said_in_words_and_a_ratio_without_a_unit():
    assert (
        answered(1.0, "", ("Non", "Oui, même pour parler !"))
        == "Oui, même pour parler\N{NARROW NO-BREAK SPACE}!"
    )
    assert answered(2.0, "", ("Non", "Oui")) == "2"
    assert answered(None, "", ("Non", "Oui")) == "–"
    assert answered(93.0, "%") == f"93{NB}%"
    assert figure(1.0, "1") == "1"
