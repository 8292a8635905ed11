"""From a file of patients to the register, and what is said of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.progress import SILENT, Progress
from rules.errors import Mistake
from triage.identity import csv_list
from triage.identity import register as registers
from triage.identity.admission import Taken
from triage.identity.errors import ImportRefusedError

__all__ = ["Imported", "import_list"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or in a dry run would do.

    `taken` has one item a line that could be read, `lines` where each began; `mistakes` are those of lines that were
    left out.
    """

    file: str
    dry_run: bool
    taken: list[Taken]
    lines: list[int]
    mistakes: list[Mistake]

    def __str__(self) -> str:
        """Give a line for each patient that is new or changed or is to be looked at, and the counts."""
        said = []
        for line, each in zip(self.lines, self.taken, strict=True):
            # An id that was drawn in a dry run is gone with it.
            named = "" if self.dry_run and each.what == "enrolled" else f" {each.id}"
            changed = f" ({', '.join(each.fields)})" if each.fields else ""
            if each.what in {"enrolled", "updated"}:
                said.append(f"line {line}: {each.what}{named}{changed}")
            said += [f"line {line}: to be looked at: {note}" for note in each.notes]
        counts = Counter(each.what for each in self.taken)
        counted = ", ".join(f"{counts[what]} {what}" for what in ("enrolled", "updated", "unchanged"))
        left = len({mistake.line for mistake in self.mistakes})
        out = f", {left} left out" if left else ""
        dry = "dry run, nothing was changed: " if self.dry_run else ""
        return "\n".join([*said, f"{self.file}: {dry}{counted}{out}"])


def import_list(
    address: str | Path,
    path: Path,
    known: Sequence[str],
    by: str = "",
    *,
    dry_run: bool = False,
    keep_good: bool = False,
    progress: Progress = SILENT,
) -> Imported:
    """Import a list of patients: all of it, or nothing where a line is wrong.

    Parameters
    ----------
    address : str or Path
        Of the register; one that is not there is made only where something is written.
    path : Path
        See `triage.identity.csv_list`.
    known : sequence of str
        Ids of the protocols that there are.
    by : str
        Who does it.
    dry_run : bool
        Find out what would be done, and change nothing.
    keep_good : bool
        Leave out the lines that are wrong, instead of all.

    Raises
    ------
    ImportRefusedError
        With every mistake of the file, unless `keep_good`.
    OSError, ValueError
        The file cannot be read, or the register not opened.
    """
    listed = csv_list.read(path, known, progress)
    mistakes = list(listed.mistakes)
    # Where the file is wrong the register is asked all the same: what it refuses is to be said at once too.
    dry = dry_run or bool(mistakes and not keep_good)
    taken: list[Taken] = []
    if listed.entries or not mistakes:
        with registers.open(address, dry_run=dry) as register:
            taken = register.take(listed.entries, by, dry_run=dry, keep_good=keep_good, progress=progress)
    for line, each in zip(listed.lines, taken, strict=True):
        if each.refused is not None:
            refused = each.refused
            mistakes.append(Mistake(str(path), line, refused.field, refused.wrong, refused.legal))
    mistakes.sort(key=lambda mistake: mistake.line)
    if mistakes and not keep_good:
        raise ImportRefusedError(mistakes)
    return Imported(str(path), dry_run, taken, listed.lines, mistakes)
