"""French typography of templates: their words are typeset once, when they are read.

In a template signs stand after ordinary spaces, as people type them; `rules.explain.typeset` makes no-break spaces of
these, as in the sentences of alerts. What is filled in stays as it is kept: a note or a code is nobody's to change.
"""

import re
from typing import Final

from jinja2 import Environment
from jinja2.ext import Extension

from rules.explain import typeset

__all__ = ["French"]

_APART: Final = re.compile(
    r"(?P<code><(?P<tag>style|script|code|pre|textarea)\b.*?</(?P=tag)>|<!--.*?-->|\{#.*?#\})"
    r"|(?P<jinja>\{\{.*?\}\}|\{%.*?%\})",
    re.DOTALL,
)
_QUOTED: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")


class French(Extension):
    """Typeset templates: text and what its expressions quote, not code, styles and comments.

    With the filter ``typeset``, for French sentences that come from elsewhere in Vigie.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # Of what is refused, the error is shown.
        environment.filters["typeset"] = lambda said: typeset(str(said))

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 - Jinja's
        """Give the source with its no-break spaces; every line stays where it is."""
        out, at = [], 0
        for match in _APART.finditer(source):
            apart = match[0] if match["code"] else _QUOTED.sub(lambda quoted: typeset(quoted[0]), match[0])
            out += [typeset(source[at : match.start()]), apart]
            at = match.end()
        return "".join([*out, typeset(source[at:])])
