"""The audit trail as a file: one JSON object a line, from which the chain can be computed again without Vigie."""

import itertools
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from triage import audit

__all__ = ["export", "line", "outline"]

OUTLINE: Final = ("id", "t_ms", "actor", "action", "subject", "cell", "hash")
"""Columns without free text, in which a patient may be spoken of."""


def export(engine: Engine, path: Path) -> tuple[int, str]:
    """Write the whole trail to `path`, whole or not at all, for its owner alone.

    Each line has the columns of `triage.audit.Entry`; ``details`` is text, since the hash is of its letters.

    Returns
    -------
    (int, str)
        How many entries there are, and the hash of the last.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    count, head = 0, audit.START
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unfinished = Path(folder) / path.name
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for row in audit.read(engine):
                file.write(line(row))
                count, head = count + 1, row["hash"]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    return count, head


def line(row: Mapping[str, Any]) -> str:
    """Write an entry of `triage.audit.read`."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def outline(engine: Engine, after: int, at_most: int) -> list[dict[str, Any]]:
    """Give up to `at_most` entries after number `after` without their details, for those who may not read these.

    The hashes are those of the whole trail: they show whether an export with all details is the same trail.
    """
    return [
        {name: row[name] for name in OUTLINE} for row in itertools.islice(audit.read(engine, after), at_most)
    ]
