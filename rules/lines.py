"""Line numbers of the keys of a TOML text, which `tomllib` does not give.

Only for text that `tomllib` has read without error: what is a key and where a value ends is asked of `tomllib`
itself, piece by piece, so there is no second reading of TOML here that could differ.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

__all__ = ["Path", "error_line", "key_lines", "line_of", "spell"]

Path = tuple[str | int, ...]
"""Where a value is: ``("rules", 2, "when")``."""

_HEADER = re.compile(r"\[(\[)?(.*?)\]?\]\s*(?:#.*)?")
_ERROR_LINE = re.compile(r"at line (\d+)")


def key_lines(text: str) -> dict[Path, int]:
    """Map each key path of `text` to its line, from 1."""
    lines = text.splitlines()
    out: dict[Path, int] = {}
    arrays: dict[Path, int] = {}  # index of the newest table of each array of tables
    table: Path = ()
    row = 0
    while row < len(lines):
        line = lines[row].strip()
        start = row
        row += 1
        if not line or line.startswith("#"):
            continue
        header = _HEADER.fullmatch(line)
        if header:
            table = _table(_keys(header[2]), arrays, array=header[1] is not None)
            for depth in range(1, len(table) + 1):
                out.setdefault(table[:depth], start + 1)
            continue
        key, value = _split(line)
        while not _is_toml(f"x = {value}") and row < len(lines):
            value += "\n" + lines[row]
            row += 1
        for depth in range(1, len(key) + 1):
            out.setdefault((*table, *key[:depth]), start + 1)
    return out


def line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """Line of `path`, or of the nearest table around it; 0 when there is none."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in lines:
            return lines[path[:depth]]
    return 0


def error_line(error: tomllib.TOMLDecodeError) -> int:
    """Line that a syntax error names; 0 when it names none."""
    match = _ERROR_LINE.search(str(error))
    return int(match[1]) if match else 0


def spell(path: Path) -> str:
    """Write a path as people do: ``rules[2].when``."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def _table(keys: list[str], arrays: dict[Path, int], *, array: bool) -> Path:
    """Path of a table header, with the index of each array of tables on the way."""
    path: Path = ()
    for depth, key in enumerate(keys):
        path = (*path, key)
        last = depth == len(keys) - 1
        if last and array:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path


def _keys(text: str) -> list[str]:
    """Parts of a dotted key."""
    keys: list[str] = []
    table: Any = tomllib.loads(f"{text} = 0")
    while isinstance(table, dict):
        (key,) = table
        keys.append(key)
        table = table[key]
    return keys


def _split(line: str) -> tuple[list[str], str]:
    """Key and beginning of the value of ``key = value``; a quoted key may hold an equals sign."""
    at = line.find("=")
    while at >= 0:
        if _is_toml(f"{line[:at]} = 0"):
            return _keys(line[:at]), line[at + 1 :]
        at = line.find("=", at + 1)
    return [], "0"


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
