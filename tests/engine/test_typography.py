"""French typography of templates, and what of them is left as it is."""

import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from engine.ecg_report import template
from engine.typography import French

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted([*ROOT.glob("engine/templates/*.html"), *ROOT.glob("triage/web/templates/*.html")])
# An ordinary space where French has one that does not break; in code no sign stands so.
LOOSE = re.compile(r"(?<=[^\s,]) [:;?!»%](?=[\s<.,)}]|$)|« ")
PROSE = {"alt", "aria-label", "placeholder", "title"}
NB, THIN = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"


class Read(HTMLParser):
    """The tags of a source, with those attributes that nobody reads."""

    def __init__(self, source):
        super().__init__(convert_charrefs=False)
        self.tags = []
        self.feed(re.sub(r"\{#.*?#\}", "", source, flags=re.DOTALL))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [each for each in attrs if each[0] not in PROSE]))


def typeset(source):
    return jinja2.Environment(extensions=[French], autoescape=True).preprocess(source)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_template_is_typeset_and_its_code_is_as_it_was(path):
    source = path.read_text(encoding="utf-8")
    made = typeset(source)
    assert len(made.splitlines()) == len(source.splitlines())
    plain = made.replace(NB, " ").replace(THIN, " ")
    assert plain == source.replace(NB, " ").replace(THIN, " ")
    assert "&nbsp;" not in source, "a space is enough: templates are typeset as they are read"
    assert Read(made).tags == Read(source).tags
    left = re.sub(r"<(style|code)\b.*?</\1>|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "|", made, flags=re.DOTALL)
    assert LOOSE.findall(left) == []


@pytest.mark.parametrize(
    ("source", "made"),
    [
        (
            "<p>Limite : {{ a }} ; « {{ b }} »</p>",
            f"<p>Limite{NB}: {{{{ a }}}}{THIN}; «{NB}{{{{ b }}}}{NB}»</p>",
        ),
        ('{{ x | join(" ; ") }} %', f'{{{{ x | join("{THIN}; ") }}}}{NB}%'),
        ("{% if a != b %}Vraiment ?{% endif %}", f"{{% if a != b %}}Vraiment{THIN}?{{% endif %}}"),
        ('{% set a = {"b" : 1} %}{{ a % 2 }}', '{% set a = {"b" : 1} %}{{ a % 2 }}'),
        ("<style>a { b : c ; }</style><code>d : e</code>", "<style>a { b : c ; }</style><code>d : e</code>"),
        (
            "<textarea>a : b</textarea>{# c : d #}<!-- e : f -->",
            "<textarea>a : b</textarea>{# c : d #}<!-- e : f -->",
        ),
    ],
)
def test_words_are_typeset_and_code_is_not(source, made):
    assert typeset(source) == made


def test_what_is_filled_in_is_as_it_is_kept_and_what_vigie_says_is_typeset():
    environment = jinja2.Environment(extensions=[French], autoescape=True)
    made = environment.from_string("Note : {{ note }}|{{ said | typeset }}").render(
        note="à 8 h : 39 !", said=ValueError("déjà pris : relisez")
    )
    assert made == f"Note{NB}: à 8 h : 39 !|déjà pris{NB}: relisez"


def test_reports_are_made_of_typeset_templates():
    assert template("replay.html").environment.extensions.keys() == {"engine.typography.French"}
