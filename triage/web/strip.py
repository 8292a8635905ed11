"""A strip of ECG as it is drawn: by static/js/ecg.js, or by a program."""

from typing import Any

from engine.ecg_report import RHYTHMS
from ingest.formats.lead import MISSING

__all__ = ["strip"]


def strip(row: dict[str, Any]) -> dict[str, Any]:
    """Give samples, beats (sample, class) and marked spans (from, to, rhythm) of a row of `engine.strips.SCHEMA`."""
    classes = row["classes"] or [""] * len(row["beats"])
    return {
        "rate_hz": row["rate_hz"],
        "start_ms": row["start_ms"],
        "gain_uv": 1000.0 / row["gain"],
        "samples": [None if sample == MISSING else sample for sample in row["samples"]],
        "beats": [list(each) for each in zip(row["beats"], classes, strict=True)],
        "marks": [
            [max(0, span["start"]), span["end"], RHYTHMS[span["label"]]]
            for span in row["rhythm"]
            if span["label"] in RHYTHMS
        ],
        "next": None,
    }
