"""Which limits are levels of a signal, to be drawn over its plot: a lowest pressure is, a rise in three days is not."""

from typing import Final

from rules import conditions
from rules.model import Protocol

__all__ = ["levels"]

_COMPARED: Final = frozenset({"less", "less_equal", "greater", "greater_equal", "equal"})
_OF_LEVEL: Final = frozenset({"last", "min", "max", "mean", "median"})


def levels(protocol: Protocol, series: str) -> tuple[str, ...]:
    """Give the limits of `protocol` that are levels of a signal: compared with its readings, or a feature's reference.

    Parameters
    ----------
    protocol : Protocol
    series : str
        Name of the signal, as features name it.

    Returns
    -------
    tuple of str
        In the order of the protocol.
    """
    alone = {name: each for name, each in protocol.features.items() if each.signals == (series,)}
    found = {each.limit for each in alone.values() if each.limit is not None}
    names = (*protocol.features, *protocol.limits)
    nodes: list[object] = [conditions.compile(rule.when, names).node for rule in protocol.rules]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, tuple):
            continue
        nodes += node[1:]
        if node[0] in _COMPARED:
            sides = [each[1] for each in node[1:] if each[0] == "name"]
            if any(name in alone and alone[name].stat in _OF_LEVEL for name in sides):
                found |= {name for name in sides if name in protocol.limits}
    return tuple(name for name in protocol.limits if name in found)
