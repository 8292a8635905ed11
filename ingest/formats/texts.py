"""Columns of texts, as Arrow keeps them: for kernels, and as numbers of the different ones."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["encoded", "text_bytes"]


def text_bytes(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Give the bytes of a column without nulls, and where each text begins and the last one ends; nothing is copied.

    Parameters
    ----------
    texts : Array[n] of large_string

    Returns
    -------
    data : uint8[m]
    at : int64[n + 1]
    """
    _, offsets, data = texts.buffers()
    at = (
        np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
        if len(texts)
        else np.zeros(1, np.int64)
    )
    return np.frombuffer(b"" if data is None else data, np.uint8), at


def encoded(column: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Number the different texts of a column.

    Parameters
    ----------
    column : Array[n]
        Texts, also dictionary-encoded, or what can be written as text.

    Returns
    -------
    number : int64[n]
    texts : Array of large_string
        Without spaces around them, hence perhaps some twice; null is the empty text.
    """
    if not pa.types.is_dictionary(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = pl.Series(column).cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
        column = column.dictionary_encode()
    number = column.indices
    texts = pl.Series(column.dictionary).cast(pl.String)
    if number.null_count:
        number = number.cast(pa.int64()).fill_null(len(texts))
        texts = texts.extend(pl.Series([""]))
    clean = texts.fill_null("").str.strip_chars().to_arrow(compat_level=pl.CompatLevel.oldest())
    return number.to_numpy(zero_copy_only=False).astype(np.int64), clean
