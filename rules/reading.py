"""Read TOML piece by piece, so that every mistake of a file is found, each with its line."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError

from rules.errors import Mistake, ProtocolError, close_names
from rules.fields import FORMS
from rules.lines import Path as KeyPath
from rules.lines import error_line, key_lines, line_of, spell

__all__ = ["Reader", "read_text"]

_Model = TypeVar("_Model", bound=BaseModel)

# What pydantic's own words leave unsaid.
_LEGAL = {
    "bool_type": "true or false",
    "string_type": "text between quotes",
    "float_type": "a number",
    "int_type": "a whole number",
    "date_type": "a date such as 2026-01-05",
    "dict_type": "a table",
    "tuple_type": "a list",
}


def read_text(path: Path) -> str:
    """Read a file as UTF-8.

    Raises
    ------
    ProtocolError
        It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProtocolError([Mistake(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ProtocolError([Mistake(str(path), 0, "", f"is not UTF-8 text: {error.reason}")]) from None


class Reader:
    """One file being read; every method adds what it finds to `mistakes`.

    Parameters
    ----------
    text : str
        TOML.
    file : str
        What mistakes call it.

    Raises
    ------
    ProtocolError
        `text` is not TOML.
    """

    hidden: ClassVar[Mapping[type[BaseModel], tuple[str, ...]]] = {}
    """Fields of models that are not keys of the file."""

    def __init__(self, text: str, file: str) -> None:
        try:
            self.raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ProtocolError([Mistake(file, error_line(error), "", f"is not TOML: {error}")]) from None
        self.file = file
        self.lines = key_lines(text)
        self.mistakes: list[Mistake] = []

    def add(self, path: KeyPath, wrong: str, legal: str = "") -> None:
        """Note a mistake at a key."""
        self.mistakes.append(Mistake(self.file, line_of(path, self.lines), spell(path), wrong, legal))

    def error(self) -> ProtocolError:
        """Give what was found, in the order of the file."""
        return ProtocolError(sorted(self.mistakes, key=lambda mistake: mistake.line))

    def model(self, model: type[_Model], raw: object, path: KeyPath) -> _Model | None:
        """Validate one table; its mistakes are added, each with the line of its key."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                self._explain(model, path, dict(each))
        return None

    def _explain(self, model: type[BaseModel], prefix: KeyPath, error: dict[str, Any]) -> None:
        path = (*prefix, *error["loc"])
        kind, context = error["type"], error.get("ctx", {})
        if kind == "extra_forbidden":
            keys = [name for name in model.model_fields if name not in self.hidden.get(model, ())]
            self.add(path, f"unknown key {str(path[-1])!r}", close_names(str(path[-1]), keys))
        elif kind == "missing":
            self.add(path, "is missing")
        elif kind == "value_error":
            wrong, _, legal = str(context["error"]).partition("; legal: ")
            self.add(path, wrong, legal)
        elif kind == "string_pattern_mismatch":
            self.add(path, f"{error['input']!r} has another form", FORMS[context["pattern"]])
        elif kind == "literal_error":
            self.add(path, f"{error['input']!r}", str(context["expected"]))
        else:
            self.add(path, f"{error['input']!r}: {error['msg'].lower()}", _LEGAL.get(kind, ""))

    def table(self, key: str) -> dict[str, Any]:
        """Give the table of tables `key`, empty when it is absent or something else."""
        value = self.raw.get(key, {})
        return {k: v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}

    def tables(self, key: str, model: type[_Model], *, named: bool = False) -> dict[str, _Model]:
        """Validate each table under `key`."""
        value = self.raw.get(key, {})
        if not isinstance(value, dict):
            self.add((key,), "is not a table of tables", f"[{key}.name]")
            return {}
        out: dict[str, _Model] = {}
        for name, body in value.items():
            path = (key, name)
            if not isinstance(body, dict):
                self.add(path, "is not a table", f"[{key}.{name}]")
                continue
            if named and "name" in body:
                self.add((*path, "name"), "unknown key 'name'", "the name is in the header of the table")
                continue
            self.check_name(path)
            made = self.model(model, {"name": name, **body} if named else body, path)
            if made is not None:
                out[name] = made
        return out

    def entries(self, key: str, model: type[_Model]) -> list[tuple[int, _Model]]:
        """Validate each entry of the array of tables `key`; ids are unique."""
        value = self.raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(body, dict) for body in value):
            self.add((key,), "is not an array of tables", f"[[{key}]]")
            return []
        made = [(index, self.model(model, body, (key, index))) for index, body in enumerate(value)]
        return [(index, entry) for index, entry in made if entry is not None]

    def check_name(self, path: KeyPath) -> None:
        """Check the name of a table; a subclass says what is not legal."""
