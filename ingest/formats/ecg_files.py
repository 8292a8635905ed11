"""Records of ECG as they lie in folders: WFDB, EDF, CSV, and arrays of R peaks; found by name, read one by one."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.formats.channels import NoSignalError
from ingest.formats.csv_lead import read_csv
from ingest.formats.edf_lead import read_edf
from ingest.formats.errors import FormatError
from ingest.formats.lead import Lead, check_rate
from ingest.formats.mapping import Mapping
from ingest.formats.marked_beats import PEAK_ENDS, Marked, read_annotation, read_peaks
from ingest.formats.wfdb_record import Record, ecg_channels

__all__ = ["EcgRecord", "How", "find_records", "read_leads", "read_record"]

_WFDB, _EDF, _CSV = ".hea", ".edf", ".csv"
_LEGAL = f"{_WFDB} (WFDB), {_EDF}, {_CSV}, {', '.join(PEAK_ENDS)} (R peaks), and folders of these"


@dataclass(frozen=True, slots=True)
class How:
    """How records are read.

    Parameters
    ----------
    channel : str
        Name or number of the signal; empty: II, else I, else the first ECG.
    rate_hz, gain : float, optional
        Of files that do not say it: Hz, and units per millivolt.
    beats : str
        Where beats are taken from instead of being detected: a WFDB annotator, or the array of R peaks in a
        .npz or .mat.
    first_sample : int, optional
        Number of the first sample in arrays of R peaks, 0 or 1.
    """

    channel: str = ""
    rate_hz: float | None = None
    gain: float | None = None
    beats: str = ""
    first_sample: int | None = None


@dataclass(frozen=True, slots=True)
class EcgRecord:
    """What a record holds: a lead, beats that somebody marked, or both."""

    lead: Lead | None
    marked: Marked | None


def find_records(paths: Iterable[str | Path]) -> list[Path]:
    """Find the records of paths, patterns and folders; those of a folder by name.

    A folder gives its WFDB and EDF records; where it has none, its arrays of R peaks, else its CSV files. A file that
    belongs to a WFDB record stands for it.

    Raises
    ------
    FormatError
        A path is missing or of no known kind, nothing was found, or two records have one name.
    """
    found: dict[Path, None] = {}
    for each in paths:
        path = Path(each)
        if path.is_dir():
            inside = _of_folder(path)
            if not inside:
                msg = f"{path}: no ECG record in this folder; legal are {_LEGAL}"
                raise FormatError(msg)
            found |= dict.fromkeys(inside)
        elif path.exists() or path.with_name(path.name + _WFDB).is_file():
            found[_record(path)] = None
        elif glob.has_magic(str(each)):
            matches = sorted(glob.glob(str(each), recursive=True))  # noqa: PTH207 - Path has no absolute patterns
            if not matches:
                msg = f"{each}: no file of that pattern"
                raise FormatError(msg)
            found |= dict.fromkeys(_of_pattern(matches))
        else:
            msg = f"{path}: no such file or folder"
            raise FormatError(msg)
    names: dict[str, Path] = {}
    for path in found:
        if path.stem in names:
            msg = f"{path} and {names[path.stem]}: two records of one name, whose results would be one file"
            raise FormatError(msg)
        names[path.stem] = path
    return list(found)


def _record(path: Path) -> Path:
    """Give the file that stands for the record to which `path` belongs."""
    for header in (path.with_name(path.name + _WFDB), path.with_suffix(_WFDB)):
        if header.is_file():
            return header
    if path.suffix.lower() not in {_EDF, _CSV, *PEAK_ENDS}:
        msg = f"{path}: of no known kind; legal are {_LEGAL}"
        raise FormatError(msg)
    return path


def _of_pattern(matches: list[str]) -> list[Path]:
    found = []
    for match in map(Path, matches):
        if match.is_dir():
            found += _of_folder(match)
        elif match.suffix.lower() in {_WFDB, _EDF, _CSV, *PEAK_ENDS} or match.with_suffix(_WFDB).is_file():
            found.append(_record(match))
    return found


def _of_folder(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    headers = [path for path in files if path.suffix == _WFDB]
    parts = {path.parent / part for path in headers for part in _segments(path)}
    records = [path for path in headers if path.with_suffix("") not in parts]
    records += [path for path in files if path.suffix.lower() == _EDF]
    peaks = [path for path in files if path.suffix.lower() in PEAK_ENDS]
    return sorted(records) or peaks or [path for path in files if path.suffix.lower() == _CSV]


def _segments(header: Path) -> list[str]:
    """Names of the segments that a header lists; none when the record is in one piece."""
    lines = header.read_text(encoding="latin-1").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines or "/" not in lines[0].split()[0]:
        return []
    return [line.split()[0] for line in lines[1:]]


def read_record(path: Path, how: How) -> EcgRecord:
    """Read one record that `find_records` found.

    Raises
    ------
    FormatError
        It cannot be used: the message names the file, the field and what is legal.
    OSError
        It cannot be read.
    """
    kind = path.suffix.lower()
    _check(path, kind, how)
    if kind in PEAK_ENDS:
        return EcgRecord(None, read_peaks(path, how.beats, how.rate_hz, how.first_sample))
    if kind == _WFDB:
        marked = read_annotation(path, how.beats) if how.beats else None
        try:
            return EcgRecord(_wfdb(path, how.channel), marked)
        except NoSignalError:
            if marked is None:
                raise
            return EcgRecord(None, marked)
    if kind == _EDF:
        return EcgRecord(read_edf(path, how.channel), None)
    return EcgRecord(read_csv(path, how.rate_hz, how.gain, how.channel), None)


def read_leads(path: Path, how: How) -> list[Lead]:
    """Read every ECG lead of a record; the one that `read_record` reads, where another was asked for or none is told.

    All leads are told of WFDB records in one piece. Errors are those of `read_record`.
    """
    numbers = ecg_channels(path) if path.suffix.lower() == _WFDB and not how.channel else []
    if numbers:
        return [_wfdb(path, number) for number in numbers]
    lead = read_record(path, how).lead
    return [] if lead is None else [lead]


def _check(path: Path, kind: str, how: How) -> None:
    """Refuse options that mean nothing for a kind of file: ignored, they would be believed."""
    peaks = kind in PEAK_ENDS
    given = {
        "--channel": (bool(how.channel), not peaks, "WFDB, EDF and CSV"),
        "--rate": (how.rate_hz is not None, peaks or kind == _CSV, "CSV, .npz and .mat"),
        "--gain": (how.gain is not None, kind == _CSV, "CSV"),
        "--beats": (bool(how.beats), peaks or kind == _WFDB, "WFDB, .npz and .mat"),
        "--first-sample": (how.first_sample is not None, peaks, ".npz and .mat"),
    }
    for option, (used, fits, legal) in given.items():
        if used and not fits:
            msg = f"{path}: {option} is of no use here; legal with {legal}"
            raise FormatError(msg)
    if how.gain is not None and not 0.0 < how.gain < float("inf"):
        msg = f"{path}: --gain {how.gain:g} per mV; legal are numbers over 0"
        raise FormatError(msg)


def _wfdb(path: Path, channel: str) -> Lead:
    record = Record(path, 0, path.stem, Mapping(), channel=channel)
    check_rate(path, record.rate)
    samples = record.whole()
    if not 0.0 < record.gain < float("inf"):
        msg = f"{path}: gain {record.gain:g} per mV; legal are numbers over 0"
        raise FormatError(msg)
    return Lead(record.lead, record.rate, record.gain, samples)
