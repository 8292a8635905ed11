"""Features as rows, for who asks what the rules saw: one row a feature each time it was computed."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from engine.line import Processed
from engine.program import Program

__all__ = ["SCHEMA", "rows"]

SCHEMA = pl.Schema(
    {
        "patient": pl.String,
        "t_ms": pl.Int64,  # of the reading that set it off, ms UTC
        "offset": pl.Int64,  # of the log entry; row of a file
        "protocol": pl.String,
        "feature": pl.String,
        "value": pl.Float64,  # null: undetermined
    }
)
"""Columns of features.parquet."""

_ORDER: Sequence[str] = ("packet", "event", "group")


def rows(program: Program, processed: Processed) -> pl.DataFrame:
    """Give the features that a batch set off, in the order of its packets, whatever the number of shards.

    Parameters
    ----------
    program : Program
        Of the line.
    processed : Processed
        What a line made of the batch whose shards watch features (`Shard.watch_features`).
    """
    frames = []
    for outcome in processed.outcomes:
        for seen in outcome.features:
            group = program.groups[seen.group]
            protocol = program.protocols[group.protocol].id
            offsets = processed.batch.offset[seen.packet]
            for name, values in zip(group.features, seen.values, strict=True):
                frames.append(
                    pl.DataFrame(
                        {
                            "patient": seen.patient,
                            "t_ms": seen.t_ms,
                            "offset": offsets,
                            "protocol": [protocol] * len(values),
                            "feature": [name] * len(values),
                            "value": np.asarray(values),
                            "packet": seen.packet,
                            "event": seen.event,
                            "group": np.full(len(values), seen.group),
                        }
                    )
                )
    if not frames:
        return SCHEMA.to_frame()
    # A packet is of one shard, whose events of it are in their order: a stable sort keeps features in theirs.
    together = pl.concat(frames).sort(_ORDER, maintain_order=True).select(list(SCHEMA))
    return together.with_columns(pl.col("value").fill_nan(None)).cast(SCHEMA)
