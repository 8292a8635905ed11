"""The report on data quality as one page that opens without a network: a table and a plot of days for each site."""

from pathlib import Path

import numpy as np

from engine.backtest_plots import days
from engine.ecg_report import template
from engine.quality import SITE_COLUMNS, Quality, Site, figures
from engine.quality_words import said

__all__ = ["body", "write_page"]


def write_page(found: Quality, path: Path) -> None:
    """Write the page; the same files give the same bytes."""
    path.write_text(template("quality.html").render(body(found)), encoding="utf-8")


def body(found: Quality) -> dict[str, object]:
    """Give what ``quality_body.html`` shows, of this page and of a replay's."""
    return {
        "found": found,
        "columns": SITE_COLUMNS,
        "sites": [(site, figures(site), _plot(found, site)) for site in found.sites],
        "serious": [said(each) for each in found.findings if each.serious],
        "others": [said(each) for each in found.findings if not each.serious],
        "readings": sum(site.readings for site in found.sites),
        "units": [
            (signal, ", ".join(f"{unit or '(none)'} {count:,}" for unit, count in each.items()))
            for signal, each in found.units.items()
        ],
    }


def _plot(found: Quality, site: Site) -> str:
    if not site.by_day:
        return ""
    first = np.datetime64(found.first_day, "D")
    dates = [str(first + k) for k in range(len(site.by_day))]
    return days(dates, np.array(site.by_day, np.float64), None, f"{site.name}: readings per day", decimals=0)
