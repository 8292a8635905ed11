"""What a replay keeps on disk while it sorts: sorted runs, the texts of refused rows, the patients' ids.

A folder of plain files. ``spill.json`` says what of it counts, and is written anew now and then between two files of
the input: a later replay of the same files with the same options finds it by its fingerprint, and reads only what is
not in it yet.
"""

import json
import mmap
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.formats.observed import Observed
from ingest.formats.people import People
from ingest.formats.rows import DTYPES, ROW_BYTES, Rows
from kernels.check import in_order

__all__ = ["RUN_ROWS", "Run", "Spill"]

RUN_ROWS = 1 << 20
"""Rows that are sorted in memory at once: 35 MB, and twice that while they are sorted, beside those that are read."""

_END = b"\n"


class Run:
    """A sorted run on disk: the columns one after the other."""

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self.rows = rows

    def read(self, start: int, stop: int) -> Rows:
        """Give rows `start` to `stop`, read and not mapped, so that they count once in memory."""
        columns: list[npt.NDArray[Any]] = []
        base = 0
        with self._path.open("rb") as file:
            for dtype in DTYPES:
                file.seek(base + start * dtype.itemsize)
                columns.append(np.fromfile(file, dtype, stop - start))
                base += self.rows * dtype.itemsize
        return Rows(*columns)


class Spill:
    """A folder of sorted runs.

    Parameters
    ----------
    folder : Path
        Its own; made when missing. What does not count there is removed.
    fingerprint : str
        Of the input and the options.
    files : int
        Of the input.

    Attributes
    ----------
    people, observed : People, Observed
        Whose rows there are, and what was seen of the files.
    facts : dict
        As `keep` and `finish` took them.
    complete : bool
        Whether all was read.
    """

    def __init__(self, folder: Path, fingerprint: str, *, files: int = 0, run_rows: int = RUN_ROWS) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.people = People()
        self.observed = Observed(files)
        self.runs: list[Run] = []
        self.facts: dict[str, Any] = {}
        self.complete = False
        self._run_rows = run_rows
        self._waiting: list[Rows] = []
        self._waiting_rows = 0
        self._text_at = 0
        self._said = 0
        self._texts: mmap.mmap | None = None
        self._thread = ThreadPoolExecutor(1, "spill")
        self._writing: Future[Run] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._reopen()
        counted = {self._run(k).name for k in range(len(self.runs))}
        for path in folder.glob("run-*.bin"):
            if path.name not in counted:
                path.unlink(missing_ok=True)
        if not counted:
            (folder / "spill.json").unlink(missing_ok=True)
        if not self._text_at:
            (folder / "refused.txt").unlink(missing_ok=True)
        elif not self.complete:
            os.truncate(folder / "refused.txt", self._text_at)

    def _reopen(self) -> None:
        try:
            kept = json.loads((self.folder / "spill.json").read_text(encoding="utf-8"))
            if kept["fingerprint"] != self.fingerprint:
                return
            runs = [Run(self._run(k), rows) for k, rows in enumerate(kept["runs"])]
            sizes = [self._run(k).stat().st_size for k in range(len(runs))]
            if sizes != [run.rows * ROW_BYTES for run in runs]:
                return
            texts, complete = int(kept["texts"]), bool(kept["complete"])
            if texts and (self.folder / "refused.txt").stat().st_size < texts:
                return
            people = People.load(self.folder / kept["people"])
            observed = Observed.load(self.folder / kept["sites"], kept["observed"])
        except (OSError, ValueError, KeyError):
            return
        self.people, self.observed, self._said = people, observed, int(kept["said"])
        self.runs, self.facts, self.complete, self._text_at = runs, kept["facts"], complete, texts

    def _run(self, number: int) -> Path:
        return self.folder / f"run-{number:05}.bin"

    def refuse(self, texts: pl.Series) -> npt.NDArray[np.float64]:
        r"""Keep the texts of refused rows; the answer is where each begins, for `Rows.value`.

        Parameters
        ----------
        texts : Series[n] of String
            Line ends are shown as ``\n``.
        """
        if not len(texts):
            return np.empty(0)
        lines = texts.str.replace_all("\r", "\\r", literal=True).str.replace_all("\n", "\\n", literal=True)
        lengths = lines.str.len_bytes().to_numpy().astype(np.int64) + len(_END)
        with (self.folder / "refused.txt").open("ab") as file:
            file.write(_END.join(line.encode() for line in lines) + _END)
        at = self._text_at + np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self._text_at += int(lengths.sum())
        return at.astype(np.float64)

    def refused(self, at: int) -> bytes:
        """Give the text that `refuse` put at `at`."""
        if self._texts is None:
            with (self.folder / "refused.txt").open("rb") as file:
                self._texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._texts[at : self._texts.find(_END, at)]

    def add(self, rows: Rows) -> None:
        """Take rows in any order; they are sorted and written when there are enough."""
        start = 0
        while start < len(rows):
            part = rows.part(start, start + self._run_rows - self._waiting_rows)
            self._waiting.append(part)
            self._waiting_rows += len(part)
            start += len(part)
            if self._waiting_rows >= self._run_rows:
                self._write()

    def _write(self) -> None:
        """Begin to sort and write what waits, while more is read."""
        self._settle()
        if self._waiting:
            self._writing = self._thread.submit(self._written, self._waiting, self._run(len(self.runs)))
            self._waiting, self._waiting_rows = [], 0

    def _settle(self) -> None:
        """Wait for the run that is being written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.runs.append(writing.result())

    @staticmethod
    def _written(waiting: list[Rows], path: Path) -> Run:
        rows = Rows.joined(waiting)
        if not in_order(rows.t, rows.person, rows.src, rows.cell):
            keys = pl.DataFrame({"t": rows.t, "person": rows.person, "src": rows.src, "cell": rows.cell})
            order = keys.select(pl.arg_sort_by("t", "person", "src", "cell", maintain_order=True)).to_series()
            rows = rows.take(order.to_numpy().astype(np.int64))
        with path.open("wb") as file:
            for column in rows.columns():
                file.write(np.ascontiguousarray(column).data)
        return Run(path, len(rows))

    def keep(self, facts: dict[str, Any]) -> None:
        """Write what waits, such that it is there after a crash; `facts` are kept with it."""
        self._say(facts, complete=False)

    def finish(self, facts: dict[str, Any]) -> None:
        """Do as `keep`, and say that the spill is complete."""
        self._say(facts, complete=True)
        self.complete = True

    def _say(self, facts: dict[str, Any], *, complete: bool) -> None:
        self._write()
        self._settle()
        self.facts = facts
        # Under new names: what the spill.json of before names stays as it is until there is the next.
        self._said += 1
        names = {"people": f"people-{self._said}.npz", "sites": f"sites-{self._said}.npy"}
        self.people.save(self.folder / names["people"])
        self.observed.save(self.folder / names["sites"])
        kept = names | {
            "fingerprint": self.fingerprint,
            "said": self._said,
            "runs": [run.rows for run in self.runs],
            "texts": self._text_at,
            "complete": complete,
            "observed": self.observed.as_facts(),
            "facts": facts,
        }
        unfinished = self.folder / "spill.json.new"
        unfinished.write_text(json.dumps(kept), encoding="utf-8")
        os.replace(unfinished, self.folder / "spill.json")  # noqa: PTH105 - one step, or nothing
        for path in (*self.folder.glob("people-*.npz"), *self.folder.glob("sites-*.npy")):
            if path.name not in names.values():
                path.unlink(missing_ok=True)

    def close(self, *, remove: bool) -> None:
        """Let go of the files, and remove the folder if told so."""
        self._thread.shutdown()
        if self._texts is not None:
            self._texts.close()
            self._texts = None
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
