"""The page on rules: sensitivity against load of each rule for heart failure, on simulated patients.

    python -m bench.rules             # writes docs/rules.md between its marks, and docs/rules.svg: a minute
    python -m bench.rules --seed 61 --patients 500 --print

`bench.rules_cohort` finds the figures. What rules catch is compared where they cost the same load. The same numbers
give the same page.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench import rules_figure
from bench.rules_cohort import BESIDE, FIXED, PROTOCOL, WINDOW_DAYS, Cohort, Curve, Found, Row, find_out
from engine.backtest_measures import Interval

__all__ = ["LOADS", "PAGE", "SMALL", "figure", "tables", "written"]

LOADS = (0.1, 0.2, 0.5, 1.0)
"""Alerts per 100 patients a day at which rules are compared."""

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
WHOLE = Cohort(2000, 365, 7411)
SMALL = Cohort(300, 365, 7412)
"""What a test makes again."""


def _interval(each: Interval, scale: float, decimals: int) -> str:
    if each.value is None:
        return "–"
    low, high = each.low or 0.0, each.high or 0.0
    return f"{scale * each.value:.{decimals}f} ({scale * low:.{decimals}f}–{scale * high:.{decimals}f})"


def _cells(row: Row) -> list[str]:
    worth = row.worth
    mean = worth.load.mean
    load = _interval(mean, 1, 3 if (mean.value or 0) < 0.1 else 2)
    if row.kind != "clinical":
        return [load, "–", "–", "–", "–"]
    lead = (
        "–" if worth.lead_h is None else "{1:.0f} ({0:.0f}–{2:.0f})".format(*(h / 24 for h in worth.lead_h))
    )
    chance = f"{100 * row.chance:.1f}"
    return [load, _interval(worth.sensitivity, 100, 1), chance, _interval(worth.ppv, 100, 0), lead]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _compared(curves: Mapping[str, Curve]) -> str:
    """Sensitivity at equal load, and by how much it is above that of the fixed rule."""
    rows = []
    for rule, curve in curves.items():
        cells = []
        for cost in LOADS:
            mine, fixed = curve.at(cost), curves[FIXED].at(cost)
            said = "–" if mine is None else f"{100 * mine[0]:.1f}"
            if mine is not None and fixed is not None and rule != FIXED:
                more = 100 * (mine - fixed)
                low, high = np.quantile(more[1:], [0.025, 0.975])
                said += f"; {more[0]:+.1f} ({low:+.1f} to {high:+.1f})"
            cells.append(said.replace("-", "−"))
        rows.append([_name(rule), *cells])
    return _table(["rule", *(f"at {cost:g}" for cost in LOADS)], rows)


def _name(rule: str) -> str:
    return f"`{rule}` (not shipped)" if rule in BESIDE else f"`{rule}`"


def tables(found: Found) -> dict[str, str]:
    """Give what stands between the page's marks, by the mark's name."""
    cohort = found.cohort
    blind = [row for row in found.rows if row.kind == "blind"]
    rows = [
        [_name(row.rule), row.level, *_cells(row)]
        for row in found.rows
        if row not in blind and row.rule not in BESIDE
    ]
    rows.append(["**the whole protocol**", "", *_cells(found.whole)])
    head = ["rule", "level", "load", "sensitivity, %", "by chance, %", "predictive value, %", "lead, days"]
    said = (
        f"{cohort.patients:,} patients, {cohort.days} days, seed {cohort.seed}: {found.readings:,} readings, "
        f"{found.outcomes:,} admissions for decompensation, into {100 * found.heavy:.0f} % of which a gain of 2 kg or "
        f"more was put. `{PROTOCOL}` {found.version} ({found.hash})."
    )
    without = ", ".join(f"`{row.rule}`" for row in blind)
    return {
        "cohort": said,
        "rules": f"{_table(head, rows)}\n\nNever decided, as the simulator has nothing for them: {without}.",
        "compared": _compared(found.curves),
    }


def figure(found: Found) -> str:
    """Give the figure as SVG."""
    curves = {
        rule: rules_figure.Line(
            list(zip(curve.load[0].tolist(), curve.sensitivity[0].tolist(), strict=True)),
            dashed=not rule.startswith("weight"),
        )
        for rule, curve in found.curves.items()
    }
    dots = {
        row.rule: rules_figure.Dot(row.worth.load.mean.value or 0.0, row.worth.sensitivity.value or 0.0)
        for row in found.rows
        if row.kind == "clinical" and row.rule not in BESIDE
    }
    return rules_figure.draw(
        curves,
        dots,
        {rule: f"{rule} (not shipped)" for rule in BESIDE},
        window_days=WINDOW_DAYS,
        title="Share of decompensations that rules foresee, against the alerts that they cost; the table says the same",
    )


def written(page: str, parts: Mapping[str, str]) -> str:
    """Give the page with other words between its marks, ``<!-- name -->`` and ``<!-- end -->``.

    Raises
    ------
    ValueError
        A mark is not there.
    """
    for name, text in parts.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("\n<!-- end -->")
        if not (begin and end):
            msg = f"the page has no marks <!-- {name} --> and <!-- end -->"
            raise ValueError(msg)
        page = f"{before}{begin}{text}{end}{after}"
    return page


def main() -> None:
    """Write the page's figures, or print those of another cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=WHOLE.patients)
    parser.add_argument("--days", type=int, default=WHOLE.days)
    parser.add_argument("--seed", type=int, default=WHOLE.seed)
    parser.add_argument("--print", action="store_true", help="and leave the page as it is")
    given = parser.parse_args()
    asked = Cohort(given.patients, given.days, given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        found = find_out(asked, Path(scratch))
    parts = tables(found)
    if given.print:
        print("\n\n".join(parts.values()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        small = tables(find_out(SMALL, Path(scratch)))
    parts |= {f"small-{name}": text for name, text in small.items()}
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")
    PAGE.with_suffix(".svg").write_text(figure(found), encoding="utf-8")


if __name__ == "__main__":
    main()
