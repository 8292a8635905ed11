"""Acts of the cell: what a person did about an alert goes into the log like any packet, and is replayed with it.

The engine learns from the log only that a problem was closed or a limit set, so that a restart or a replay gives the
same alerts. The key that an act carries is that of the problem or limit (`engine.program.problem_key`, `limit_key`);
in the value columns of a batch an act begins with four values: verb, low and high half of the key, reason or value.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engine.program import Program, limit_key, problem_key
from ingest import packet
from ingest.columns import Batch, PacketKind
from ingest.signals import MILLI

__all__ = ["LARGEST_REASON", "SOURCE", "closed_problems", "closing", "keys", "limit_keys", "setting"]

SOURCE = "cell"
"""Source of the log's entries that may hold acts; the decoder refuses acts of any other."""

LARGEST_REASON = 63


def closing(
    patient: str, protocol: str, problem: str, reason: int, *, workplace: str, seq: int, t_ms: int
) -> bytes:
    """Encode that a person closes a problem of a patient: a body for the log, from `SOURCE`.

    Parameters
    ----------
    patient, protocol, problem : str
        As in the alert.
    reason : int
        Why, 1 to 63; the list is the cell's.
    workplace : str
        Where it was done, 1 to 40 printable ASCII characters without space.
    seq : int
        Number of the act at that workplace, rising: the same number twice is one act.
    t_ms : int
        When, milliseconds UTC; not later than the log's receipt time by more than five minutes.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    return packet.act(patient, workplace, seq, t_ms, problem_key(protocol, problem), reason)


def setting(  # noqa: PLR0913 - the nine words of an act
    patient: str,
    protocol: str,
    limit: str,
    value: float | None,
    author: str,
    text: str,
    *,
    of_cell: bool = False,
    workplace: str,
    seq: int,
    t_ms: int,
) -> bytes:
    """Encode that a person sets a limit of a patient, or takes back what was set: a body for the log, from `SOURCE`.

    Parameters
    ----------
    patient, protocol, limit : str
        As in the protocol.
    value : float or None
        In the limit's unit, a whole number of thousandths; None takes back.
    author, text : str
        Who and why: see `ingest.packet.limit_act`.
    of_cell : bool
        Whether it is the limit of the patient's cell, over which the patient's own wins.
    workplace, seq, t_ms
        As `closing`.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError, TypeError
        Naming the element and what is legal.
    """
    milli = None if value is None else round(value * MILLI)
    if milli is not None and milli / MILLI != value:
        msg = f"value {value}: legal are whole thousandths"
        raise ValueError(msg)
    key = limit_key(protocol, limit)
    return packet.limit_act(patient, workplace, seq, t_ms, key, milli, author, text, of_cell=of_cell)


def limit_keys(program: Program) -> Mapping[int, int]:
    """Give the place of each limit in `Program.limit_names` by key.

    Raises
    ------
    ValueError
        Two limits have the same key: an act would set the wrong one.
    """
    out: dict[int, int] = {}
    for q, (p, name) in enumerate(program.limit_names):
        other = out.setdefault(limit_key(program.protocols[p].id, name), q)
        if other != q:
            msg = f"limits {program.limit_names[other]} and {(p, name)} have the same key: one needs another name"
            raise ValueError(msg)
    return out


def keys(program: Program) -> Mapping[int, tuple[str, str]]:
    """Give (protocol, problem) by key.

    Raises
    ------
    ValueError
        Two problems have the same key: an act would close the wrong one.
    """
    out: dict[int, tuple[str, str]] = {}
    for p, problem in program.problems:
        name = (program.protocols[p].id, problem)
        other = out.setdefault(problem_key(*name), name)
        if other != name:
            msg = f"problems {other} and {name} have the same key: one of them needs another name"
            raise ValueError(msg)
    return out


def closed_problems(
    batch: Batch, rows: npt.NDArray[np.integer], problem_keys: npt.NDArray[np.int64]
) -> npt.NDArray[np.int16]:
    """Give the problem that each of some packets closes: its place in `problem_keys`, -1 for none.

    Parameters
    ----------
    batch : Batch
    rows : int[n]
        Packets of the batch, of any kind.
    problem_keys : int64[problems]
        Key of each problem of the program.

    Returns
    -------
    int16[n]
    """
    out = np.full(len(rows), -1, np.int16)
    acts = np.flatnonzero(batch.kind[rows] == PacketKind.ACT)
    if len(acts):
        at = batch.value_at[rows[acts]]
        # A key has 31 bits: with anything in the high half it is nobody's.
        ours = (batch.milli[at] == packet.CLOSE) & (batch.milli[at + 2] == 0)
        same = batch.milli[at + 1, np.newaxis] == problem_keys[np.newaxis, :]
        found = np.where(same.any(axis=1) & ours, same.argmax(axis=1), -1) if len(problem_keys) else -1
        out[acts] = found
    return out
