"""The page of the strips that alerts have kept: one file, no network."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from engine.ecg_report import RHYTHMS, template
from engine.ecg_strips import GRID, strip
from engine.strips import lead_of, marks_of, read
from ingest.signals import by_code
from kernels import SOURCE_HASH

__all__ = ["draw", "write"]

_ROW_S = 10.0
_PARIS: Final = ZoneInfo("Europe/Paris")


def draw(row: dict[str, Any]) -> list[str]:
    """Draw a strip, a row of `engine.strips.SCHEMA`: an SVG for every ten seconds, with beats and rhythm."""
    lead, marks = lead_of(row), marks_of(row)
    size = round(_ROW_S * lead.rate_hz)
    return [strip(lead, marks, at, at + size, RHYTHMS) for at in range(0, len(lead.samples), size)]


def write(
    folder: Path,
    out: Path,
    patient: str | None = None,
    alert_id: str | None = None,
    *,
    zone: ZoneInfo = _PARIS,
) -> int:
    """Write the page of the strips in `folder`; give how many there are. No page without a strip.

    Times are those of `zone`.
    """
    rows = read(folder, patient, alert_id)
    if not len(rows):
        return 0
    shown = [
        {
            "patient": row["patient"],
            "level": row["level"],
            "sentence": row["sentence"],
            "alert": row["alert_id"],
            "lead": by_code(row["lead"]).label_fr,
            "onset": _time(row["onset_ms"], zone),
            "start": _time(row["start_ms"], zone),
            "rows": draw(row),
        }
        for row in rows.iter_rows(named=True)
    ]
    page = template("ecg_kept.html").render(strips=shown, grid=GRID, zone=zone.key, kernels=SOURCE_HASH)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return len(rows)


def _time(t_ms: int, zone: ZoneInfo) -> str:
    """Say a moment: 05/01/2026 08:02:11,4."""
    at = datetime.fromtimestamp(t_ms // 1000, zone)
    return f"{at:%d/%m/%Y %H:%M:%S},{t_ms % 1000 // 100}"
