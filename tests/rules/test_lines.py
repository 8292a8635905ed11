import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.lines import error_line, key_lines, line_of, spell

TEXT = '''\
# comment
top = 1
dotted.key = "a = b" # [not.a.table]

[table]
list = [
  1, # one
  2,
]
text = """
[not]
a = header
"""
"quoted = key" = 2
[table.inner]
x = { a = 1, b = 2 }
[[many]]
id = "first"
[[many]]
id = "second"
[many.sub]
y = 1
[[many.deep]]
z = 1
[[many.deep]]
z = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("dotted",), 3),
        (("dotted", "key"), 3),
        (("table",), 5),
        (("table", "list"), 6),
        (("table", "text"), 10),
        (("table", "quoted = key"), 14),
        (("table", "inner", "x"), 16),
        (("many", 0), 17),
        (("many", 0, "id"), 18),
        (("many", 1), 19),
        (("many", 1, "sub", "y"), 22),
        (("many", 1, "deep", 0, "z"), 24),
        (("many", 1, "deep", 1, "z"), 26),
    ],
)
def test_line_of_a_key(path, line):
    tomllib.loads(TEXT)
    assert line_of(path, key_lines(TEXT)) == line


def test_what_has_no_line_has_the_line_of_what_is_around_it():
    lines = key_lines(TEXT)
    assert line_of(("table", "absent"), lines) == 5
    assert line_of(("table", "inner", "x", "b"), lines) == 16
    assert line_of(("absent",), lines) == 0


def test_spelling():
    assert spell(("rules", 2, "when")) == "rules[2].when"
    assert spell(()) == ""


def test_line_of_a_syntax_error():
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads("a = 1\nb = \n")
    assert error_line(caught.value) == 2


_KEY = st.text("abc_-1", min_size=1, max_size=4)
_VALUE = st.sampled_from(
    [
        "1",
        '"a # b = [c]"',
        "'x'",
        "[1,\n 2]",
        '"""\nq = 1\n[t]\n"""',
        "{ a = 1 }",
        "'''\n\n'''",
        "[[1],\n\n[2]]",
    ]
)


@given(st.lists(st.tuples(st.sampled_from(["key", "table", "array", "blank"]), _KEY, _VALUE), max_size=12))
def test_every_key_of_any_file_is_found_on_its_line(pieces):
    """The line that is found begins with the key, or with the header of the table."""
    text = ""
    for kind, key, value in pieces:
        text += {"key": f"{key} = {value}\n", "table": f"[{key}]\n", "array": f"[[{key}]]\n", "blank": "\n"}[
            kind
        ]
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines, rows = key_lines(text), text.splitlines()

    def walk(value, path):
        if path and path in lines:
            name = next(part for part in reversed(path) if isinstance(part, str))
            assert rows[lines[path] - 1].strip().lstrip("[").startswith(name)
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list) and value and all(isinstance(inner, dict) for inner in value):
            for k, inner in enumerate(value):
                walk(inner, (*path, k))

    walk(data, ())
    for key in data:
        assert (key,) in lines or (key, 0) in lines
