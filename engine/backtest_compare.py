"""Two protocols on one history: which alerts a change adds, which it takes away, which get another level.

Ids tell nothing here, as an alert that opens an hour earlier has another one. Two alerts are the same where they are of
one patient and problem and were open at the same time.
"""

from dataclasses import dataclass

import polars as pl

from engine.backtest_measures import EPISODES

__all__ = ["Comparison", "compare"]

_SAME = ["patient", "protocol", "problem"]
_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alerts of the changed protocols that the base has not, and the other way about; each `EPISODES`.

    `both` holds alerts that both have: `EPISODES` of the changed, and of the base `level_before`, `opened_before_ms`.
    """

    gained: pl.DataFrame
    lost: pl.DataFrame
    both: pl.DataFrame

    @property
    def moved(self) -> pl.DataFrame:
        """Those of `both` that are at another level."""
        return self.both.filter(pl.col("level") != pl.col("level_before")).drop("opened_before_ms")

    @property
    def same(self) -> int:
        """How many both have."""
        return len(self.both)


def compare(base: pl.DataFrame, changed: pl.DataFrame) -> Comparison:
    """Compare alerts, both as `engine.backtest_measures.episodes` gives them."""
    gained, both = _part(changed, base)
    lost, _ = _part(base, changed)
    return Comparison(gained, lost, both)


def _part(mine: pl.DataFrame, others: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give those of `mine` that none of `others` was open beside, and those that one was, with its level."""
    end = pl.col("ended_ms").fill_null(_NEVER)
    # Alerts of one problem follow each other, so that the last that opened before an end is the one to look at.
    beside = (
        mine.with_row_index("order")
        .with_columns(end=end)
        .sort("end")
        .join_asof(
            others.select(*_SAME, begin="opened_ms", until=end, level_before="level").sort("begin"),
            left_on="end", right_on="begin", by=_SAME, strategy="backward", coalesce=False, check_sortedness=False,
        )
        .sort("order")
    )  # fmt: skip
    together = (pl.col("until") >= pl.col("opened_ms")).fill_null(value=False)
    alone = beside.filter(~together).select(list(EPISODES))
    return alone, beside.filter(together).select(
        *EPISODES, "level_before", pl.col("begin").alias("opened_before_ms")
    )
