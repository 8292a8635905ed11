"""The report on data quality as one page that opens without a network: a table and a plot of days for each site.

In French, as all pages are that people keep; the terminal and the JSON are in English.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.backtest_plots import days
from engine.ecg_report import template
from engine.quality import Quality, Site, figures
from engine.quality_french import COLUMNS, count_text, note_text, questions_of, reason_text, said, signal_text
from rules.explain import dates_text, number_text, typeset
from rules.protocol import Protocol

__all__ = ["body", "write_page"]


def write_page(found: Quality, path: Path, protocols: Sequence[Protocol] = ()) -> None:
    """Write the page, with the questions of `protocols` in words; the same files give the same bytes."""
    path.write_text(template("quality.html").render(body(found, protocols)), encoding="utf-8")


def body(found: Quality, protocols: Sequence[Protocol] = ()) -> dict[str, object]:
    """Give what ``quality_body.html`` shows, of this page and of a replay's."""
    questions = questions_of(protocols)
    return {
        "found": found,
        "columns": [typeset(each) for each in COLUMNS],
        "sites": [
            (site, [_cell(each) for each in figures(site)], _plot(found, site)) for site in found.sites
        ],
        "serious": [said(each, questions) for each in found.findings if each.serious],
        "others": [said(each, questions) for each in found.findings if not each.serious],
        "readings": sum(site.readings for site in found.sites),
        "units": [
            (signal, ", ".join(f"{unit or '(aucune)'} {count_text(count)}" for unit, count in each.items()))
            for signal, each in found.units.items()
        ],
        "span": tuple(dates_text(day) for day in (found.first_day, found.last_day))
        if found.first_day
        else None,
        "count": count_text,
        "reason": reason_text,
        "notes": [(note_text(each), each) for each in found.notes],
        # An item has a number, in quality.json too; the name that it has there is English.
        "known": lambda name: name.replace("item ", "n°\N{NO-BREAK SPACE}"),
        "label": lambda name: signal_text(name, questions),
        "median": lambda value: "–" if value is None else number_text(value, 1),
    }


def _cell(value: int | None) -> str:
    return "–" if value is None else count_text(value)


def _plot(found: Quality, site: Site) -> str:
    if not site.by_day:
        return ""
    first = np.datetime64(found.first_day, "D")
    dates = [str(first + k) for k in range(len(site.by_day))]
    return days(
        dates,
        np.array(site.by_day, np.float64),
        None,
        f"{site.name}\N{NO-BREAK SPACE}: mesures par jour",
        decimals=0,
    )
