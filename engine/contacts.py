"""What sent for a patient, and when last: from history, which has every reading with its kind, receipt and status.

Names of devices are not in history (a packet's device is kept as a hash, to know repeats by): what is told apart is
what was measured.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine import history
from ingest.columns import Status
from ingest.signals import MILLI, SIGNALS, Kind

__all__ = ["BATTERY", "Contact", "contacts"]

BATTERY: Final = "batterie de l'appareil"

_ECG: Final = "ECG"
_ANSWERS: Final = "réponses aux questions"
_LABELS: Final = {
    signal.code: _ECG if signal.kind in {Kind.WAVEFORM, Kind.DERIVED} else signal.label_fr
    for signal in SIGNALS
}
_FLAGS: Final = {
    Status.LOW_BATTERY: "batterie faible",
    Status.CLOCK_NOT_SET: "horloge non réglée",
    Status.TYPED: "saisie à la main",
}


@dataclass(frozen=True, slots=True)
class Contact:
    """The newest of one kind of what was sent.

    `t_ms` when it was measured, `receipt_ms` when it came; `flags` what the device said of itself with it, in French;
    `value` of a battery in per cent, None of anything else.
    """

    what: str
    t_ms: int
    receipt_ms: int
    flags: tuple[str, ...]
    value: float | None


def contacts(folder: Path, patient: str, since_ms: int, until_ms: int) -> list[Contact]:
    """Give the newest of each kind that was sent for a patient, whoever came last first.

    Parameters
    ----------
    folder : Path
        Of history.
    patient : str
    since_ms, until_ms : int
        Event time, `until_ms` excluded.

    Raises
    ------
    HistoryError
        The folder is no history.
    """
    rows = (
        history.read(folder, patient, None, since_ms, until_ms)
        .sort("t_ms", "offset", "receipt_ms", "milli", "status")
        .group_by("signal")
        .last()
        .collect()
    )
    newest: dict[str, Contact] = {}
    for row in rows.sort("t_ms", "offset", "signal").iter_rows(named=True):
        what = _LABELS.get(row["signal"], _ANSWERS)
        flags = tuple(words for bit, words in _FLAGS.items() if row["status"] & bit)
        value = row["milli"] / MILLI if what == BATTERY else None
        newest[what] = Contact(what, row["t_ms"], row["receipt_ms"], flags, value)
    return sorted(newest.values(), key=lambda each: (-each.t_ms, each.what))
