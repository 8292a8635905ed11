"""A protocol to begin with: ``template.toml``, which is good as it is, with a name of its own."""

import json
from pathlib import Path
from typing import Final

__all__ = ["filled"]

_TEMPLATE: Final = Path(__file__).with_name("template.toml")


def filled(name: str, title: str, line: str, problem: str) -> str:
    """Give the text of a new protocol.

    Parameters
    ----------
    name : str
        Its id.
    title, line : str
        In French: what it is called, and the line of télésurveillance.
    problem : str
        Of its first rule.

    Raises
    ------
    ValueError
        One of them holds what no TOML text does.
    """
    text = _TEMPLATE.read_text(encoding="utf-8")
    values = {"id": ("modele", name), "title": ("Modèle", title), "line": ("filière", line),
              "problem": ("probleme", problem)}  # fmt: skip
    for key, (old, new) in values.items():
        if not new.isprintable():
            msg = f"{key} {new!r}: legal are letters, digits and signs, on one line"
            raise ValueError(msg)
        # What JSON escapes, TOML reads the same.
        text = text.replace(f'{key} = "{old}"', f"{key} = {json.dumps(new, ensure_ascii=False)}", 1)
    return text
