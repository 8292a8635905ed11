"""Verdicts of many rules on many patients at once.

A condition's tree becomes steps of NumPy on whole columns. Inside, a verdict is 1 true, 0 undetermined, -1
false, which makes Kleene's logic plain: AND is the minimum, OR the maximum, NOT the change of sign; a comparison
is ``(a >= b) - (a < b)``, 0 where either side is NaN.

Rejected: ``DataFrame.select_seq`` of Polars, one expression a verdict. With the 18 verdicts of the shipped weight
rules, measured side by side: 0.5 to 0.8 ms of CPU a call for 1 to 100 rows against 0.08 to 0.10 ms here, and 5.5 ms
against 3.0 ms for 100,000 rows. Polars stays as a second opinion in ``tests/rules/test_evaluate.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rules import conditions
from rules.conditions import Node
from rules.model import Protocol, Rule

__all__ = ["FALSE", "TRUE", "UNDETERMINED", "Column", "Group", "Program", "groups", "verdict_word"]

TRUE, FALSE, UNDETERMINED = 1, 0, -1
"""Verdicts as they leave this module, int8."""

# Rows computed at a time, so that the columns of a step stay in the second cache. 100,000 rows of the shipped weight
# rules: 5.6 ms in blocks of 4096, 3.2 ms of 16384, 3.7 ms of 32768.
_BLOCK = 16_384

Column = npt.NDArray[np.float64] | float
_Value = Any  # float64[n] or int8[n], or a scalar of either


def verdict_word(verdict: int) -> str:
    """French word for a verdict."""
    return {TRUE: "oui", FALSE: "non"}.get(verdict, "non déterminé")


def _greater_equal(a: _Value, b: _Value) -> _Value:
    return np.greater_equal(a, b).view(np.int8) - np.less(a, b).view(np.int8)


def _greater(a: _Value, b: _Value) -> _Value:
    return np.greater(a, b).view(np.int8) - np.less_equal(a, b).view(np.int8)


def _equal(a: _Value, b: _Value) -> _Value:
    same = np.equal(a, b).view(np.int8)
    known = np.equal(a, a) & np.equal(b, b)  # NaN is not equal to itself
    return same + same - known.view(np.int8)


def _divide(a: _Value, b: _Value) -> _Value:
    return np.where(np.equal(b, 0.0), np.nan, np.divide(a, b))


def _known(missing: _Value) -> _Value:
    """1 where `missing`, -1 elsewhere: whether something is missing is never undetermined itself."""
    return missing.view(np.int8) * np.int8(2) - np.int8(1)


# np.minimum and np.maximum hand NaN on: LEAST and GREATEST of something undetermined are undetermined.
_OPERATIONS: Mapping[str, Callable[..., _Value]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "remainder": np.fmod,
    "absolute": np.abs,
    "least": lambda *values: _fold(np.minimum, values),
    "greatest": lambda *values: _fold(np.maximum, values),
    "first": lambda *values: _fold(lambda a, b: np.where(np.isnan(a), b, a), values),
    "first_verdict": lambda *values: _fold(lambda a, b: np.where(np.equal(a, 0), b, a), values),
    "greater_equal": _greater_equal,
    "less_equal": lambda a, b: _greater_equal(b, a),
    "greater": _greater,
    "less": lambda a, b: _greater(b, a),
    "equal": _equal,
    "and": np.minimum,
    "or": np.maximum,
    "not": np.negative,
    "unknown": lambda a: _known(np.isnan(a)),
    "undetermined": lambda a: _known(np.equal(a, 0)),
}


def _fold(function: Callable[[_Value, _Value], _Value], values: Sequence[_Value]) -> _Value:
    out = values[0]
    for value in values[1:]:
        out = function(out, value)
    return out


@dataclass(slots=True)
class Program:
    """Conditions as one list of steps; what several of them share is computed once.

    Parameters
    ----------
    nodes : sequence of Node
        One tree for each row of the result.
    """

    nodes: Sequence[Node]
    names: tuple[str, ...] = ()  # columns that it reads, in a fixed order
    _constants: list[tuple[int, float]] = field(default_factory=list)
    _columns: list[tuple[int, str]] = field(default_factory=list)
    _steps: list[tuple[int, Callable[..., _Value], tuple[int, ...]]] = field(default_factory=list)
    _outputs: list[int] = field(default_factory=list)
    _size: int = 0

    def __post_init__(self) -> None:
        places: dict[Node, int] = {}
        self._outputs = [self._place(node, places) for node in self.nodes]
        self._size = len(places)
        self.names = tuple(name for _, name in self._columns)

    def _place(self, node: Node, places: dict[Node, int]) -> int:
        """Register of `node`, with the steps that fill it."""
        if node in places:
            return places[node]
        operation, *operands = node
        if operation == "name":
            self._columns.append((len(places), operands[0]))
        elif operation == "number":
            self._constants.append((len(places), operands[0]))
        else:
            arguments = tuple(self._place(operand, places) for operand in operands)
            self._steps.append((len(places), _OPERATIONS[operation], arguments))
        return places.setdefault(node, len(places))

    def run(self, columns: Mapping[str, Column], n: int) -> npt.NDArray[np.int8]:
        """Evaluate all conditions.

        Parameters
        ----------
        columns : mapping
            Each name to float64[n], NaN for undetermined, or to one float for all rows.
        n : int
            Rows.

        Returns
        -------
        int8[len(nodes), n]
            1 true, 0 false, -1 undetermined.

        Raises
        ------
        KeyError
            A column is not there.
        ValueError
            A column has another length.
        """
        out = np.empty((len(self._outputs), n), np.int8)
        if n == 0:
            return out
        given = [(place, columns[name]) for place, name in self._columns]
        for name in self.names:
            column = columns[name]
            if isinstance(column, np.ndarray) and column.shape != (n,):
                msg = f"column {name!r} has shape {column.shape}; legal: ({n},) or one number for all rows"
                raise ValueError(msg)
        with np.errstate(all="ignore"):
            if n <= _BLOCK:
                self._fill(given, out)
            else:
                for low in range(0, n, _BLOCK):
                    part = slice(low, low + _BLOCK)
                    cut = [(place, c[part] if isinstance(c, np.ndarray) else c) for place, c in given]
                    self._fill(cut, out[:, part])
        return out

    def _fill(self, given: Iterable[tuple[int, Column]], out: npt.NDArray[np.int8]) -> None:
        registers: list[_Value] = [None] * self._size
        for place, value in self._constants:
            registers[place] = value
        for place, column in given:
            registers[place] = column
        for place, function, arguments in self._steps:
            registers[place] = function(*[registers[argument] for argument in arguments])
        for row, place in enumerate(self._outputs):
            out[row] = registers[place]
        # 1, 0, -1 inside become 1, -1, 0 outside.
        np.subtract(np.equal(out, 1).view(np.int8), np.equal(out, 0).view(np.int8), out=out)


class Group:
    """Rules with the same trigger signals: they are evaluated together, on the rows where one of these came.

    Parameters
    ----------
    protocol : Protocol
        That the rules are of.
    rules : sequence of Rule
        With one and the same set of triggers.

    Attributes
    ----------
    signals : frozenset of str
        Whose arrival asks for these rules.
    rules : tuple of Rule
        Rows of the verdicts.
    features, limits : tuple of str
        Columns that `verdicts` reads. A feature that refers to a limit needs that limit besides.
    """

    def __init__(self, protocol: Protocol, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        (self.signals,) = {protocol.triggers(rule) for rule in self.rules}
        legal = {*protocol.features, *protocol.limits}
        when = [conditions.compile(rule.when, legal).node for rule in self.rules]
        clear = [
            conditions.compile(rule.clear_when, legal).node if rule.clear_when else ("not", node)
            for rule, node in zip(self.rules, when, strict=True)
        ]
        self._program = Program([*when, *clear])
        self.features = tuple(name for name in self._program.names if name in protocol.features)
        self.limits = tuple(name for name in self._program.names if name in protocol.limits)

    def verdicts(
        self, columns: Mapping[str, Column], n: int
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        """Say of each row whether each rule's condition, and its clearing condition, hold.

        Parameters
        ----------
        columns : mapping
            Each of `features` and `limits` to float64[n], in the figure's unit, NaN for undetermined; or to one
            float where it is the same for all rows.
        n : int
            Rows.

        Returns
        -------
        when, clear : int8[len(rules), n]
            1 true, 0 false, -1 undetermined. Without `clear_when`, a rule clears when `when` is false.

        Raises
        ------
        KeyError, ValueError
            As `Program.run`.
        """
        both = self._program.run(columns, n)
        return both[: len(self.rules)], both[len(self.rules) :]


def groups(protocol: Protocol) -> tuple[Group, ...]:
    """Part the rules of `protocol` by their trigger signals, in the order of the file."""
    parts: dict[frozenset[str], list[Rule]] = {}
    for rule in protocol.rules:
        parts.setdefault(protocol.triggers(rule), []).append(rule)
    return tuple(Group(protocol, rules) for rules in parts.values())
