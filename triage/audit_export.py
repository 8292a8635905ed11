"""The audit trail as a file: one JSON object a line, from which the chain can be computed again without Vigie."""

import json
import os
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from triage import audit

__all__ = ["export"]


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
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count, head = count + 1, row["hash"]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    return count, head
