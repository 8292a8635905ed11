"""ECG drawn as SVG: strips at 25 mm/s and 10 mm/mV, as on paper, and the trend of heart rate."""

from collections.abc import Iterator
from html import escape

import numpy as np
import numpy.typing as npt

from engine.ecg_analysis import Analysis
from ingest.formats.lead import MISSING, Lead

__all__ = ["COLOURS", "GRID", "rates", "strip", "trend"]

MM_S = 25.0
MM_MV = 10.0

COLOURS = {"ASYS": "#c0392b", "VF": "#c0392b", "VFL": "#c0392b", "VT": "#c0392b", "PAUSE": "#d9822b"}
_OTHER = "#3a6ea5"

GRID = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="mm" width="1" height="1" patternUnits="userSpaceOnUse">'
    '<path d="M1 0H0V1" fill="none" stroke="#f5cccc" stroke-width=".1"/></pattern>'
    '<pattern id="cm" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect width="5" height="5" fill="url(#mm)"/>'
    '<path d="M5 0H0V5" fill="none" stroke="#e59a9a" stroke-width=".2"/></pattern></defs></svg>'
)
"""Millimetre paper, once a page."""

_TOP_MM = 6.0  # for the marks of beats
_FOOT_MM = 5.0  # for the names of episodes
_MOST_MV = 2.5  # each way from the middle: what is beyond is cut off, as on paper
_LEAST_MV = 1.0
_POINTS_S = 250  # more cannot be seen at 25 mm/s

_TREND_MM = (240.0, 34.0)
_LONGEST_RR_S = 3.0  # a longer one is a pause, said elsewhere

F64 = npt.NDArray[np.float64]


def strip(lead: Lead, analysis: Analysis, start: int, end: int, names: dict[str, str]) -> str:
    """Draw samples `start` to `end` with beats, their classes, episodes and moments of decision.

    Parameters
    ----------
    names : dict
        What labels of episodes are called for who reads.
    """
    rate = lead.rate_hz
    part = lead.samples[start : min(end, len(lead.samples))]
    valid = part != MISSING
    mv = part.astype(np.float64) / lead.gain
    middle = float(np.median(mv[valid])) if valid.any() else 0.0
    mv -= middle
    tall = float(np.abs(mv[valid]).max(initial=0.0))
    # In steps of half a millivolt, so that the grid's heavy lines fall on the middle.
    half = min(max(np.ceil(2.0 * tall) / 2.0, _LEAST_MV), _MOST_MV)
    width = (end - start) / rate * MM_S
    zero = _TOP_MM + half * MM_MV
    height = zero + half * MM_MV + _FOOT_MM
    x = np.arange(len(part)) / rate * MM_S
    y = zero - np.clip(mv, -half, half) * MM_MV
    out = [
        f'<svg class="strip" width="{width:.0f}mm" height="{height:.0f}mm" viewBox="0 0 {width:g} {height:g}">',
        f'<rect y="{_TOP_MM - 5.0:g}" width="{width:g}" height="{height:g}" fill="url(#cm)"/>',
        *_episodes(analysis, start, end, height, names),
        f'<path d="{_path(x, y, valid, max(1, int(rate // _POINTS_S)))}" class="ecg"/>',
        *_beats(analysis, start, end),
        "</svg>",
    ]
    return "".join(out)


def _path(x: F64, y: F64, valid: npt.NDArray[np.bool_], step: int) -> str:
    """Give the line through every `step`-th sample, broken where there is none."""
    keep = slice(None, None, step)
    out, pen = [], "M"
    for at, value, there in zip(x[keep].tolist(), y[keep].tolist(), valid[keep].tolist(), strict=True):
        if there:
            out.append(f"{pen}{at:.2f} {value:.2f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(out)


def _episodes(
    analysis: Analysis, start: int, end: int, height: float, names: dict[str, str]
) -> Iterator[str]:
    spans = [(analysis.rhythm, True)]
    if analysis.quality is not None:
        spans.append((analysis.quality, False))
    mm = MM_S / analysis.rate_hz
    for each, decides in spans:
        inside = np.flatnonzero((each.start < end) & (each.end > start))
        for row, k in enumerate(inside.tolist()):
            label = each.label[k]
            colour = COLOURS.get(label, _OTHER) if decides else "#777"
            low = (max(int(each.start[k]), start) - start) * mm
            high = (min(int(each.end[k]), end) - start) * mm
            yield (
                f'<rect x="{low:.2f}" width="{high - low:.2f}" height="{height:g}" fill="{colour}" '
                f'fill-opacity=".1"/><text x="{low + 1:.2f}" y="{height - 1.2 - 3.4 * (row % 3):.1f}" '
                f'fill="{colour}">{escape(names.get(label, label))}</text>'
            )
            at = (int(each.decided[k]) - start) * mm
            if decides and start <= each.decided[k] < end:
                yield (
                    f'<path d="M{at:.2f} {_TOP_MM:g}V{height:g}" stroke="{colour}" stroke-width=".3" '
                    'stroke-dasharray="1.5 1"/>'
                )


def _beats(analysis: Analysis, start: int, end: int) -> Iterator[str]:
    mm = MM_S / analysis.rate_hz
    low, high = np.searchsorted(analysis.beats, (start, end))
    for k in range(int(low), int(high)):
        at = (int(analysis.beats[k]) - start) * mm
        yield f'<path d="M{at:.2f} 4V6" class="beat"/>'
        if analysis.classes is not None:
            name = analysis.classes[k]
            kind = "beat" if name == "N" else "other"
            yield f'<text x="{at:.2f}" y="3.4" class="{kind}" text-anchor="middle">{escape(name)}</text>'


def rates(analysis: Analysis) -> tuple[float, F64]:
    """Give the mean heart rate of each minute, or of each 10 s of a record under 10 minutes.

    Returns
    -------
    bin_s : float
    rate : float64[bins]
        Beats a minute from the RR intervals that end there; NaN where they last less than 3 s together.
    """
    length_s = analysis.length / analysis.rate_hz
    bin_s = 60.0 if length_s >= 600.0 else 10.0
    bins = max(1, int(np.ceil(length_s / bin_s)))
    rr = np.diff(analysis.beats) / analysis.rate_hz
    usual = (rr > 0.0) & (rr <= _LONGEST_RR_S)
    where = (analysis.beats[1:][usual] / analysis.rate_hz // bin_s).astype(np.int64)
    total = np.bincount(where, rr[usual], bins)
    count = np.bincount(where, minlength=bins)
    enough = total >= min(3.0, 0.3 * length_s)
    return bin_s, np.where(enough, 60.0 * count / np.where(enough, total, 1.0), np.nan)


def trend(analysis: Analysis) -> str:
    """Draw the heart rate over the record."""
    bin_s, rate = rates(analysis)
    width, height = _TREND_MM
    top = max(120.0, float(np.ceil(np.nanmax(rate) / 20.0) * 20.0)) if np.isfinite(rate).any() else 120.0
    length_s = max(analysis.length / analysis.rate_hz, 1.0)

    def y(value: float) -> float:
        return height - 5.0 - value / top * (height - 8.0)

    box = f'width="{width + 16:g}mm" height="{height:g}mm" viewBox="-10 0 {width + 16:g} {height:g}"'
    out = [f'<svg class="trend" {box}>']
    out += [
        f'<path d="M0 {y(value):.2f}H{width:g}" class="axis"/>'
        f'<text x="-1.5" y="{y(value) + 1:.2f}" text-anchor="end">{value}</text>'
        for value in range(0, int(top) + 1, 40)
    ]
    unit_s, unit = (3600.0, "h") if length_s >= 7200.0 else (60.0, "min") if length_s >= 120.0 else (1.0, "s")
    every = max(1, int(np.ceil(length_s / unit_s / 12.0)))
    for k in range(0, int(length_s / unit_s) + 1, every):
        at = k * unit_s / length_s * width
        out.append(f'<text x="{at:.2f}" y="{height - 0.5:g}" text-anchor="middle">{k} {unit}</text>')
    middle = np.minimum((np.arange(len(rate)) + 0.5) * bin_s, length_s) / length_s * width
    drop = np.array([y(value) for value in np.nan_to_num(rate)])
    out.append(f'<path d="{_path(middle, drop, np.isfinite(rate), 1)}" class="rate"/>')
    # A bin between two that are unknown would be no line.
    out += [
        f'<circle cx="{a:.2f}" cy="{b:.2f}" r=".5"/>' for a, b, r in zip(middle, drop, rate, strict=True)
        if np.isfinite(r)
    ]  # fmt: skip
    return "".join([*out, "</svg>"])
